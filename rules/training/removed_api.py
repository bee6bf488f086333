"""Something that PyTorch or torchvision has removed, or that does nothing any more.

What it does
------------
Looks for `Variable` and `volatile=`, which have had no effect since PyTorch 0.4; `loss.data[0]`
on a loss, which has no dimension to index; `transforms.Scale` and `RandomSizedCrop`, which
torchvision has removed; and functions, modules and keywords that torch has removed, such as
`torch.symeig`, `torch.qr` (2.14), the `verbose=` of schedulers (2.7) and the `use_cuda=` of
profilers (2.14). Code that asks whether the name exists or for the version, or catches its absence,
is left alone.

What is only deprecated, such as `torch.cuda.amp.autocast` or `torch.jit.script` (2.10), is a note,
one a name and file, for those who select this rule by its code.

Why it is bad
-------------
What is gone raises when the line runs. What is inert misleads: with `volatile=True` ignored, the
graph is built all the same. What is deprecated works today, and is gone after some update.

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
from collections.abc import Container, Iterator

from archcheck.analysis.edits.renames import renamed, renamed_import, unwrapped, without_import
from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.core.finding import Edit, Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Binding, Call, SourceFile, Statement

from ._old_names import DEPRECATED, FUNCTIONS, KEYWORDS, METHODS, MODULES, Deprecated, Gone
from ._scripts import is_in_try, is_under

rule = Rule("AC506", "removed-api", Severity.WARNING, fix="safe")

_VARIABLE = "torch.autograd.Variable"
_TRANSFORMS = {
    "torchvision.transforms.Scale": Gone("transforms.Resize"),
    "torchvision.transforms.RandomSizedCrop": Gone("transforms.RandomResizedCrop"),
}
_IMPORTED = {**_TRANSFORMS, **MODULES}
# What makes a tensor, whatever it is given.
_TENSORS = frozenset(
    f"torch.{name}"
    for name in "Tensor bmm cat cov einsum empty eye from_numpy matmul mm ones rand randn stack "
    "tensor zeros".split()
)  # fmt: skip


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
    yield from _removed_calls(file)
    yield from _removed_methods(file)
    yield from _removed_keywords(file)
    yield from _deprecated(file)
    yield from _indexed_losses(file)


def _removed_calls(file: SourceFile) -> Iterator[Finding]:
    for dotted, gone in _TRANSFORMS.items():
        for call in file.calls_to(dotted):
            # A name that the import line itself cannot find is reported there.
            if len(call.parts) > 1 and not _is_guarded(file, call.statement, dotted):
                edits = renamed(file, call.node.func, dotted, gone.instead)
                yield _gone(file, call.node.func, dotted, gone, edits)
    for dotted, gone in FUNCTIONS.items():
        for call in file.calls_to(dotted):
            if not _is_guarded(file, call.statement, dotted):
                edits = _moved(file, call, dotted, gone) if gone.same_call else ()
                yield _gone(file, call.node.func, dotted, gone, edits)


def _moved(file: SourceFile, call: Call, dotted: str, gone: Gone) -> tuple[Edit, ...]:
    """The edit to a function that answers the same, where it is called with a tensor alone."""
    is_plain = len(call.node.args) == 1 and not call.node.keywords
    if not is_plain or isinstance(call.node.args[0], ast.Starred) or call.parts[0] != "torch":
        return ()
    return (replacement(file, call.node.func, gone.instead),)


def _removed_methods(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_named(*METHODS):
        if call.receiver is None or call.dotted is not None or is_in_try(call.statement):
            continue
        made_by = file.instance_of(call.receiver, call.statement)
        if isinstance(made_by, str) and made_by in _TENSORS:
            gone = FUNCTIONS[f"torch.{call.name}"]
            yield _gone(file, call.node, f"Tensor.{call.name}", gone)


def _removed_keywords(file: SourceFile) -> Iterator[Finding]:
    for (callee, name), gone in KEYWORDS.items():
        if f"{name}=" not in file.code.replace(" ", ""):
            continue
        for call in file.calls:
            if (call.dotted or "").startswith(callee) and not _is_guarded(
                file, call.statement, name
            ):
                for keyword in call.node.keywords:
                    if keyword.arg == name:
                        yield Finding(
                            f"`{call.name}` takes no `{name}` any more, since PyTorch {gone.since}",
                            file.location(keyword),
                            label="removed",
                            help=f"use {gone.instead}",
                            explains=file.location(call.node),
                        )


def _imports(file: SourceFile) -> Iterator[Finding]:
    for binding in _import_bindings(file, _IMPORTED):
        if not is_in_try(binding.statement):
            dotted, gone = binding.dotted, _IMPORTED[binding.dotted]
            edits = renamed_import(file, binding, dotted, gone.instead)
            is_name = dotted in _TRANSFORMS
            yield _gone(file, binding.node, dotted, gone, edits if is_name else ())


def _import_bindings(file: SourceFile, names: Container[str]) -> list[Binding]:
    """The imports of these names, under whatever name of the file."""
    return [
        binding
        for scope in file.scopes
        for bindings in scope.bindings.values()
        for binding in bindings
        if binding.kind == "import" and not binding.level and binding.dotted in names
    ]


def _deprecated(file: SourceFile) -> Iterator[Finding]:
    """One note for all uses of a name in a file, at its import or else at the first use."""
    imports = _import_bindings(file, DEPRECATED)
    names = {dotted.rpartition(".")[2] for dotted in DEPRECATED}
    names.update(binding.name for binding in imports)
    uses: dict[str, list[ast.expr]] = {}
    for node, statement in _mentions(file, names):
        dotted = file.dotted(node, statement)
        if dotted and dotted in DEPRECATED and not _is_guarded(file, statement, dotted):
            uses.setdefault(dotted, []).append(node)
    for dotted, nodes in uses.items():
        bindings = [binding for binding in imports if binding.dotted == dotted]
        if not any(is_in_try(binding.statement) for binding in bindings):
            yield _warns(file, dotted, DEPRECATED[dotted], bindings, nodes)


def _mentions(file: SourceFile, names: Container[str]) -> Iterator[tuple[ast.expr, Statement]]:
    """The calls, dotted expressions and bare decorators whose last name is one of these."""
    for reference in file.references:
        if reference.parts[-1] in names:
            node = reference.node
            yield (node.func if isinstance(node, ast.Call) else node), reference.statement
    for function in file.functions:
        for decorator in function.node.decorator_list:
            if (
                isinstance(decorator, ast.Name)
                and decorator.id in names
                and function.statement is not None
            ):
                yield decorator, function.statement


def _warns(
    file: SourceFile,
    dotted: str,
    old: Deprecated,
    bindings: list[Binding],
    nodes: list[ast.expr],
) -> Finding:
    since = f" since PyTorch {old.since}" if old.since else ""
    until = f", and goes with {old.until}" if old.until else ""
    return Finding(
        f"`{dotted}` is deprecated{since}{until}",
        file.location(bindings[0].node if bindings else nodes[0]),
        label="still works, and warns",
        severity=Severity.NOTE,
        notes=(f"{len(nodes)} uses in this file",) if len(nodes) > 1 else (),
        help=f"use {old.instead}",
        fix=_respelled(file, dotted, old, bindings, nodes),
    )


def _respelled(
    file: SourceFile,
    dotted: str,
    old: Deprecated,
    bindings: list[Binding],
    nodes: list[ast.expr],
) -> Fix | None:
    """The fix where one underscore is all that is missing: `clip_grad_norm_`."""
    if old.instead != f"{dotted}_":
        return None
    behind_dots = [node for node in nodes if isinstance(node, ast.Attribute)]
    parts = [renamed_import(file, binding, dotted, old.instead) for binding in bindings]
    parts += [renamed(file, node, dotted, old.instead) for node in behind_dots]
    edits = tuple(dict.fromkeys(edit for part in parts for edit in part))
    return Fix("safe", edits) if edits and all(parts) else None


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
    file: SourceFile, node: ast.AST, dotted: str, gone: Gone, edits: tuple[Edit, ...] = ()
) -> Finding:
    package = "torchvision" if dotted in _TRANSFORMS else "PyTorch"
    since = f" since {gone.since}" if gone.since else ""
    return Finding(
        f"`{dotted.removeprefix('torchvision.')}` is gone from {package}{since}",
        file.location(node),
        label="removed",
        help=f"use {gone.instead}",
        fix=Fix("safe", edits) if edits else None,
        explains=file.location(node),
    )


def _is_guarded(file: SourceFile, statement: Statement, dotted: str) -> bool:
    """Whether the code asks for the version first, or is ready for the name to be missing."""
    name = dotted.rpartition(".")[2]
    asked = any(
        isinstance(argument, ast.Constant) and argument.value == name
        for other in file.calls_named("hasattr", "getattr")
        for argument in other.node.args
    )
    return asked or is_in_try(statement) or is_under(statement, "version", "VERSION")


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
