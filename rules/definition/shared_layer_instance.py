"""One layer instance stands in a container several times.

What it does
------------
Looks for `[layer] * n`, `[layer for _ in range(n)]` with a layer made outside, the same name
twice among the arguments of a container, and `layers.append(layer)` in a loop with a layer made
before it. Layers without parameters may be repeated; so may layers whose name, or a comment or
docstring nearby, says that they are shared.

Why it is bad
-------------
All places share one set of weights: the network is as deep as it reads, with the parameters of a
single layer. For a batch norm they share their statistics too.

Example
-------
    self.blocks = nn.ModuleList([Block(width)] * depth)

Use instead
-----------
    self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.finding import Finding, Location, Related, Severity
from archcheck.rule import Rule
from archcheck.shapes.faults import node_at, source_file
from archcheck.source import Binding, Call, Project, Scope, SourceFile, Statement
from archcheck.source.weights import has_weights

if TYPE_CHECKING:
    from archcheck.evidence import Module, Trace

rule = Rule("AC114", "shared-layer-instance", Severity.WARNING)

_CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleList")
_ON_PURPOSE = re.compile(
    r"shar(e|ed|ing)\b|_shared|shared_|\bti(e|ed|es|ing)\b|_tied|tied_|same (layer|weight|module|"
    r"block)|recurrent|recursive|weight.tying|reus(e|ed|ing)|universal|siamese",
    re.IGNORECASE,
)


@rule.on_source
def one_instance_in_many_places(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_to(*_CONTAINERS):
        for argument in call.node.args:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            display, at = _display(inner, call.statement)
            for node, made in _repeated(file, display, at):
                yield from _finding(file, call.scope, node, made, at)
        for node, made in _twice(file, call.node.args, call.statement):
            yield from _finding(file, call.scope, node, made, call.statement)
    yield from _appended(file)


@rule.on_trace
def one_module_at_several_places(trace: Trace, project: Project) -> Iterator[Finding]:
    for container in trace.modules:
        if container.type not in ("ModuleList", "Sequential") or container.constructed is None:
            continue
        prefix = f"{container.path}." if container.path else ""
        for path in container.children:
            child = trace.module(path)
            if child is None or child.constructed is None or not _is_direct(path, prefix):
                continue
            again = [alias for alias in child.aliases if _is_direct(alias, prefix)]
            weights = any(p.name.startswith(f"{child.path}.") for p in trace.parameters)
            if not again or not weights or _is_said(project, container, child):
                continue
            yield Finding(
                f"`{path}` and {_listed(again)} are one {child.type} instance: they share its "
                "weights",
                container.constructed,
                label="the same instance again",
                module=path,
                related=(Related(child.constructed, "the one instance"),),
                help="build a layer for each place, or say in a comment that they are shared",
            )


def _is_direct(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and "." not in path.removeprefix(prefix)


def _listed(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown


def _is_said(project: Project, container: Module, child: Module) -> bool:
    """Whether the code around says that the weights are shared, or takes an attribute again."""
    for place in (container.constructed, child.constructed):
        file = source_file(project, place) if place is not None else None
        if place is None or file is None:
            return True
        node = node_at(file, place)
        if node is None:
            return True
        if place is container.constructed and _takes_an_attribute(node):
            return True
        at = file.statement_at(node)
        if _is_meant(file, at.scope, at, node, ast.Constant(None)):
            return True
    return False


def _takes_an_attribute(node: ast.AST) -> bool:
    """Whether a container is built from `self.layer`, which has its place already."""
    given = [part for item in getattr(node, "args", []) for part in ast.walk(item)]
    called = {part.func for part in given if isinstance(part, ast.Call)}
    return any(
        isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "self"
        and part not in called
        for part in given
    )


def _finding(
    file: SourceFile, scope: Scope, node: ast.AST, made: ast.expr, at: Statement
) -> Iterator[Finding]:
    if _is_meant(file, scope, at, node, made):
        return
    name = made.id if isinstance(made, ast.Name) else file.text(made).partition("(")[0]
    related: tuple[Related, ...] = ()
    bindings = at.scope.reaching(made.id, at) if isinstance(made, ast.Name) else ()
    if bindings and bindings[0].value is not None:
        related = (Related(bindings[0].statement.scope.file.location(bindings[0].value),
                           "the one instance"),)  # fmt: skip
    location: Location = file.location(node)
    yield Finding(
        f"one `{name}` instance stands in several places of a container: all share its weights",
        location,
        label="the same instance again",
        related=related,
        help="build a layer for each place, or say in a comment that they are shared",
    )


def _display(node: ast.expr, at: Statement) -> tuple[ast.expr, Statement]:
    """The list that a name is bound to, or the expression itself."""
    if isinstance(node, ast.Name):
        bindings = at.scope.reaching(node.id, at)
        if len(bindings) == 1 and bindings[0].kind == "assign" and bindings[0].value is not None:
            value = bindings[0].value
            if isinstance(value, ast.List | ast.ListComp | ast.BinOp) and not bindings[0].path:
                return value, bindings[0].statement
    return node, at


def _repeated(
    file: SourceFile, node: ast.expr, at: Statement
) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Expressions that put one instance into a list several times, with that instance."""
    match node:
        case ast.BinOp(op=ast.Mult()):
            display, count = node.left, node.right
            if not isinstance(display, ast.List):
                display, count = count, display
            times = file.value(count, at)
            if isinstance(display, ast.List) and not (isinstance(times, int) and times < 2):
                for element in display.elts:
                    if _is_weighted(file, element, at):
                        yield node, element
        case ast.ListComp(elt=ast.Name()) | ast.GeneratorExp(elt=ast.Name()):
            element = node.elt
            assert isinstance(element, ast.Name)
            if _is_weighted(file, element, at) and not any(
                part.id == element.id
                for generator in node.generators
                for part in ast.walk(generator.target)
                if isinstance(part, ast.Name)
            ):
                yield node, element
        case ast.List():
            yield from _twice(file, node.elts, at)
        case ast.BinOp(op=ast.Add()):
            yield from _repeated(file, node.left, at)
            yield from _repeated(file, node.right, at)


