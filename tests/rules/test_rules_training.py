"""What the rules of training scripts say, and what they leave alone."""

from __future__ import annotations

import pytest
from source_files import source

from archcheck.core.finding import Finding
from archcheck.core.rule import load_rules
from archcheck.python import SourceFile

RULES = {rule.code: rule for rule in load_rules() if rule.code.startswith("AC5")}

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.fc(self.drop(x))
"""


def found(file: SourceFile, code: str) -> list[Finding]:
    return [finding for reader in RULES[code].source_readers for finding in reader(file)]


def lines(text: str, code: str) -> list[str]:
    """The lines of the text that a rule points at."""
    file = source(text)
    return [file.lines[finding.location.line - 1].strip() for finding in found(file, code)]


# Code, text, then the message, label, help, and what is underlined.
SAID = [
    (
        "AC502",
        "def fit(model, loader):\n    adam = torch.optim.Adam(model.parameters())\n"
        "    for x, y in loader:\n        F.mse_loss(model(x), y).backward()\n"
        "        adam.step()\n",
        "the loop never clears the gradients: each `adam.step()` follows the sum",
        "steps along the sum", "adam.zero_grad()", "adam.step()",
    ),
    (
        "AC503",
        "def fit(model, loader):\n    total = 0\n    for x, y in loader:\n"
        "        loss = F.mse_loss(model(x), y)\n        loss.backward()\n"
        "        total += loss\n",
        "`total` keeps the graph of every step: `loss` is added with its history",
        "a tensor with its graph", "add loss.item()", "total += loss",
    ),
    (
        "AC504",
        "from torchvision import datasets\nfrom torch.utils.data import DataLoader\n"
        "train_loader = DataLoader(datasets.MNIST('.', train=True), shuffle=False)\n",
        "`train_loader` is not shuffled", "the same order every epoch", "shuffle=True",
        "shuffle=False",
    ),
    (
        "AC505",
        "def fit(model, loader):\n    for epoch in range(9):\n"
        "        opt = torch.optim.Adam(model.parameters())\n        for x, y in loader:\n"
        "            opt.zero_grad()\n            F.mse_loss(model(x), y).backward()\n"
        "            opt.step()\n",
        "`opt` is built again inside the training loop: its state so far is lost",
        "a new optimizer, without state", "before the loop",
        "torch.optim.Adam(model.parameters())",
    ),
    (
        "AC506",
        "def show(loss):\n    loss.backward()\n    print(loss.data[0])\n",
        "`loss` has no dimension to index", "a number without dimensions", "loss.item()",
        "loss.data[0]",
    ),
    (
        "AC507",
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.dropout(x, p=0.2)\n",
        "`F.dropout` drops in eval mode too", "training is True by default",
        "training=self.training", "F.dropout(x, p=0.2)",
    ),
    (
        "AC508",
        "class Net(nn.Module):\n    def forward(self, x):\n"
        "        return x + torch.ones(3, device='cuda:1')\n",
        "the device is fixed: `device='cuda:1'`", "CUDA only", "x.device", "device='cuda:1'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "message", "label", "help", "underlined"), SAID, ids=lambda v: str(v)[:8]
)
def test_every_part_of_a_message(
    code: str, text: str, message: str, label: str, help: str, underlined: str
) -> None:
    file = source(text)
    (finding,) = found(file, code)
    assert finding.message.startswith(message)
    assert finding.label == label
    assert finding.help is not None and help in finding.help
    at = finding.location
    assert file.lines[at.line - 1][at.column - 1 : at.end_column - 1] == underlined


def test_an_evaluation_loop_names_its_model() -> None:
    text = f"""
{NET}
def test(loader):
    net = Net()
    with torch.no_grad():
        for x, y in loader:
            print((net(x).argmax(1) == y).sum())
