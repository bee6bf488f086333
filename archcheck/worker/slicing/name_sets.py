"""What a statement does with the names of its module, as data; and names in syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
ChangeKind: TypeAlias = Literal["assign", "call", "decorator"]

# Methods that change what they are called on, by how their names begin. What trains, saves or
# moves a model (`fit`, `load_state_dict`, `cuda`) changes nothing that a check looks at.
_CHANGING = (
    *("add", "append", "build", "clear", "configure", "define", "del", "discard", "extend"),
    *("freeze", "half", "double", "bfloat16", "insert", "merge", "pop", "read", "register"),
    *("remove", "replace", "reverse", "set", "sort", "update"),
)


@dataclass(slots=True)
class Body:
    """What the code of a function does with the names of its module when it is called.

    Attributes:
        reads: Module names that it reads.
        attributes: Every attribute that it mentions, and every string that could name one.
        binds: Module names that it assigns, declared `global`.
        changes: Module names whose objects it changes in place.
        parameters: Its parameters' names, in order.
        changed_parameters: Those whose objects it changes in place.
    """

    reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    parameters: tuple[str, ...] = ()
    changed_parameters: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Call:
    """A function of the module, called by its name for what it does, or as a decorator."""

    function: str
    arguments: tuple[str | None, ...] = ()
    keywords: dict[str, str] = field(default_factory=dict)
    decorates: bool = False


@dataclass(slots=True)
class Uses:
    """What a statement of a module does with the module's names.

    Attributes:
        binds: Names that it binds.
        changes: Names whose objects it changes in place, and how.
        reads: Names that it reads when it runs.
        attributes: What it mentions when it runs, as in `Body`.
        functions: What runs only when called: the bodies by function name, under "" those of
            lambdas; a class's methods by theirs.
        is_class: The functions are the methods of a class.
        calls: Functions of the module that it calls.
        aliases: Names that it binds to parts of other names' objects.
    """

    binds: set[str] = field(default_factory=set)
    changes: dict[str, ChangeKind] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    functions: dict[str, list[Body]] = field(default_factory=dict)
    is_class: bool = False
    calls: list[Call] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    star: bool = False


def root_name(node: ast.expr) -> str | None:
    """The name at the root of `a.b[0].c()`."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=node) | ast.Subscript(value=node) | ast.Call(func=node):
                continue
            case ast.Starred(value=node):
                continue
            case _:
                return None


def dotted_name(node: ast.expr) -> str | None:
    """`a.b.c`, where an expression is nothing but that."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def changes_its_object(method: str) -> bool:
    return method.startswith(_CHANGING)


def bound_names(target: ast.AST) -> Iterator[str]:
    """The names that an assignment's target binds."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    return found


def local_names(node: FunctionNode) -> tuple[set[str], set[str]]:
    """The names local to a function, and those that it declares global."""
    local = {argument.arg for argument in all_arguments(node.args)}
    declared: set[str] = set()
    waiting: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
    while waiting:
        part = waiting.pop()
        match part:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                local.add(name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Of what a comprehension binds, only `:=` reaches the function.
                local.update(
                    walrus.target.id
                    for walrus in ast.walk(part)
                    if isinstance(walrus, ast.NamedExpr)
                )
                continue
            case ast.Global(names=names):
                declared.update(names)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                local.add(name)
            case ast.Import() | ast.ImportFrom():
                local.update(alias.asname or alias.name.partition(".")[0] for alias in part.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                local.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                local.add(name)
            case _:
                pass
        waiting += ast.iter_child_nodes(part)
    return local - declared, declared
