"""`archcheck devices`, and the options on costs."""

from __future__ import annotations

from archcheck.frontends.cli.terminal import show


def known_optimizer(text: str) -> str:
    """The name of a known optimizer.

    Raises:
        ValueError: There is none.
    """
    from archcheck.analysis.costs.optimizers import optimizer_name

    return optimizer_name(text)


def known_precision(text: str) -> str:
    """The name of a known precision.

    Raises:
        ValueError: There is none.
    """
    from archcheck.core.precisions import precision_name

    return precision_name(text)


def known_device(text: str) -> str:
    """The name of a known device, or a size.

    Raises:
        ValueError: It is neither.
    """
    from archcheck.analysis.costs.devices import device_name

    return device_name(text)


def devices() -> None:
    """List the accelerators that are known, with the sources of their figures."""
    from archcheck.output.devices import render_devices

    show(render_devices())
