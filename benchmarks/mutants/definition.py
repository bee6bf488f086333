"""AC1: mutants of how modules are defined."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from mutants.clean import (
    Clean,
    Mutant,
    Mutation,
    after,
    built,
    called,
    calls,
    classes,
    layers,
    methods,
    mutant,
    own_calls,
    returns,
)

_LAYERS = ("Linear", "Conv2d", "LayerNorm", "BatchNorm1d", "BatchNorm2d")


def without_super_init(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        yield mutant(clean, init.body[0], "pass")


def late_super_init(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        if len(init.body) > 1:
            first, second = init.body[:2]
            late = after(clean, second, clean.source(first))
            yield Mutant(clean.edited((second, late), (first, "pass")), f"line {first.lineno}")


def _signature(clean: Clean, function: ast.FunctionDef, old: str, new: str) -> Mutant:
    lines = clean.text.splitlines(keepends=True)
    lines[function.lineno - 1] = lines[function.lineno - 1].replace(old, new, 1)
    return Mutant("".join(lines), f"line {function.lineno}: {old} -> {new}")


def forward_without_self(clean: Clean) -> Iterator[Mutant]:
    for _, forward in methods(clean, "forward"):
        yield _signature(clean, forward, "(self, ", "(")


def forward_missing(clean: Clean) -> Iterator[Mutant]:
    for _, forward in methods(clean, "forward"):
        yield _signature(clean, forward, "forward", "foward")
    for _, init in methods(clean, "__init__"):
        yield _signature(clean, init, "__init__", "__int__")
        yield _signature(clean, init, "__init__", "_init_")
    for node in classes(clean):
        for before, item in zip(node.body, node.body[1:], strict=False):
            match before, item:
                case ast.FunctionDef(name="__init__"), ast.FunctionDef(name="forward"):
                    deeper = clean.source(item).replace("\n", "\n    ")
                    yield mutant(clean, item, f"    {deeper}")


def returns_nothing(clean: Clean) -> Iterator[Mutant]:
    for _, last, value in returns(clean):
        yield mutant(clean, last, clean.source(value))
        yield mutant(clean, last, f"result = {clean.source(value)}")


def overwritten(clean: Clean) -> Iterator[Mutant]:
    for node in layers(clean, "Linear", "Conv2d", "BatchNorm2d", "LayerNorm", "Sequential"):
        yield mutant(clean, node, after(clean, node, clean.source(node)))


def unregistered_layers(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "ModuleList"):
        plain = clean.source(node.args[0])
        yield mutant(clean, node, plain)
        yield mutant(clean, node, f"tuple({plain})")


def without_a_call(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    called = Counter(name for _, name in own_calls(clean))
    for node, name in own_calls(clean):
        if name in kinds and called[name] == 1 and len(node.args) == 1:
            yield mutant(clean, node, clean.source(node.args[0]))


def misspelled_attribute(clean: Clean) -> Iterator[Mutant]:
    for node, name in own_calls(clean):
        yield mutant(clean, node.func, f"self.{name}_")


def broken_super(clean: Clean) -> Iterator[Mutant]:
    names = [node.name for node in classes(clean)]
    for owner, init in methods(clean, "__init__"):
        call = next(calls_in(init, "__init__"))
        yield mutant(clean, call, "super().__init__")
        for other in names:
            if other != owner.name:
                yield mutant(clean, call, f"super({other}, self).__init__()")


def calls_in(place: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(place):
        if isinstance(node, ast.Call) and called(node) == name:
            yield node


def wrong_arguments(clean: Clean) -> Iterator[Mutant]:
    own = {node.name for node in classes(clean)}
    for node in calls(clean, "Linear", "Conv2d", *own):
        given = [clean.source(argument) for argument in node.args]
        function = clean.source(node.func)
        if called(node) not in own:
            yield mutant(clean, node, f"{function}({given[0]})")
        yield mutant(clean, node, f"{function}({', '.join([*given, 'units=3'])})")


def truth_of_a_container(clean: Clean) -> Iterator[Mutant]:
    """A shortcut that is an empty Sequential, and asked for by its truth value."""
    if clean.name == "resnet":
        for node in calls(clean, "Identity"):
            for call, name in own_calls(clean):
                if name == "shortcut":
                    test = f"{clean.source(call)} if self.shortcut else 0"
                    text = clean.edited((node, "nn.Sequential()"), (call, test))
                    yield Mutant(text, f"line {call.lineno}: {test}")


def built_in_forward(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    assigned = {clean.source(node.targets[0])[5:]: node for node in layers(clean, *_LAYERS)}
    for node, name in own_calls(clean):
        maker = kinds.get(name, "")
        # Only literals: what a constructor was given means nothing in forward.
        named = re.findall(r"\b[a-z_]+\b(?!=)", maker.partition("(")[2])
        if name in assigned and set(named) <= {"False", "True"}:
            text = clean.edited((node.func, maker), (assigned[name], "pass"))
            yield Mutant(text, f"line {node.lineno}: {maker} in forward")


def shared_instance(clean: Clean) -> Iterator[Mutant]:
    for node in ast.walk(clean.tree):
        match node:
            case ast.ListComp(elt=ast.Call(), generators=[ast.comprehension(iter=ast.Call())]):
                times = node.generators[0].iter
                if isinstance(times, ast.Call) and called(times) == "range":
                    one, count = clean.source(node.elt), clean.source(times.args[0])
                    yield mutant(clean, node, f"[{one}] * {count}")


def direct_call(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for node, name in own_calls(clean):
        if name in kinds:
            yield mutant(clean, node.func, f"self.{name}.forward")


def unregistered_tensor(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "Parameter"):
        yield mutant(clean, node, clean.source(node.args[0]))
        yield mutant(clean, node, f"{clean.source(node)} * 0.5")
    for node in calls(clean, "register_buffer"):
        name = ast.literal_eval(node.args[0])
        yield mutant(clean, node, f"self.{name} = {clean.source(node.args[1])}")


def shadowed(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        for line in ("self.training = 3", "self.modules = [1, 2]", "self.type = 'small'"):
            yield mutant(clean, init.body[-1], after(clean, init.body[-1], line))
    for _, forward in methods(clean, "forward"):
        train = "\n\n    def train(self, x, y):\n        return self(x) - y"
        yield mutant(clean, forward, clean.source(forward) + train)


DEFINITION: dict[str, Mutation] = {
    "AC101": without_super_init, "AC102": late_super_init, "AC103": forward_without_self,
    "AC104": forward_missing, "AC105": returns_nothing, "AC106": overwritten,
    "AC107": unregistered_layers, "AC108": without_a_call, "AC109": misspelled_attribute,
    "AC110": broken_super, "AC111": wrong_arguments, "AC112": truth_of_a_container,
    "AC113": built_in_forward, "AC114": shared_instance, "AC115": direct_call,
    "AC116": unregistered_tensor, "AC117": shadowed,
}  # fmt: skip
