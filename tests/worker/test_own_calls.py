"""The inputs that a file gives its own model, read from its text."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from archcheck.worker.inputs.calls_in_file import OwnCall, PlainArgument, TensorArgument, own_calls

HEAD = """
import torch
from torchsummary import summary
class Net: pass
"""


def calls(text: str, name: str = "Net", line: int = 0) -> list[OwnCall]:
    return list(own_calls(ast.parse(HEAD + dedent(text)), name, line))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("model = Net()\nmodel(torch.randn(8, 3, 224, 224))", (8, 3, 224, 224)),
        ("Net()(torch.randn([8, 3]))", (8, 3)),
        ("model = Net()\nmodel(torch.rand(size=(1, 1, 224, 224)))", (1, 1, 224, 224)),
        ("t = torch.randn([8, 3])\nmodel = Net().to('cuda')\nmodel(t.cuda())", (8, 3)),
        ("b, c = 4, 3\nshape = (b, c * 2, 2 ** 3)\nNet()(torch.zeros(shape))", (4, 6, 8)),
        ("model = Net()\nsummary(model, (3, 32, 32))", (2, 3, 32, 32)),
        ("model = Net()\nsummary(model, input_size=(1, 3, 32, 32))", (1, 3, 32, 32)),
        ("net = torch.nn.DataParallel(Net())\nnet.forward(torch.ones(2, 5))", (2, 5)),
        ("model = Net()\ntorch.onnx.export(model, torch.ones(2, 5), 'f')", (2, 5)),
        ("torch.jit.trace(Net(), (torch.ones(2, 5),))", (2, 5)),
        ("if __name__ == '__main__':\n    Net()(torch.full((2, 3), 1.0))", (2, 3)),
        ("def make():\n    return Net()\nmodel = make()\nmodel(torch.empty(1, 2))", (1, 2)),
        ("def test():\n    net = Net()\n    y = net(torch.randn(1, 2))", (1, 2)),
        ("x = torch.ones(1, 7)\nfor layer in Net():\n    x = layer(x)", (1, 7)),
        ("from torch.autograd import Variable\nNet()(Variable(torch.ones(1, 2)))", (1, 2)),
    ],
)
def test_the_shape_of_the_first_input(text: str, shape: tuple[int, ...]) -> None:
    (call, *_) = calls(text)
    (argument, *_) = call.arguments
    assert isinstance(argument, TensorArgument)
    assert argument.shape == shape


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("torch.randint(0, 9, (2, 3))", "int64"),
        ("torch.ones(2, 3, dtype=torch.long)", "int64"),
        ("torch.ones(2, 3).half()", "float16"),
        ("torch.ones(2, 3).long().to(device)", "int64"),
        ("torch.randn(2, 3)", None),
    ],
)
def test_the_dtype(text: str, dtype: str | None) -> None:
    (call,) = calls(f"Net()({text})")
    assert call.arguments == (TensorArgument((2, 3), dtype),)


def test_several_named_and_plain_arguments() -> None:
    (call,) = calls("Net()(torch.ones(2, 3), None, mask=torch.ones(2, 4), scale=2)")
    assert call.arguments == (TensorArgument((2, 3)), PlainArgument(None))
    assert call.keywords == {"mask": TensorArgument((2, 4)), "scale": PlainArgument(2)}


def test_the_line_is_that_which_tells_the_shape() -> None:
    (call,) = calls("x = torch.ones(2, 3)\n\nNet()(x)")
    assert (call.line, call.text) == (5, "torch.ones(2, 3)")


@pytest.mark.parametrize(
    "text",
    [
        "Other()(torch.randn(8, 3))",
        "model = Net()\nmodel = Other()\nmodel(torch.randn(8, 3))",
        "Net()(torch.randn(batch, 3))",
        "Net()(torch.load('x'))",
        "for x in loader:\n    Net()(x)",
        "Net()(*inputs)",
        "Net(torch.randn(8, 3))",
        "x = load()\nNet()(x)",
    ],
)
def test_what_the_text_does_not_tell_is_left_out(text: str) -> None:
    assert calls(text) == []


def test_only_calls_below_a_line_count() -> None:
    text = "model = Net()\nmodel(torch.ones(1, 2))\nmodel(torch.ones(3, 4))"
    assert [call.line for call in calls(text, line=7)] == [7]


def test_a_variable_is_its_own_model() -> None:
    (call,) = calls("net = make()\nnet(torch.ones(1, 2))", name="net")
    assert call.arguments == (TensorArgument((1, 2)),)
