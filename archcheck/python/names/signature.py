"""Signatures: what a constructor or function takes, and how a call fits."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple

from archcheck.python.names.torch_names import SIGNATURES


class Parameter(NamedTuple):
    """One parameter. `default` is None where it has none."""

    name: str
    kind: Literal["positional", "named", "either", "star", "stars"]
    default: ast.expr | None = None


class BoundArguments(NamedTuple):
    """A call matched with a signature.

    Attributes:
        values: The expressions given, by parameter name.
        missing: Parameters without a default that get nothing.
        extra: Positional arguments that have no place.
        unknown: Keyword arguments that no parameter takes.
        repeated: Parameters that are given twice.
        complete: Whether every argument can be seen: no `*` or `**` in the call. Where it is
            False, `missing` is empty, since a star may fill it.
    """

    values: Mapping[str, ast.expr]
    missing: tuple[str, ...] = ()
    extra: tuple[ast.expr, ...] = ()
    unknown: tuple[ast.keyword, ...] = ()
    repeated: tuple[str, ...] = ()
    complete: bool = True

    @property
    def fits(self) -> bool:
        """Whether the call would not raise a TypeError for its arguments."""
        return not (self.missing or self.extra or self.unknown or self.repeated)


class Signature:
    """The parameters of a function, in order."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.by_name: Mapping[str, Parameter] = {one.name: one for one in self.parameters}

    @staticmethod
    def of(arguments: ast.arguments) -> Signature:
        """The signature that a `def` writes."""
        found: list[Parameter] = []
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        for index, (argument, default) in enumerate(
            zip(positional, (*defaults, *arguments.defaults), strict=True)
        ):
            only = index < len(arguments.posonlyargs)
            found.append(Parameter(argument.arg, "positional" if only else "either", default))
        if arguments.vararg:
            found.append(Parameter(arguments.vararg.arg, "star"))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            found.append(Parameter(argument.arg, "named", default))
        if arguments.kwarg:
            found.append(Parameter(arguments.kwarg.arg, "stars"))
        return Signature(found)

    @staticmethod
    def parse(text: str) -> Signature:
        """The signature written as `in_features, out_features, bias=True`."""
        tree = ast.parse(f"def _({text}): ...")
        function = tree.body[0]
        assert isinstance(function, ast.FunctionDef)
        return Signature.of(function.args)

    def without_first(self) -> Signature:
        """The same without its first positional parameter (`self`)."""
        if self.parameters and self.parameters[0].kind in ("positional", "either"):
            return Signature(self.parameters[1:])
        return self

    def bind(self, call: ast.Call) -> BoundArguments:
        """Hold a call against this signature."""
        values: dict[str, ast.expr] = {}
        extra: list[ast.expr] = []
        unknown: list[ast.keyword] = []
        repeated: list[str] = []
        places = [p for p in self.parameters if p.kind in ("positional", "either")]
        takes_more = any(p.kind == "star" for p in self.parameters)
        takes_names = any(p.kind == "stars" for p in self.parameters)
        complete = True
        for index, argument in enumerate(call.args):
            if isinstance(argument, ast.Starred):
                # What follows a star has no known place.
                complete = False
                break
            if index < len(places):
                values[places[index].name] = argument
            elif not takes_more:
                extra.append(argument)
        for keyword in call.keywords:
            if keyword.arg is None:
                complete = False
                continue
            parameter = self.by_name.get(keyword.arg)
            if parameter is None or parameter.kind not in ("either", "named"):
                if not takes_names:
                    unknown.append(keyword)
            elif keyword.arg in values:
                repeated.append(keyword.arg)
            else:
                values[keyword.arg] = keyword.value
        missing = [
            parameter.name
            for parameter in self.parameters
            if complete
            and parameter.kind in ("positional", "either", "named")
            and parameter.default is None
            and parameter.name not in values
        ]
        return BoundArguments(
            values, tuple(missing), tuple(extra), tuple(unknown), tuple(repeated), complete
        )


@cache
def torch_signature(dotted: str) -> Signature | None:
    """The constructor of a class in torch.nn, by its dotted name."""
    text = SIGNATURES.get(dotted.removeprefix("torch.nn."))
    return None if text is None else Signature.parse(text)
