"""Chains of layers, the flow of a forward, and training scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_files import project_of, source

from archcheck.python import Chain, Flow, Layer, SourceFile


def operations(chain: Chain) -> list[str]:
    return [link.operation or link.name for link in chain.links]


def chains(text: str) -> list[list[str]]:
    return [operations(chain) for chain in source(text).chains]


# Containers --------------------------------------------------------------------------------

EVERY_SEQUENTIAL = """
from collections import OrderedDict
import collections

given = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Softmax(dim=1))

added = nn.Sequential()
added.add_module("a", nn.Linear(1, 2))
added.add_module("b", nn.ReLU())
added.append(nn.Softmax(dim=1))

ordered = nn.Sequential(OrderedDict([("a", nn.Linear(1, 2)), ("b", nn.ReLU()),
                                     ("c", nn.Softmax(dim=1))]))
mapped = nn.Sequential(collections.OrderedDict({"a": nn.Linear(1, 2), "b": nn.ReLU(),
                                                "c": nn.Softmax(dim=1)}))
filled = OrderedDict()
filled["a"] = nn.Linear(1, 2)
filled["b"] = nn.ReLU()
filled["c"] = nn.Softmax(dim=1)
from_filled = nn.Sequential(filled)

layers = [nn.Linear(1, 2)]
layers.append(nn.ReLU())
layers += [nn.Softmax(dim=1)]
spread = nn.Sequential(*layers)

nested = nn.Sequential(nn.Sequential(nn.Linear(1, 2), nn.ReLU()), nn.Sequential(nn.Softmax(dim=1)))

summed = nn.Sequential(*([nn.Linear(1, 2)] + [nn.ReLU(), nn.Softmax(dim=1)]))

first = nn.Linear(1, 2)
named = nn.Sequential(first, nn.ReLU(), nn.Softmax(dim=1))

def build():
    return nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Softmax(dim=1))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential()
        self.body.add_module("a", nn.Linear(1, 2))
        self.body.add_module("b", nn.ReLU())
        self.body.add_module("c", nn.Softmax(dim=1))
