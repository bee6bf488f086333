"""AC2: mutants of shapes."""

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
    calls,
    layers,
    mutant,
    own_calls,
    returns,
)


def _one_more(clean: Clean, *types: str, place: int = 0) -> Iterator[Mutant]:
    for node in calls(clean, *types, within="__init__"):
        width = node.args[place]
        # What its groups do not divide is no layer at all: AC003.
        if all(keyword.arg != "groups" for keyword in node.keywords):
            yield mutant(clean, width, f"{clean.source(width)} + 1")


def in_features(clean: Clean) -> Iterator[Mutant]:
    # What comes into a first layer, only a pass tells.
    yield from _one_more(clean, "Linear") if clean.model is not None else ()


def in_channels(clean: Clean) -> Iterator[Mutant]:
    yield from _one_more(clean, "Conv2d", "ConvTranspose2d")


def num_features(clean: Clean) -> Iterator[Mutant]:
    yield from _one_more(clean, "BatchNorm2d", "BatchNorm1d", "LayerNorm")
    for node in calls(clean, "GroupNorm"):
        yield mutant(clean, node.args[1], f"{clean.source(node.args[1])} * 2")


def norm_of_another_rank(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "BatchNorm2d"):
        yield mutant(clean, node.func, "nn.BatchNorm1d")
        yield mutant(clean, node.func, "nn.BatchNorm3d")
    for node in calls(clean, "BatchNorm1d"):
        yield mutant(clean, node.func, "nn.BatchNorm2d")


def _without_padding(clean: Clean, only: str = "") -> Iterator[Mutant]:
    for node in calls(clean, "Conv2d"):
        for keyword in node.keywords:
            if keyword.arg == "padding" and re.search(only, clean.source(node)):
                yield mutant(clean, keyword, "padding=0")


def sum_of_other_shapes(clean: Clean) -> Iterator[Mutant]:
    if clean.name in ("resnet", "preactivation"):
        yield from _without_padding(clean, r"channels|outside, outside|inside, outside")
    if clean.name == "transformer":
        for node in layers(clean, "Linear"):
            # What ends a branch, and meets the skip.
            if clean.source(node.targets[0]) in ("self.out", "self.reduce"):
                assert isinstance(node.value, ast.Call)
                yield mutant(clean, node.value.args[1], "width + 3")


def concatenation_of_other_shapes(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "unet":
        yield from _without_padding(clean)
        for node in calls(clean, "up"):
            yield mutant(clean, node, f"{clean.source(node)}[:, :, 1:]")


def product_of_other_shapes(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "transpose"):
        if clean.source(node).startswith("key."):
            yield mutant(clean, node, "key")
            yield mutant(clean, node, "key.transpose(1, 2)")


def view_of_another_size(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "view"):
        for argument in node.args[1:]:
            if isinstance(argument, ast.Constant):
                yield mutant(clean, argument, "7")
        if isinstance(node.args[-1], ast.UnaryOp):
            yield mutant(clean, node.args[-1], "13")


def too_large_a_window(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "AvgPool2d", "MaxPool2d"):
        yield mutant(clean, node.args[0], "64")
    for node in calls(clean, "Conv2d", within="__init__") if clean.name == "lenet" else ():
        yield mutant(clean, node.args[2], "77")


def broadcast_by_accident(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "squeeze"):
        if clean.name == "critic" and isinstance(node.func, ast.Attribute):
            yield mutant(clean, node, clean.source(node.func.value))


def batch_mixed(clean: Clean) -> Iterator[Mutant]:
    """Half the features, and twice the samples."""
    for whole, half in (("(16 * 7 * 7, 128)", 392), ("(32, 10)", 16)):
        if f"nn.Linear{whole}" in clean.text and "x.view(x.shape[0], -1)" in clean.text:
            text = clean.text.replace("x.view(x.shape[0], -1)", f"x.view(-1, {half})")
            outside = whole.partition(", ")[2]
            text = text.replace(f"nn.Linear{whole}", f"nn.Linear({half}, {outside}")
            yield Mutant(text, f"view(-1, {half})")


def one_input_size(clean: Clean) -> Iterator[Mutant]:
    """A pooling to one pixel becomes a flattening of all of them."""
    if clean.name == "preactivation":
        for node in calls(clean, "mean"):
            text = clean.edited((node, "x.flatten(1)"))
            yield Mutant(text.replace("nn.Linear(24,", "nn.Linear(24 * 16 * 16,"), "flatten(1)")


def stale_comment(clean: Clean) -> Iterator[Mutant]:
    for match in re.finditer(r"# \[\d+(?:, \d+)+\]", clean.text):
        text = clean.text[: match.end() - 1] + "7" + clean.text[match.end() - 1 :]
        yield Mutant(text, f"{match.group()[:-1]}7]")


def unexpected_output(clean: Clean) -> Iterator[Mutant]:
    if clean.model is not None:
        yield Mutant(clean.text, "expects 3,1,4", options={"expect_output": (3, 1, 4)})


def wrong_dtype(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean) if clean.model is not None else {}
    for node, name in own_calls(clean):
        maker = kinds.get(name, "")
        if re.match(r"nn\.(Embedding|Linear|Conv2d)\(", maker) and node.args:
            dtype = "float" if "Embedding" in maker else "long"
            yield mutant(clean, node.args[0], f"{clean.source(node.args[0])}.{dtype}()")


def tensor_on_the_cpu(clean: Clean) -> Iterator[Mutant]:
    if "import torch\n" in clean.text and clean.model is not None:
        for _, _, value in returns(clean):
            yield mutant(clean, value, f"{clean.source(value)} * torch.ones(1)")
        for _, node, call in bound_calls(clean):
            if "rnn" not in clean.source(call):
                yield mutant(clean, node.value, f"{clean.source(call)} + torch.zeros(1)")


def one_sample(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "tabular":
        yield Mutant(clean.text, "a batch of one", inputs=("1,20",))


def input_of_another_rank(clean: Clean) -> Iterator[Mutant]:
    if clean.model is not None and clean.model.inputs[0].count(",") == 3:
        batch, channels, height, width = clean.model.inputs[0].split(",")
        for sizes in ((channels, height, width), (batch, height, width, channels)):
            shape = ",".join(sizes)
            inputs = (shape, *clean.model.inputs[1:])
            yield Mutant(clean.text, f"an input of {shape}", inputs=inputs)


SHAPES: dict[str, Mutation] = {
    "AC201": in_features, "AC202": in_channels, "AC203": num_features,
    "AC204": norm_of_another_rank, "AC205": sum_of_other_shapes,
    "AC206": concatenation_of_other_shapes, "AC207": product_of_other_shapes,
    "AC208": view_of_another_size, "AC209": too_large_a_window, "AC210": broadcast_by_accident,
    "AC211": batch_mixed, "AC212": one_input_size, "AC213": stale_comment,
    "AC214": unexpected_output, "AC215": wrong_dtype, "AC216": tensor_on_the_cpu,
    "AC217": one_sample, "AC218": input_of_another_rank,
}  # fmt: skip