def _twice(
    file: SourceFile, elements: list[ast.expr], at: Statement
) -> Iterator[tuple[ast.expr, ast.expr]]:
    seen: set[str] = set()
    for element in elements:
        if isinstance(element, ast.Name):
            if element.id in seen and _is_weighted(file, element, at):
                yield element, element
            seen.add(element.id)


def _is_weighted(file: SourceFile, element: ast.expr, at: Statement) -> bool:
    """Whether an expression certainly is one layer with parameters, made once."""
    if isinstance(element, ast.Name):
        binding = _made_once(element.id, at)
        if binding is None or binding.value is None:
            return False
        element, at = binding.value, binding.statement
    if not isinstance(element, ast.Call):
        return False
    layers = file.layers(element, at)
    return bool(layers) and all(has_weights(layer) for layer in layers)


def _made_once(name: str, at: Statement) -> Binding | None:
    """The one assignment of a local name, of the same scope."""
    bindings = at.scope.bindings.get(name, [])
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].path:
        return None
    return bindings[0]


def _appended(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_named("append"):
        if call.loop is None or not isinstance(call.loop, ast.For | ast.While):
            continue
        if len(call.node.args) != 1 or not isinstance(call.node.args[0], ast.Name):
            continue
        element = call.node.args[0]
        binding = _made_once(element.id, call.statement)
        if binding is None or binding.statement.suite.is_within(call.statement.suite):
            continue
        if binding.statement.suite.loop is not None or _leaves_at_once(call):
            continue
        if _is_weighted(file, element, call.statement) and _goes_into_a_container(file, call):
            yield from _finding(file, call.scope, call.node, element, call.statement)


def _leaves_at_once(call: Call) -> bool:
    """Whether the loop may end right after the first turn that appends."""
    assert call.loop is not None
    return any(
        isinstance(part, ast.Break | ast.Return)
        for statement in call.loop.body  # type: ignore[union-attr]
        for part in ast.walk(statement)
    )


def _goes_into_a_container(file: SourceFile, call: Call) -> bool:
    receiver = call.receiver
    if receiver is None:
        return False
    made = file.instance_of(receiver, call.statement)
    if made in _CONTAINERS:
        return True
    if not isinstance(receiver, ast.Name):
        return False
    for container in call.scope.calls:
        if container.dotted in _CONTAINERS:
            for argument in container.node.args:
                inner = argument.value if isinstance(argument, ast.Starred) else argument
                if isinstance(inner, ast.Name) and inner.id == receiver.id:
                    return True
    return False


def _is_meant(file: SourceFile, scope: Scope, at: Statement, node: ast.AST, made: ast.expr) -> bool:
    """Whether a name, a comment or a docstring says that the weights are shared."""
    lines = [file.location(node).line, getattr(at.node, "lineno", 1)]
    texts = [file.lines[line - 1 - back] for line in lines for back in (0, 1) if line > back]
    if isinstance(made, ast.Name):
        texts.append(made.id)
        binding = _made_once(made.id, at)
        if binding is not None:
            line = getattr(binding.statement.node, "lineno", 1)
            texts += [file.lines[line - 1 - back] for back in (0, 1) if line > back]
    function = scope.function
    owner = function.owner if function is not None else None
    for around in (function, owner):
        if around is not None:
            texts += [ast.get_docstring(around.node, clean=False) or "", around.name]
    return any(_ON_PURPOSE.search(text) for text in texts)