"""


def test_a_sequential_is_a_chain_however_it_is_built() -> None:
    file = source(EVERY_SEQUENTIAL)
    assert [operations(chain) for chain in file.chains] == [["linear", "relu", "softmax"]] * 11
    for chain in file.chains:
        assert chain.origin == "container" and chain.returned
        assert chain.links[0].argument("in_features") == 1
        assert chain.links[2].argument("dim") == 1
    assert file.chains[0].module is file.modules[0]


def test_names_of_children() -> None:
    file = source(EVERY_SEQUENTIAL)
    names = {
        binding: [child.name for child in layer.children or ()]
        for binding in ("given", "added", "ordered", "from_filled")
        for layer in layers_named(file, binding)
    }
    assert names == {
        "given": ["0", "1", "2"],
        "added": ["a", "b", "2"],
        "ordered": ["a", "b", "c"],
        "from_filled": ["a", "b", "c"],
    }


def layers_named(file: SourceFile, name: str) -> tuple[Layer, ...]:
    from archcheck.python.modules.layers import build_bound

    return build_bound(file.scope.bindings[name][0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net = nn.Sequential(*make())", []),
        ("net = nn.Sequential(nn.Linear(1, 2), unknown(), nn.ReLU(), nn.Tanh())",
         [["linear"], ["relu", "tanh"]]),
        ("net = nn.Sequential(nn.Linear(1, 2), nn.ReLU() if a else nn.GELU())", [["linear"]]),
        ("net = nn.Sequential(nn.Linear(1, 2), *make(), nn.ReLU())", [["linear"], ["relu"]]),
        ("layers = [nn.Linear(1, 2)]\nif a:\n    layers.append(nn.ReLU())\n"
         "layers.append(nn.Tanh())\nnet = nn.Sequential(*layers)", [["linear"], ["tanh"]]),
        ("net = nn.Sequential(nn.Linear(1, 2))\nif a:\n    net.add_module('x', nn.ReLU())",
         [["linear"]]),
        ("layers = [nn.Linear(1, 2)]\nlayers.insert(0, nn.ReLU())\n"
         "net = nn.Sequential(*layers)", []),
        ("layers = [nn.Linear(1, 2)]\nlayers[0] = nn.ReLU()\nnet = nn.Sequential(*layers)", []),
        ("net = nn.Sequential(nn.Linear(1, 2))\nnet[0] = nn.ReLU()", []),
        ("net = nn.Sequential(given)", []),
    ],
)  # fmt: skip
def test_what_is_not_certain_breaks_a_chain(text: str, expected: list[list[str]]) -> None:
    assert chains(text) == expected


def test_what_a_loop_appends_has_no_certain_neighbour() -> None:
    text = """
    layers = [nn.Linear(1, 2), nn.ReLU()]
    for _ in range(depth):
        layers.append(nn.Softmax(dim=1))
    layers.append(nn.Sigmoid())
    net = nn.Sequential(*layers)
    """
    assert chains(text) == [["linear", "relu", "softmax"], ["sigmoid"]]


def test_what_one_turn_of_a_loop_appends_follows_each_other() -> None:
    text = """
    layers = []
    for width in widths:
        layers.append(nn.Linear(width, width))
        layers += [nn.BatchNorm1d(width)]
        if deep:
            layers.append(nn.Dropout())
        layers.append(nn.ReLU())
        layers.append(nn.Tanh())
    net = nn.Sequential(*layers)
    """
    assert chains(text) == [["linear", "batch_norm"], ["relu", "tanh"]]


def test_module_lists_and_dicts() -> None:
    (net,) = source(
        """
        class Net(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.listed = nn.ModuleList([nn.ReLU(), nn.GELU()])
                self.made = nn.ModuleList(nn.Linear(i, i) for i in range(n))
                self.grown = nn.ModuleList()
                for i in range(n):
                    self.grown.append(nn.Linear(i, i))
                self.mapped = nn.ModuleDict({"a": nn.ReLU()})
                self.passed = nn.ModuleList(n)
        """
    ).modules
    children = {
        s.attribute: [(c.name, c.class_name, c.repeated) for c in s.layer.children]
        if isinstance(s.layer.children, tuple)
        else None
        for s in net.submodules
    }
    assert children == {
        "listed": [("0", "ReLU", False), ("1", "GELU", False)],
        "made": [("", "Linear", True)],
        "grown": [("", "Linear", True)],
        "mapped": [("a", "ReLU", False)],
        "passed": None,
    }


# Chains through forward --------------------------------------------------------------------

FORWARD = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = x.view(x.size(0), -1)
        x = self.head(x)
        return F.softmax(x, dim=1)
"""


def test_a_straight_forward_is_one_chain_with_sequentials_taken_apart() -> None:
    file = source(FORWARD)
    (chain,) = file.chains
    assert operations(chain) == [
        "conv2d", "batch_norm", "relu", "view", "flatten", "linear", "softmax",
    ]  # fmt: skip
    assert chain.returned and chain.origin == "forward"
    assert [link.name for link in chain.links] == [
        "conv", "norm", "F.relu", "view", "Flatten", "Linear", "F.softmax",
    ]  # fmt: skip
    assert chain.links[-1].argument("dim", 1) == 1
    assert [link.contained for link in chain.links] == [False] * 4 + [True] * 2 + [False]
    # Inside a container the layer's own place, in forward the call's.
    assert file.text(chain.links[5].layer.node) == "nn.Linear(8, 2)"  # type: ignore[union-attr]
    assert chain.links[5].location.line == 10
    assert chain.links[0].location.line == 12


def test_a_value_read_twice_ends_a_chain_and_begins_the_next() -> None:
    text = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.ReLU(), nn.Sigmoid(), nn.Tanh()
        def forward(self, x):
            x = self.a(x)
            return self.b(x) + self.c(x)
    """
    assert chains(text) == [["relu"], ["relu", "sigmoid"], ["relu", "tanh"]]


def test_branches_break_chains() -> None:
    text = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.ReLU(), nn.Sigmoid(), nn.Tanh()
        def forward(self, x, deep):
            x = self.a(x)
            if deep:
                x = self.b(x)
            return self.c(x)
    """
    assert chains(text) == [["relu"], ["relu", "sigmoid"], ["tanh"]]


# Flow --------------------------------------------------------------------------------------


def flow(body: str, parameters: str = "x") -> Flow:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    file = source(
        f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.relu = nn.ReLU(inplace=True)
    def forward(self, {parameters}):
{lines}
"""
    )
    found = file.modules[0].flow()
    assert found is not None
    return found


def test_steps_of_a_residual_block() -> None:
    found = flow("identity = x\nout = self.conv(x)\nout += identity\nreturn self.relu(out)")
    (result,) = found.outputs
    assert (result.kind, result.operation, result.attribute) == ("layer", "relu", "relu")
    total = result.source
    assert total is not None and total.name == "+" and total.in_place
    assert [step.kind for step in total.inputs] == ["layer", "input"]
    (x,) = found.inputs
    assert x.names == ["identity"]
    assert x in total.before() and x in result.before()
    assert [name for name, _, _ in found.bindings] == ["identity", "out", "out"]
    assert found.is_straight


def test_a_name_that_is_never_read() -> None:
    found = flow("identity = self.conv(x)\nreturn self.relu(x)")
    kept = next(step for name, step, _ in found.bindings if name == "identity")
    assert kept.users == []


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("return x.relu()", ["relu"]),
        ("return F.relu_(x)", ["relu"]),
        ("return torch.softmax(x, 1)", ["softmax"]),
        ("return x @ x", ["@"]),
        ("return self.conv(x), x.softmax(1)", ["conv2d", "softmax"]),
        ("a, b = x.relu(), x.tanh()\nreturn b", ["tanh"]),
        ("if x.sum() > 0:\n    return x.relu()\nreturn x.tanh()", ["relu", "tanh"]),
        ("y = x.relu() if x.any() else x.tanh()\nreturn y", ["relu", "tanh"]),
        ("if x.any():\n    x = x.relu()\nelse:\n    x = x.tanh()\nreturn x", ["relu", "tanh"]),
        ("with torch.no_grad():\n    x = x.relu()\nreturn x", ["relu"]),
        ("try:\n    x = x.relu()\nexcept E:\n    raise\nreturn x", ["relu"]),
        ("return (y := x.relu())", ["relu"]),
        ("if x.any():\n    raise ValueError\nelse:\n    x = x.tanh()\nreturn x", ["tanh"]),
        ("match x:\n    case 1:\n        return x.relu()\nreturn x.tanh()", ["relu", "tanh"]),
        ("return", [""]),
    ],
)
def test_what_is_returned(body: str, outputs: list[str]) -> None:
    assert [step.operation for step in flow(body).outputs] == outputs


def test_what_a_loop_rebinds_is_uncertain() -> None:
    found = flow("for i in range(3):\n    x = self.conv(x)\nreturn self.relu(x)")
    result = found.outputs[0]
    assert result.source is not None and result.source.kind == "merge"
    inside = next(step for step in found.steps if step.attribute == "conv")
    assert inside.conditional
    assert inside.source is not None and inside.source.kind == "merge"


def test_asking_for_the_shape_is_no_reading() -> None:
    found = flow("y = self.conv(x)\nn = y.size(0) + y.shape[1]\nreturn self.relu(y)")
    kept = found.steps[1]
    assert kept.attribute == "conv"
    assert len(kept.users) == 3 and [step.attribute for step in kept.readers] == ["relu"]


def test_what_is_not_followed_reads_all_that_it_names() -> None:
    found = flow("y = self.conv(x)\nz = [f(y) for f in x.parts]\nreturn z")
    (result,) = found.outputs
    assert result.kind == "unknown"
    assert {step.kind for step in result.inputs} == {"layer", "input"}


def test_in_place_layers_and_functions() -> None:
    steps = flow("a = self.relu(x)\nb = F.relu(a, inplace=True)\nc = b.relu_()\nreturn F.relu(c)")
    assert [step.in_place for step in steps.steps if step.operation == "relu"] == [
        True, True, True, False,
    ]  # fmt: skip


# Scripts -----------------------------------------------------------------------------------

TRAINING = """
from torch.utils.data import DataLoader

class Net(nn.Module):
    def forward(self, x):
        return torch.softmax(x, 1)

def train(model, criterion, optimizer, loader):
    for epoch in range(3):
        for images, labels in loader:
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()

model = Net().to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train(model, nn.CrossEntropyLoss(), optimizer, DataLoader(data))
"""


def test_loops_and_what_they_call() -> None:
    file = source(TRAINING)
    outer, inner = file.loops
    assert inner.outer is outer.node and outer.outer is None
    assert [call.name for call in inner.calls] == [
        "zero_grad", "model", "criterion", "backward", "step",
    ]  # fmt: skip
    assert len(outer.calls) == 5
    assert [call.parts for call in inner.calls_named("step", "backward")] == [
        ("loss", "backward"),
        ("optimizer", "step"),
    ]
    assert outer.scope.name == "train"
    assert file.text(inner.node).startswith("for images")
    assert inner.location.end_line == inner.location.line
    assert file.calls_named("step")[0].loop is inner.node


def test_a_loss_and_what_goes_into_it() -> None:
    (loss,) = source(TRAINING).losses
    assert loss.loss == "cross_entropy"
    assert loss.prediction is not None and loss.prediction.kind == "layer"
    layer = loss.prediction.layer
    assert layer is not None and layer.module_class is not None
    forward = layer.module_class.flow()
    assert forward is not None and [s.operation for s in forward.outputs] == ["softmax"]


def test_instances() -> None:
    file = source(TRAINING)
    train = file.functions[1]
    found = {
        call.parts[0]: file.instance_of(call.receiver, call.statement)
        for call in train.calls
        if call.receiver is not None and call.parts[0]
    }
    assert found["optimizer"] == "torch.optim.SGD"
    backward = file.calls_named("parameters")[0]
    assert file.instance_of(backward.receiver, backward.statement) is file.modules[0].definition  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("F.cross_entropy(a, b)", "cross_entropy"),
        ("nn.NLLLoss()(a, b)", "nll_loss"),
        ("c = nn.BCEWithLogitsLoss().cuda()\nc(a, b)", "binary_cross_entropy_with_logits"),
        ("def f(c):\n    c(a, b)\nf(nn.BCELoss())", "binary_cross_entropy"),
        ("class M(nn.Module):\n    def __init__(self):\n        self.loss = nn.MSELoss()\n"
         "    def step(self, a, b):\n        return self.loss(a, b)", "mse_loss"),
        ("from torch.nn.functional import kl_div as k\nk(a, b)", "kl_div"),
        ("F.nll_loss(target=b, input=a)", "nll_loss"),
    ],
)  # fmt: skip
def test_losses_in_every_form(text: str, loss: str) -> None:
    (found,) = source("a, b = torch.ones(2), torch.ones(2)\n" + text).losses
    assert found.loss == loss
    assert found.prediction is not None


def test_a_loss_that_is_not_certain_is_none() -> None:
    text = """
    def f(loss):
        loss(a, b)
    f(nn.BCELoss())
    f(nn.MSELoss())
    g = nn.BCELoss() if a else nn.MSELoss()
    g(a, b)
    """
    assert source(text).losses == ()


def test_a_model_from_another_file(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "model.py": "import torch.nn as nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
            "        return x.softmax(1)\n",
            "train.py": "from model import Net\nimport torch.nn.functional as F\nnet = Net()\n"
            "for x, y in data:\n    F.cross_entropy(net(x), y)\n",
        },
    )
    (loss,) = project.file(tmp_path / "train.py").losses
    assert loss.prediction is not None and loss.prediction.layer is not None
    assert loss.prediction.layer.module_class is project.file(tmp_path / "model.py").modules[0]
