"""A normalisation layer is built for another width than reaches it.

What it does
------------
Compares the size that a batch, instance, group or layer norm was built for with the channels (of
a layer or RMS norm, with the last dimensions) of what it is given: of what the forward pass
really brought there, and from the source alone along a chain of layers inside `nn.Sequential`.

Why it is bad
-------------
The forward pass stops with "running_mean should contain 128 elements not 64", or with "Given
normalized_shape=[64], expected input with shape [*, 64]".

Example
-------
    stem = nn.Sequential(
        nn.Conv2d(3, 128, 3, padding=1),
        nn.BatchNorm2d(64),
    )

Use instead
-----------
    stem = nn.Sequential(
        nn.Conv2d(3, 128, 3, padding=1),
        nn.BatchNorm2d(128),
    )
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import Declared, ShapeError, faults
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._chain_shapes import clashes_in, finding
from ._dtypes_refused import refused
from ._norms import channels_expected, rank_fits, trailing_expected
from ._renumber_size import renumbered, reshaped
from ._unsuitable_inputs import misfed
from ._widths import explained

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace

rule = Rule("AC203", "norm-num-features", Severity.ERROR, fix="safe")


@rule.on_source
def width_along_a_chain(file: SourceFile) -> Iterator[Finding]:
    for clash in clashes_in(file, "norm"):
        flat = clash.link.is_a("BatchNorm1d", "LayerNorm", "RMSNorm")
        yield finding(clash, "features" if flat else "channels")


@rule.on_trace
def channels_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "batch_norm", "instance_norm", "group_norm"):
        expected = channels_expected(fault)
        if expected is None or misfed(fault) or not rank_fits(fault) or fault.got[1] == expected:
            continue
        got = fault.got[1]
        is_group = fault.kind == "group_norm"
        declared = fault.declared("num_channels" if is_group else "num_features", int(is_group))
        notes = explained(trace, fault.values[0], expected)[0] if len(fault.got) == 2 else ()
        is_moved = expected in fault.got[2:]
        stars = ", *" * (len(fault.got) - 2)
        yield fault.finding(
            f"{fault.subject} expects {expected} {_noun(fault)}, got {got}",
            label=f"got {text(fault.got)}, expects [*, {expected}{stars}]",
            declared=declared,
            at_constructor=True,
            notes=notes,
            help=_help(fault, got, expected),
            fix=None if is_moved else renumbered(fault, declared, expected, got, 1),
        )


@rule.on_trace
def channels_that_nothing_compares(trace: Trace, project: Project) -> Iterator[Finding]:
    """Instance norms without weights take any width, and ignore what they were built for."""
    seen: set[str] = set()
    for op in trace.ops:
        module = trace.module_of(op)
        if op.name != "instance_norm" or op.failure is not None or module is None:
            continue
        expected, rank = module.attributes.get("num_features"), module.type[-2:-1]
        if not isinstance(expected, int) or not rank.isdigit() or module.path in seen:
            continue
        fault = ShapeError.of(trace, project, op)
        got = fault.got[-1 - int(rank)] if len(fault.got) > int(rank) else expected
        if got == expected or not expected or fault.values[0].guessed:
            continue
        seen.add(module.path)
        found = fault.finding(
            f"{fault.subject} is built for {expected} channels, got {got}",
            label=f"got {text(fault.got)}",
            declared=fault.declared("num_features", 0),
            at_constructor=True,
            notes=["without affine=True nothing compares them: torch only warns"],
            help=f"nn.{module.type}({got})",
        )
        yield replace(found, severity=Severity.WARNING)


@rule.on_trace
def last_dimensions_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "layer_norm", "rms_norm"):
        expected = trailing_expected(fault)
        if not expected or misfed(fault):
            continue
        got = fault.got[-len(expected) :]
        if got == expected:
            continue
        wants = str(expected[0]) if len(expected) == 1 else text(expected)
        arrived = str(got[0]) if len(got) == 1 else text(got)
        declared = fault.declared("normalized_shape", 0)
        yield fault.finding(
            f"{fault.subject} expects {wants} in the last dimension"
            f"{'s' if len(expected) > 1 else ''}, got {arrived}",
            label=f"got {text(fault.got)}, expects [*, {', '.join(map(str, expected))}]",
            declared=declared,
            at_constructor=True,
            help=_help(fault, arrived, expected[0]),
            fix=_fix(fault, declared, expected, got),
        )


def _fix(fault: ShapeError, declared: Declared | None, expected: Shape, got: Shape) -> Fix | None:
    """The fix, unless the expected sizes are there and merely not in the last dimensions."""
    if set(expected) <= set(fault.got[1:]):
        return None
    if len(got) > 1:
        return reshaped(fault, declared, expected, got)
    return renumbered(fault, declared, expected[0], got[0], -1)


def _noun(fault: ShapeError) -> str:
    return "features" if len(fault.got) == 2 else "channels"


def _help(fault: ShapeError, got: int | str, expected: int) -> str | None:
    kind = fault.layer.type if fault.layer is not None else fault.kind
    name = next(iter(fault.operands()), "x")
    if fault.kind in ("layer_norm", "rms_norm"):
        if expected in fault.got[1:-1]:
            last = fault.got.index(expected, 1)
            return f"the {expected} are in dimension {last}: {name}.movedim({last}, -1)"
        return f"nn.{kind}({got})"
    if expected in fault.got[2:]:
        return f"the {expected} are in the last dimension: {name}.transpose(1, 2)"
    return f"nn.{kind}({'…, ' if fault.kind == 'group_norm' else ''}{got})"


@rule.on_trace
def slopes_for_other_channels(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "prelu"):
        if len(fault.shapes) < 2 or len(fault.got) < 2 or refused(fault) is not None:
            continue
        slopes, got = prod(fault.shapes[1]), fault.got[1]
        if slopes not in (1, got):
            yield fault.finding(
                f"{fault.subject} has {slopes} slopes, got {got} channels",
                label=f"got {text(fault.got)}, expects [*, {slopes}{', *' * (len(fault.got) - 2)}]",
                declared=fault.declared("num_parameters", 0),
                at_constructor=True,
                help=f"nn.PReLU({got})",
            )
