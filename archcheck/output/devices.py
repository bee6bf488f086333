"""The known accelerators as a table of text."""

from __future__ import annotations

from archcheck.analysis.costs.devices import GIB, Device, devices

_TITLES = ("name", "memory", "bandwidth", "fp32", "tf32", "fp16", "bf16", "fp8", "source")


def render_devices() -> str:
    """One line for each: sizes in GiB, bandwidth in GB/s, rates in TFLOP/s; `-` is not known."""
    rows = [_TITLES, *map(_row, devices().values())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_TITLES) - 1)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        + f"  {row[-1]}"
        for row in rows
    ]
    return "\n".join(
        (
            *lines,
            "",
            "memory in GiB, bandwidth in GB/s, dense rates in TFLOP/s; - is not stated",
            "",
        )
    )


def _row(device: Device) -> tuple[str, ...]:
    rates = [device.rate(dtype) for dtype in _TITLES[3:8]]
    return (
        device.name,
        f"{device.memory / GIB:.0f}",
        "-" if device.bandwidth is None else f"{device.bandwidth / 1e9:,.0f}",
        *("-" if rate is None else f"{rate / 1e12:,.6g}" for rate in rates),
        f"{device.source}, {device.date}",
    )
