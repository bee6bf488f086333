"""Something that PyTorch or torchvision has removed, or that does nothing any more.

What it does
------------
Looks for `Variable` and `volatile=`, which have had no effect since PyTorch 0.4; `loss.data[0]`
on a loss, which has no dimension to index; `transforms.Scale` and `RandomSizedCrop`, which
torchvision has removed; and functions that moved into `torch.fft` and `torch.linalg`. Code that
asks whether the name exists, or catches its absence, is left alone.

Why it is bad
-------------
What is gone raises when the line runs. What is inert misleads: with `volatile=True` ignored, the
graph is built all the same.

Example
-------
    from torch.autograd import Variable

    for x, y in loader:
        loss = criterion(model(Variable(x)), Variable(y))
        loss.backward()
        print(loss.data[0])

Use instead
-----------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        print(loss.item())
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.renames import renamed, renamed_import, unwrapped, without_import
from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.core.finding import Edit, Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, SourceFile, Statement

from ._scripts import is_in_try, is_under

rule = Rule("AC506", "removed-api", Severity.WARNING, fix="safe")

_VARIABLE = "torch.autograd.Variable"
_TRANSFORMS = {
    "torchvision.transforms.Scale": "transforms.Resize",
    "torchvision.transforms.RandomSizedCrop": "transforms.RandomResizedCrop",
}
_FUNCTIONS = {
    "torch.btrifact": "torch.linalg.lu_factor",
    "torch.btrisolve": "torch.linalg.lu_solve",
    "torch.eig": "torch.linalg.eig",
    "torch.fft": "torch.fft.fft",
    "torch.gels": "torch.linalg.lstsq",
    "torch.gesv": "torch.linalg.solve",
    "torch.ifft": "torch.fft.ifft",
    "torch.irfft": "torch.fft.irfft",
    "torch.lstsq": "torch.linalg.lstsq",
    "torch.matrix_rank": "torch.linalg.matrix_rank",
    "torch.potrf": "torch.linalg.cholesky",
    "torch.potri": "torch.cholesky_inverse",
    "torch.potrs": "torch.cholesky_solve",
    "torch.rfft": "torch.fft.rfft",
    "torch.solve": "torch.linalg.solve",
    "torch.symeig": "torch.linalg.eigh",
    "torch.trtrs": "torch.linalg.solve_triangular",
}


@rule.on_source
def gone_or_inert(file: SourceFile) -> Iterator[Finding]:
    yield from _imports(file)
    yield from _variable(file)
    for call in file.calls_to(_VARIABLE):
        for keyword in call.node.keywords:
            if keyword.arg == "volatile":
                yield Finding(
                    "`volatile` has had no effect since PyTorch 0.4: the graph is built all the "
                    "same",
                    file.location(keyword),
                    label="ignored",
                    help="with torch.no_grad():",
                )
    for dotted, instead in _TRANSFORMS.items():
        for call in file.calls_to(dotted):
            # A name that the import line itself cannot find is reported there.
            if len(call.parts) > 1 and not _is_guarded(file, call, dotted):
                edits = renamed(file, call.node.func, dotted, instead)
                yield _gone(file, call.node.func, "torchvision", dotted, instead, edits)
    for dotted, instead in _FUNCTIONS.items():
        for call in file.calls_to(dotted):
            if not _is_guarded(file, call, dotted):
                yield _gone(file, call.node.func, "PyTorch", dotted, instead)
    yield from _indexed_losses(file)


def _imports(file: SourceFile) -> Iterator[Finding]:
    if not any(dotted.rpartition(".")[2] in file.code for dotted in _TRANSFORMS):
        return
    for scope in file.scopes:
        for bindings in scope.bindings.values():
            for binding in bindings:
                if binding.kind != "import" or binding.level or is_in_try(binding.statement):
                    continue
                if binding.dotted in _TRANSFORMS:
                    dotted, instead = binding.dotted, _TRANSFORMS[binding.dotted]
                    edits = renamed_import(file, binding, dotted, instead)
                    yield _gone(file, binding.node, "torchvision", dotted, instead, edits)


def _variable(file: SourceFile) -> Iterator[Finding]:
    """One finding for all uses in a file, at the import or else at the first use."""
    calls = file.calls_to(_VARIABLE)
    imported = [
        binding
        for scope in (file.scopes if calls else ())
        for bindings in scope.bindings.values()
        for binding in bindings
        if binding.kind == "import" and not binding.level and binding.dotted == _VARIABLE
        and not is_in_try(binding.statement)
    ]  # fmt: skip
    dotted = [call for call in calls if len(call.parts) > 1 and not is_in_try(call.statement)]
    if not imported and not dotted:
        return
    parts = [without_import(file, binding, calls) for binding in imported]
    parts += [unwrapped(file, call) for call in dotted]
    edits = tuple(dict.fromkeys(edit for part in parts for edit in part))
    first = imported[0].node if imported else dotted[0].node.func
    others = [call for call in calls if call.node.func is not first]
    yield Finding(
        "`Variable` has been nothing but another name for a tensor since PyTorch 0.4",
        file.location(first),
        label="inert",
        related=tuple(
            Related(file.location(call.node), "gives back the tensor") for call in others[:1]
        ),
        notes=(f"{len(calls)} uses in this file",) if len(calls) > 1 else (),
        help="use the tensor itself",
        fix=Fix("safe", edits) if edits and all(parts) else None,
    )


def _gone(
    file: SourceFile,
    node: ast.AST,
    package: str,
    dotted: str,
    instead: str,
    edits: tuple[Edit, ...] = (),
) -> Finding:
    name = dotted.removeprefix("torchvision.")
    return Finding(
        f"`{name}` is gone from {package}",
        file.location(node),
        label="removed",
        help=f"use {instead}",
        fix=Fix("safe", edits) if edits else None,
        explains=file.location(node),
    )


def _is_guarded(file: SourceFile, call: Call, dotted: str) -> bool:
    """Whether the code asks for the version first, or is ready for the name to be missing."""
    name = dotted.rpartition(".")[2]
    asked = any(
        isinstance(argument, ast.Constant) and argument.value == name
        for other in file.calls_named("hasattr", "getattr")
        for argument in other.node.args
    )
    return asked or is_in_try(call.statement) or is_under(call.statement, "version", "VERSION")


def _indexed_losses(file: SourceFile) -> Iterator[Finding]:
    if not file.calls_named("backward"):
        return
    for node, statement in file.nodes(ast.Subscript):
        assert isinstance(node, ast.Subscript)
        value = node.value
        if (
            isinstance(value, ast.Attribute)
            and value.attr == "data"
            and isinstance(value.value, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and isinstance(node.slice, ast.Constant)
            and node.slice.value == 0
            and _is_a_loss(value.value.id, statement)
        ):
            name = value.value.id
            yield Finding(
                f"`{name}` has no dimension to index: `{name}.data[0]` raises an IndexError",
                file.location(node),
                label="a number without dimensions",
                help=f"{name}.item()",
                fix=Fix("safe", (replacement(file, node, f"{name}.item()"),)),
                explains=file.location(node),
            )


def _is_a_loss(name: str, at: Statement) -> bool:
    """Whether a name is what `backward()` runs through without a gradient: a single number."""
    for call in at.scope.calls:
        if call.parts == (name, "backward"):
            arguments = {k.arg for k in call.node.keywords} - {"retain_graph", "create_graph"}
            if not call.node.args and not arguments:
                return True
    return False
