"""Arguments of a target's call, and what a constructor wants to be given."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from archcheck.core.target import Target, UsageError, check_arguments, unusual_part
from archcheck.tracing.signatures import signature_of
from archcheck.worker.slicing.units import ModuleUnits

# Built-in types that make plain data.
_PLAIN_TYPES: Mapping[str, Any] = {
    kind.__name__: kind for kind in (bool, dict, float, int, list, range, set, slice, str, tuple)
}


def call_of(target: Target) -> ast.Call | None:
    """The syntax of a target's call, None where the target is no call."""
    if target.call is None:
        return None
    return check_arguments(target.text, target.name, target.call)


def names_in(call: ast.Call) -> set[str]:
    """The names that a call's arguments start from."""
    return {
        node.id
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        for node in ast.walk(argument)
        if isinstance(node, ast.Name)
    }


def check_names(target: Target, names: Iterable[str], units: ModuleUnits) -> None:
    """Complain of arguments that the file doesn't define.

    Raises:
        UsageError: One of the names is bound nowhere in the file.
    """
    if units.stars:
        return
    for name in names:
        if name not in units.binders and name not in _PLAIN_TYPES:
            near = difflib.get_close_matches(name, list(units.binders), 1)
            hint = f"; did you mean `{near[0]}`?" if near else ", nor imported there"
            raise UsageError(f"`{target.text}`: `{name}` is not defined in {target.place}{hint}")


def evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an argument: a literal, a name, an attribute, or a call of those.

    Raises:
        NameError: A name is not there.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=op, operand=operand):
            value = evaluate(operand, names)
            return -value if isinstance(op, ast.USub) else value
        case ast.Name(id=name):
            if name in names:
                return names[name]
            if name in _PLAIN_TYPES:
                return _PLAIN_TYPES[name]
            raise NameError(f"name {name!r} is not defined", name=name)
        case ast.Attribute(value=owner, attr=attribute):
            return getattr(evaluate(owner, names), attribute)
        case ast.List(elts=elements):
            return [evaluate(element, names) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(evaluate(element, names) for element in elements)
        case ast.Set(elts=elements):
            return {evaluate(element, names) for element in elements}
        case ast.Dict(keys=keys, values=values):
            return {
                evaluate(key, names): evaluate(value, names)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
        case ast.Call(func=function, args=arguments, keywords=keywords):
            return evaluate(function, names)(
                *(evaluate(argument, names) for argument in arguments),
                **{k.arg: evaluate(k.value, names) for k in keywords if k.arg is not None},
            )
        case _:
            raise TypeError(f"{ast.unparse(node)} is no literal")


def check_call(
    target: Target, function: Callable[..., Any], call: ast.Call | None, tree: ast.Module
) -> None:
    """Complain of a constructor or factory that wants other arguments than it is given.

    Raises:
        UsageError: Arguments are missing, too many or unknown.
    """
    try:
        signature = signature_of(function)
    except (TypeError, ValueError):
        return
    positional = [None] * len(call.args) if call is not None else []
    keywords = {k.arg: None for k in call.keywords if k.arg} if call is not None else {}
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        required = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        names = [parameter.name for parameter in required]
        written = ", ".join(f"{name}=…" for name in names)
        known = ", ".join(signature.parameters)
        if call is None:
            example = _called_in(tree, target.name)
            form = example or f"{target.name}({written})"
            raise UsageError(
                f"`{target.name}` needs {_listed(names)}: "
                f"write `{target.place}:{form}`" + (", as the file itself does" if example else "")
            ) from None
        raise UsageError(f"`{target.text}`: {error}; `{target.name}` takes ({known})") from None


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}"


def _called_in(tree: ast.Module, name: str) -> str | None:
    """How the file itself calls it, where it does so with literals."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == name
            and (node.args or node.keywords)
            and all(
                isinstance(part, ast.Constant)
                for argument in (*node.args, *(k.value for k in node.keywords))
                for part in ast.walk(argument)
                if isinstance(part, ast.expr) and not isinstance(part, ast.List | ast.Tuple)
            )
            and unusual_part(node) is None
        ):
            return ast.unparse(node)
    return None
