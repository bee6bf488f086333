"""One instance of a layer in several places of a container, where nothing says that it is meant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.analysis.source.weights import has_weights
from archcheck.core.finding import Location
from archcheck.python import Binding, Call, Project, Scope, SourceFile, Statement, Suite

if TYPE_CHECKING:
    from archcheck.evidence.records import Module
    from archcheck.evidence.trace import Trace

_CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleList")
# Sharing these between two containers also mixes what they normalise by.
_NORMS = frozenset({
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "GroupNorm", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "RMSNorm",
})  # fmt: skip
_ON_PURPOSE = (
    r"(?i)shar(e|ed|ing)\b|_shared|shared_|\bti(e|ed|es|ing)\b|_tied|tied_|same "
    r"(layer|weight|module|block)|recurrent|recursive|weight.tying|reus(e|ed|ing)|universal|siamese"
)


class SharedLayer(NamedTuple):
    """A layer with weights that source code puts into a container several times.

    Attributes:
        node: What puts it there again.
        name: What the code calls it.
        built: Where it is constructed, if it was bound to a name.
    """

    node: ast.expr
    name: str
    built: Location | None


class SharedModule(NamedTuple):
    """A module with weights that a traced model's container holds several times.

    Attributes:
        path, again: Its first place in the container, and the others.
        container, built: Where the container and the module were constructed.
    """

    module: Module
    path: str
    again: list[str]
    container: Location
    built: Location


def shared_layers(file: SourceFile) -> Iterator[SharedLayer]:
    """The layers that certainly are one instance, in Sequentials and ModuleLists of a file."""
    for scope, node, made, at in _instances_again(file):
        if not _is_meant(file, scope, at, node, made):
            name = made.id if isinstance(made, ast.Name) else file.text(made).partition("(")[0]
            bindings = at.scope.reaching(made.id, at) if isinstance(made, ast.Name) else ()
            value = bindings[0].value if bindings else None
            home = bindings[0].statement.scope.file if bindings else file
            yield SharedLayer(node, name, home.location(value) if value is not None else None)


def shared_modules(trace: Trace, project: Project) -> Iterator[SharedModule]:
    """The same, seen in a traced model."""
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
            if again and weights and not _is_said(project, container, child):
                yield SharedModule(child, path, again, container.constructed, child.constructed)


def _is_direct(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and "." not in path.removeprefix(prefix)


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


def _instances_again(
    file: SourceFile,
) -> Iterator[tuple[Scope, ast.expr, ast.expr, Statement]]:
    """The expressions that put an instance into a container again, with the scope around them,
    the instance, and the statement that it is to be looked up from."""
    for call in file.calls_to(*_CONTAINERS):
        for argument in call.node.args:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            display, at = _display(inner, call.statement)
            for node, made in _repeated(file, display, at):
                yield call.scope, node, made, at
        for node, made in _twice(file, call.node.args, call.statement):
            yield call.scope, node, made, call.statement
        for node, made, at in _in_every_turn(file, call):
            yield call.scope, node, made, at
    yield from _norms_in_two_containers(file)
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
            yield call.scope, call.node, element, call.statement


def _in_every_turn(file: SourceFile, call: Call) -> Iterator[tuple[ast.expr, ast.expr, Statement]]:
    """What a container that is built in each turn of a loop takes from before the loop."""
    loop = call.loop
    if loop is None or call.statement.suite.owner is not loop:
        return
    if isinstance(loop, ast.For | ast.While) and _leaves_at_once(call):
        return
    for argument in call.node.args:
        inner = argument.value if isinstance(argument, ast.Starred) else argument
        if not isinstance(inner, ast.Name):
            continue
        binding = _made_once(inner.id, call.statement)
        if binding is None or binding.value is None or binding.statement.is_in(loop):
            continue
        if not isinstance(argument, ast.Starred):
            made: list[ast.expr] = [inner]
        elif isinstance(binding.value, ast.List | ast.Tuple):
            made = binding.value.elts
        else:
            made = []
        found = (one for one in made if _is_weighted(file, one, binding.statement))
        shared = next((one for one in found if not _is_a(file, one, binding, "PReLU")), None)
        if shared is not None:
            at = call.statement if shared is inner else binding.statement
            yield argument, shared, at


def _is_a(file: SourceFile, made: ast.expr, binding: Binding, *names: str) -> bool:
    value = binding.value if isinstance(made, ast.Name) else made
    layers = file.layers(value, binding.statement) if isinstance(value, ast.Call) else ()
    return bool(layers) and all(layer.is_a(*names) for layer in layers)


def _norms_in_two_containers(
    file: SourceFile,
) -> Iterator[tuple[Scope, ast.expr, ast.expr, Statement]]:
    """The normalisations that two Sequentials of one suite name."""
    seen: dict[tuple[Suite, str], Call] = {}
    for call in file.calls_to("torch.nn.Sequential"):
        for argument in call.node.args:
            if not isinstance(argument, ast.Name):
                continue
            key = (call.statement.suite, argument.id)
            other = seen.setdefault(key, call)
            binding = _made_once(argument.id, call.statement)
            if other is call or binding is None or not _is_weighted(file, argument, call.statement):
                continue
            if _is_a(file, argument, binding, *_NORMS) and not _same_target(call, other):
                yield call.scope, argument, argument, call.statement


def _same_target(call: Call, other: Call) -> bool:
    """Whether two containers stand in one statement, or take each other's place."""
    one, two = call.statement.node, other.statement.node
    if one is two or not (isinstance(one, ast.Assign) and isinstance(two, ast.Assign)):
        return True
    return ast.dump(one.targets[0]) == ast.dump(two.targets[0])


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
        if _is_given_weights(file, element.id, at):
            return True
        binding = _made_once(element.id, at)
        if binding is None or binding.value is None:
            return False
        element, at = binding.value, binding.statement
    if not isinstance(element, ast.Call):
        return False
    layers = file.layers(element, at)
    return bool(layers) and all(has_weights(layer) for layer in layers)


def _is_given_weights(file: SourceFile, name: str, at: Statement) -> bool:
    """Whether a parameter of the function around gets a layer with parameters from some caller."""
    function = at.scope.function
    bindings = at.scope.bindings.get(name, ())
    if function is None or function.owner is not None or len(bindings) != 1:
        return False
    if bindings[0].kind != "parameter":
        return False
    for call in file.calls_of(function):
        given = function.signature.bind(call.node).values.get(name)
        layers = file.layers(given, call.statement) if isinstance(given, ast.Call) else ()
        if layers and all(has_weights(layer) for layer in layers):
            return True
    return False


def _made_once(name: str, at: Statement) -> Binding | None:
    """The one assignment of a local name, of the same scope."""
    bindings = at.scope.bindings.get(name, [])
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].path:
        return None
    return bindings[0]


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
    return any(re.search(_ON_PURPOSE, text) for text in texts)
