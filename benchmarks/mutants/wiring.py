"""AC3: mutants of how layers are connected."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mutants.clean import (
    Clean,
    Mutant,
    Mutation,
    bound_calls,
    built,
    called,
    calls,
    methods,
    mutant,
)

SKIPS = ("identity", "shortcut", "residual")
AFFINE = ("Linear", "Conv2d")


def without_the_sum(clean: Clean) -> Iterator[Mutant]:
    """The skip is kept and never added; or it goes with the sum, and only the name promises it."""
    for _, forward in methods(clean, "forward"):
        for node, name, other in _joins(forward):
            kept_value = "pass" if other is None else clean.source(other)
            yield mutant(clean, node, kept_value)
            kept = [
                line for line in ast.walk(forward)
                if isinstance(line, ast.Assign) and clean.source(line.targets[0]) == name
            ]  # fmt: skip
            if len(kept) == 1 and re.search(r"[Rr]es[A-Zi]|skip", clean.text):
                edits = ((node, kept_value), (kept[0], "pass"))
                yield Mutant(clean.edited(*edits), f"line {node.lineno}: no {name} at all")


def _joins(forward: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, ast.expr | None]]:
    """Where a skip is added, by which name, and what is left without it: nothing, of `+=`."""
    for node in ast.walk(forward):
        match node:
            case ast.BinOp(op=ast.Add(), left=other, right=ast.Name(id=name)) if name in SKIPS:
                yield node, name, other
            case ast.BinOp(op=ast.Add(), left=ast.Name(id=name), right=other) if name in SKIPS:
                yield node, name, other
            case ast.AugAssign(op=ast.Add(), value=ast.Name(id=name)) if name in SKIPS:
                yield node, name, None
            case ast.Call(args=[other, ast.Name(id=name)]) if name in SKIPS:
                yield node, name, other


def thrown_away(clean: Clean) -> Iterator[Mutant]:
    for _, node, call in bound_calls(clean):
        yield mutant(clean, node, clean.source(call))
        yield mutant(clean, node, f"unused = {clean.source(call)}")


def overwritten_skip(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "preactivation":
        for node in calls(clean, "ReLU"):
            yield mutant(clean, node, "nn.ReLU(inplace=True)")
        for node in calls(clean, "act"):
            for new in (
                "self.act(x.relu_())",
                "self.act(x.mul_(0.5))",
                "self.act(torch.relu_(x))",
                "self.act(nn.functional.relu(x, inplace=True))",
                "self.act(x).sigmoid() + x.mul_(2)",
            ):
                yield mutant(clean, node, new)
    if clean.name == "transformer":
        for node in ast.walk(clean.tree):
            if isinstance(node, ast.Assign) and clean.source(node) == "residual = x":
                yield mutant(clean, node, f"residual = x\n{' ' * node.col_offset}x += 1")


def without_an_activation(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    # What follows these is not linear either: a pooling by maxima, a norm.
    other = ("conv1", "conv2", "fc1") if clean.name == "lenet" else ()
    for node in calls(clean, "relu", "act", "gelu") if clean.model is not None else ():
        match node.args:
            case [ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) as inner]:
                is_affine = re.match(rf"nn\.({'|'.join(AFFINE)})\(", kinds.get(name, ""))
                if is_affine and name not in other:
                    yield mutant(clean, node, clean.source(inner))
    for node in calls(clean, "Sequential"):
        for before, middle, following in zip(node.args, node.args[1:], node.args[2:], strict=False):
            around = (before, following)
            if all(isinstance(one, ast.Call) and called(one) in AFFINE for one in around):
                yield mutant(clean, middle, "nn.Identity()")


def activated_early(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "relu", within="forward"):
        match node.args[0]:
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                relu = clean.source(node.func)
                yield mutant(clean, node, f"{relu}({clean.source(left)}) + {clean.source(right)}")


def biased(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, *AFFINE):
        for keyword in node.keywords:
            if keyword.arg == "bias":
                yield mutant(clean, keyword, "bias=True")


def misnamed(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "resnet":
        for name in ("ResNet18", "ResNet34", "PlainNet32"):
            text = re.sub(r"\bResNet\b", name, clean.text)
            yield Mutant(text, name, options={"target": name})


def cut_off(clean: Clean) -> Iterator[Mutant]:
    for owner, node, call in bound_calls(clean):
        model = clean.model
        if model is None or not model.target.endswith(f":{owner.name}"):
            continue
        if "rnn" in clean.source(call) or "pool" in clean.source(call.func):
            continue
        made = clean.source(call)
        yield mutant(clean, node.value, f"{made}.detach()")
        yield mutant(clean, node.value, f"{made}.data")
        yield mutant(clean, node.value, f"{made}.round()")
        yield mutant(clean, node.value, f"{made}.long().float()")
        yield mutant(clean, node.value, f"({made} > 0).float()")
        if "import torch\n" in clean.text:
            inside = f"with torch.no_grad():\n{' ' * (node.col_offset + 4)}{clean.source(node)}"
            yield mutant(clean, node, inside)


WIRING: dict[str, Mutation] = {
    "AC301": without_the_sum, "AC302": thrown_away, "AC303": overwritten_skip,
    "AC304": without_an_activation, "AC305": activated_early, "AC306": biased,
    "AC307": misnamed, "AC308": cut_off,
}  # fmt: skip