"""
    (finding,) = found(source(text), "AC501")
    assert finding.message.startswith("`net` is evaluated in train mode")
    assert finding.help == "call net.eval() before the loop, and net.train() to go on training"


RIGHT = {
    "AC501 nothing differs between the modes": """
        net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.0))

        def test(test_loader):
            return [net(x) for x, _ in test_loader]

        for x, y in test_loader:
            print(net(x))
    """,
    "AC501 the classes switches itself": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def train(self, mode=True):
                return super().train(False)

            def forward(self, x):
                return self.drop(x)

        net = Net()
        for x, y in test_loader:
            print(net(x))
    """,
    "AC502 the gradients of each turn are new": """
        def fit(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                loss = F.mse_loss(model(x), y)
                for p, g in zip(model.parameters(), torch.autograd.grad(loss, model.parameters())):
                    p.grad = g
                optimizer.step()
    """,
    "AC502 cleared by the module's own method": """
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

            def clear(self):
                self.optimizer.zero_grad()

            def fit(self, loader):
                for x, y in loader:
                    self.clear()
                    F.mse_loss(self.model(x), y).backward()
                    self.optimizer.step()
    """,
    "AC502 steps of something else": """
        def fit(model, loader, scheduler, env):
            for x, y in loader:
                F.mse_loss(model(x), y).backward()
                scheduler.step()
                env.step(x)
    """,
    "AC502 accelerators and engines clear by themselves": """
        def fit(engine, accelerator, loader, optimizer):
            for x, y in loader:
                accelerator.backward(engine(x))
                optimizer.step()
    """,
    "AC503 a number from a method": """
        def fit(model, loader):
            total = 0.0
            for x, y in loader:
                loss = F.mse_loss(model(x), y)
                loss.backward()
                total += loss.item() * x.size(0)
                total += loss.cpu().detach().numpy()
    """,
    "AC503 the total is differentiated by a scaler": """
        def fit(model, batches, scaler):
            total = 0.0
            for x, y in batches:
                loss = F.mse_loss(model(x), y)
                loss.backward(retain_graph=True)
                total += loss
            scaler.scale(total).backward()
    """,
    "AC503 a new total each turn": """
        def fit(model, loader):
            for x, y in loader:
                total = 0.0
                loss = F.mse_loss(model(x), y)
                loss.backward()
                total = total + loss
                print(total)
    """,
    "AC504 an order is wanted": """
        from torch.utils.data import DataLoader, TensorDataset

        train_set = TensorDataset(torch.zeros(8, 2))
        train_eval_loader = DataLoader(train_set, shuffle=False)
        ordered_train_loader = DataLoader(train_set, shuffle=False)
        train_loader = DataLoader(train_set, shuffle=False, **options)
    """,
    "AC504 what the data set is, the caller knows": """
        from torch.utils.data import DataLoader

        def make(train_set, shuffle=False):
            train_loader = DataLoader(train_set, shuffle=False)
            return train_loader
    """,
    "AC505 a new optimizer at the first turn only": """
        def fit(model, loader, optimizer=None):
            for epoch in range(9):
                if optimizer is None:
                    optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
    """,
    "AC505 the model starts anew": """
        def fit(model, loader):
            for epoch in range(9):
                model.apply(reset)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
    """,
    "AC505 per batch of attacks": """
        def attack(model, loader):
            for x, y in loader:
                delta = torch.zeros_like(x, requires_grad=True)
                optimizer = torch.optim.Adam([delta])
                for _ in range(40):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x + delta), y).neg().backward()
                    optimizer.step()
    """,
    "AC506 a vector's first number": """
        def first(scores, weights):
            print(scores.data[0], weights.grad.data[0])
            scores.backward(torch.ones(3))
    """,
    "AC507 a mask for both modes is told by the rate": """
        class Net(nn.Module):
            def __init__(self, rate):
                super().__init__()
                self.rate = rate

            def train(self, mode=True):
                super().train(mode)
                self.rate = 0.1 if mode else 0.0
                return self

            def forward(self, x):
                return F.dropout(x, self.rate)
    """,
    "AC507 in a conditional expression": """
        class Net(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.1) if self.training else x
    """,
    "AC507 the class samples": """
        class MCDropout(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.1)
    """,
    "AC508 outside a module": """
        def run(model, x):
            return model.cuda()(x.to("cuda"))
    """,
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_code_is_left_alone(case: str) -> None:
    assert lines(RIGHT[case], case.partition(" ")[0]) == []


# The code, the text, and the line that is wrong.
WRONG = [
    (
        "AC501",
        NET
        + """
net = Net()
optimizer = torch.optim.Adam(net.parameters())
while True:
    net.eval()
    for x, y in val_loader:
        net(x)
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
""",
        "net.eval()",
    ),
    (
        "AC502",
        """
model = nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())

def run(optimizer, loader):
    for epoch in range(3):
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            (loss / 2).backward(retain_graph=True)
            optimizer.step()

run(optimizer, None)
""",
        "optimizer.step()",
    ),
    (
        "AC503",
        """
def fit(model, loader, scaler):
    losses = 0
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        losses = loss + losses
""",
        "losses = loss + losses",
    ),
    (
        "AC505",
        """
def fit(model, train_loader):
    for x, y in train_loader:
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
""",
        "optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9)",
    ),
    (
        "AC506",
        "import torch.autograd as autograd\nx = autograd.Variable(torch.zeros(1))\n",
        "x = autograd.Variable(torch.zeros(1))",
    ),
    (
        "AC507",
        """
class Net(nn.Module):
    def forward(self, x):
        rate = 0.1
        drop = nn.Dropout2d(0.3)
        return drop(x)
""",
        "drop = nn.Dropout2d(0.3)",
    ),
]


@pytest.mark.parametrize(("code", "text", "line"), WRONG, ids=lambda v: str(v)[:6].strip())
def test_wrong_code_is_found(code: str, text: str, line: str) -> None:
    assert lines(text, code) == [line]
