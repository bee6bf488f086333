"""What the rules on outputs and losses say, where they keep quiet, and what their fixes write."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from source_findings import HEAD, Source

from archcheck.core.config import LOSSES, Config, Model
from archcheck.core.finding import Severity
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.drop = nn.Dropout()
        self.normalise = nn.Softmax(dim=1)

    def forward(self, x):
        {body}
"""


def net(body: str, rest: str = "") -> str:
    return NET.format(body=body) + "\n\n" + rest


def test_a_message_says_what_goes_where_and_what_to_do(tmp_path: Path) -> None:
    text = net(
        "return F.softmax(self.fc(x), dim=1)",
        "loss = nn.CrossEntropyLoss()(Net()(torch.rand(2, 8)), torch.tensor([0, 1]))",
    )
    source = Source(tmp_path, text, "AC401")
    finding = source.only
    assert finding.severity == Severity.ERROR
    assert finding.message == (
        "probabilities go into cross entropy, which takes logits and applies log-softmax itself"
    )
    assert source.underlined(finding) == "F.softmax(self.fc(x), dim=1)"
    (loss,) = finding.related
    assert source.path.read_text().splitlines()[loss.location.line - 1].startswith("loss = ")
    assert finding.help == "return the logits; take the softmax where probabilities are wanted"
    assert finding.fix is not None and finding.fix.safety == "safe"
    assert "        return self.fc(x)\n" in source.fixed()


def test_without_a_loss_it_is_a_warning_that_names_the_model(tmp_path: Path) -> None:
    finding = Source(tmp_path, net("return self.fc(x).softmax(dim=-1)"), "AC401").only
    assert finding.severity == Severity.WARNING
    assert "`Net` returns probabilities" in finding.message
    assert "--loss" in (finding.help or "")
    assert finding.fix is not None and finding.fix.safety == "unsafe"


def test_a_loss_of_any_model_is_a_loss_in_sight(tmp_path: Path) -> None:
    step = "def step(model, x, y):\n    return F.cross_entropy(model(x), y)\n"
    finding = Source(tmp_path, net("return self.fc(x).softmax(dim=-1)", step), "AC401").only
    assert finding.severity == Severity.WARNING
    assert (
        finding.message == "`Net` returns probabilities: CrossEntropyLoss takes the softmax again"
    )
    assert finding.notes == ()
    assert [place.message for place in finding.related] == [
        "the loss, of any model that comes here"
    ]


def test_a_loss_of_another_model_is_none_of_this_one(tmp_path: Path) -> None:
    rest = "other = nn.Linear(8, 4)\nloss = F.cross_entropy(other(torch.rand(2, 8)), y)\n"
    finding = Source(tmp_path, net("return self.fc(x).softmax(dim=-1)", rest), "AC401").only
    assert finding.related == ()
    assert finding.notes[0].startswith("no loss is in sight")


LOSS = "def loss_of(x, y):\n    return {loss}\n"
WITH_LOGITS = "F.binary_cross_entropy_with_logits(Net()(x), y)"


@pytest.mark.parametrize(
    ("body", "loss", "code"),
    [
        ("return torch.softmax(self.fc(x), 1)", "F.cross_entropy(Net()(x), y)", "AC401"),
        ("return self.normalise(self.fc(x))", "F.cross_entropy(Net()(x).squeeze(1), y)", "AC401"),
        (
            "return {'a': 1, 'b': self.fc(x)}",
            "F.cross_entropy(Net()(x)['b'].softmax(1), y)",
            "AC401",
        ),
        ("return self.fc(x), x.softmax(1)", "F.cross_entropy(Net()(x)[1], y)", "AC401"),
        ("return self.fc(x).log_softmax(1)", "F.cross_entropy(Net()(x), y)", "AC404"),
        ("return self.fc(x)", "F.nll_loss(Net()(x), y)", "AC404"),
        ("return self.normalise(self.fc(x))", "nn.NLLLoss(reduction='sum')(Net()(x), y)", "AC404"),
        (
            "return torch.sigmoid(self.fc(x))",
            "F.binary_cross_entropy_with_logits(Net()(x), y)",
            "AC405",
        ),
        ("return self.fc(x).flatten()", "F.binary_cross_entropy(Net()(x), y)", "AC405"),
        ("return F.relu(self.fc(x))", "F.cross_entropy(Net()(x), y)", "AC406"),
        (
            "return self.drop(self.fc(x))",
            "F.binary_cross_entropy_with_logits(Net()(x), y)",
            "AC406",
        ),
        ("return self.normalise(self.fc(x))", "F.softmax(Net()(x), dim=1)", "AC407"),
    ],
)
def test_what_a_loss_must_not_be_fed(tmp_path: Path, body: str, loss: str, code: str) -> None:
    found = Source(tmp_path, net(body, LOSS.format(loss=loss)), "AC4").findings
    errors = [f for f in found if f.code == code or f.severity == Severity.ERROR]
    assert [finding.code for finding in errors] == [code]


@pytest.mark.parametrize(
    ("body", "loss"),
    [
        ("return self.fc(x)", "F.cross_entropy(Net()(x), y)"),
        ("return self.fc(x), self.fc(x).softmax(1)", "F.cross_entropy(Net()(x)[0], y)"),
        ("return self.fc(x).softmax(1) if not self.training else self.fc(x)",
         "F.cross_entropy(Net()(x), y)"),
        ("return self.fc(x).softmax(1)", "F.nll_loss(torch.log(Net()(x)), y)"),
        ("return self.fc(x).softmax(1)", "F.nll_loss(Net()(x).log(), y)"),
        ("return self.fc(x).softmax(1)", "F.mse_loss(Net()(x), y)"),
        ("return unknown(self.fc(x).softmax(1))", "F.cross_entropy(Net()(x), y)"),
        ("return torch.sigmoid(self.fc(x))", "F.binary_cross_entropy(Net()(x), y)"),
        ("return torch.sigmoid(self.fc(x))", "F.cross_entropy(x, y)"),
        ("return self.fc(x).softmax(1)", "F.kl_div(x.log_softmax(1), Net()(x))"),
        ("return self.fc(self.drop(x))", "F.cross_entropy(Net()(x), y)"),
        ("return F.relu(self.fc(x))", "F.mse_loss(Net()(x), y)"),
        ("return F.relu(x + x)", "F.cross_entropy(Net()(x), y)"),
    ],
)  # fmt: skip
def test_what_losses_may_be_fed(tmp_path: Path, body: str, loss: str) -> None:
    found = Source(tmp_path, net(body, LOSS.format(loss=loss)), "AC4").findings
    assert [finding for finding in found if finding.severity >= Severity.WARNING] == []


def test_what_a_softmax_of_probabilities_leads_to_is_not_said_twice(tmp_path: Path) -> None:
    rest = """
    def step(x, y):
        return F.cross_entropy(Net()(x), y)


    def predict(x):
        return F.softmax(Net()(x), dim=1)
    """
    text = net("return self.fc(x).softmax(1)", textwrap.dedent(rest))
    assert [finding.code for finding in Source(tmp_path, text, "AC4").findings] == ["AC401"]


def test_a_softmax_of_one_logit_is_nothing_else_besides(tmp_path: Path) -> None:
    text = net("return self.fc(x).softmax(-1)").replace("nn.Linear(8, 4)", "nn.Linear(8, 1)")
    assert [finding.code for finding in Source(tmp_path, text, "AC4").findings] == ["AC408"]


def test_the_model_stands_in_another_file(tmp_path: Path) -> None:
    network = """
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)
            self.last = nn.Softmax(dim=1)

        def forward(self, x):
            return self.last(self.fc(x))
    """
    train = """
    from network import Net


    def build():
        return Net().cuda()


    def train(batches):
        net = build()
        for x, y in batches:
            F.cross_entropy(net(x), y).backward()
    """
    finding = Source(tmp_path, train, "AC401", network=network).only
    assert finding.severity == Severity.ERROR
    assert finding.location.path.endswith("network.py")
    assert finding.related[0].location.path.endswith("model.py")


@pytest.mark.parametrize(
    "train",
    [
        """
        def train(model, criterion, loader):
            for x, y in loader:
                criterion(model(x), y).backward()

        def main(loader):
            train(Net(), nn.CrossEntropyLoss(), loader)
        """,
        """
        class Lit(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = Net()
                self.criterion = nn.CrossEntropyLoss()

            def forward(self, x):
                return self.net(x)

            def _step(self, batch):
                x, y = batch
                return self.criterion(self(x), y)

            def training_step(self, batch, batch_idx):
                return self._step(batch)
        """,
        """
        class Lit(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = Net()
                self.loss_function = F.cross_entropy

            def training_step(self, batch, batch_idx):
                return self.loss_function(self.net(batch[0]), batch[1])
        """,
        """
        criterion = partial(F.cross_entropy, label_smoothing=0.1)

        def step(x, y):
            return criterion(Net()(x), y)
        """,
        """
        def loss_of(labels, predictions):
            return F.cross_entropy(input=predictions, target=labels)

        def step(x, y):
            return loss_of(predictions=Net()(x), labels=y)
        """,
        """
        net = torch.compile(nn.DataParallel(Net()).cuda())
        criterion = nn.CrossEntropyLoss().cuda()

        def epoch(loader):
            for x, y in loader:
                output = net(x.cuda())
                criterion(output, y.cuda()).backward()
        """,
    ],
)
def test_a_loss_is_followed_through_a_project(tmp_path: Path, train: str) -> None:
    network = HEAD + net("return self.normalise(self.fc(x))")
    imports = (
        "from functools import partial\nimport pytorch_lightning as pl\nfrom network import Net\n"
    )
    text = imports + textwrap.dedent(train)
    finding = Source(tmp_path, text, "AC401", network=network).only
    assert finding.severity == Severity.ERROR
    assert finding.location.path.endswith("network.py")


@pytest.mark.parametrize(
    "train",
    [
        "def loss_of(out, y):\n    return F.cross_entropy(out, y)\n",
        "def loss_of(out, y):\n    return loss_of(out, y) + F.cross_entropy(out, y)\n",
        "def loss_of(z, y):\n    return F.cross_entropy(z, y)\n\nloss_of(nn.Linear(8, 4)(x), y)",
        "criterion = nn.BCELoss() if binary else nn.CrossEntropyLoss()\ncriterion(Net()(x), y)\n",
        "criterion = getattr(nn, name)()\ncriterion(Net()(x), y)\n",
    ],
)
def test_a_loss_of_something_else_is_no_certain_defect(tmp_path: Path, train: str) -> None:
    text = net("return self.normalise(self.fc(x))", train)
    found = Source(tmp_path, text, "AC401").findings
    assert [finding for finding in found if finding.severity == Severity.ERROR] == []


def test_a_part_of_another_model_is_no_classifier(tmp_path: Path) -> None:
    parent = """
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Net()

        def forward(self, x):
            return x * self.part(x)
    """
    text = net("return self.fc(x).softmax(dim=-1)") + textwrap.dedent(parent)
    assert Source(tmp_path, text, "AC401").findings == []


@pytest.mark.parametrize("name", ["Attention", "GatingNetwork", "Router", "PolicyNet", "Head"])
def test_a_name_can_say_that_probabilities_are_meant(tmp_path: Path, name: str) -> None:
    text = net("return self.fc(x).softmax(dim=-1)").replace("Net", name)
    assert Source(tmp_path, text, "AC401").findings == []


@pytest.mark.parametrize(
    ("body", "fixed"),
    [
        ("return F.softmax(self.fc(x))", "return F.softmax(self.fc(x), dim=-1)"),
        ("return F.softmax(self.fc(x), None)", "return F.softmax(self.fc(x), -1)"),
        ("return F.log_softmax(input=self.fc(x))", "log_softmax(input=self.fc(x), dim=-1)"),
        ("return nn.Sequential(nn.Linear(8, 4), nn.Softmax())",
         "return nn.Sequential(nn.Linear(8, 4), nn.Softmax(dim=-1))"),
        ("return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax())",
         "return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(dim=1))"),
        # Which dimension is meant cannot be told.
        ("return F.softmax(x)", "return F.softmax(x)"),
    ],
)  # fmt: skip
def test_the_fix_says_the_dimension(tmp_path: Path, body: str, fixed: str) -> None:
    source = Source(tmp_path, net(body), "AC402")
    assert source.only.severity == Severity.WARNING
    assert fixed in source.fixed()


@pytest.mark.parametrize(
    ("body", "loss", "fixed"),
    [
        ("return self.fc(x)", "F.nll_loss(Net()(x), y)", "F.cross_entropy(Net()(x), y)"),
        ("return F.softmax(self.fc(x), dim=1)", "F.nll_loss(Net()(x), y)",
         "return F.log_softmax(self.fc(x), dim=1)"),
        ("return self.fc(x).log_softmax(1)", "F.cross_entropy(Net()(x), y)", "return self.fc(x)\n"),
        ("return torch.sigmoid(self.fc(x))", "F.binary_cross_entropy_with_logits(Net()(x), y)",
         "return self.fc(x)\n"),
        ("return self.fc(x)", "F.binary_cross_entropy(Net()(x), y)",
         "F.binary_cross_entropy_with_logits(Net()(x), y)"),
    ],
)  # fmt: skip
def test_fixes_of_losses(tmp_path: Path, body: str, loss: str, fixed: str) -> None:
    source = Source(tmp_path, net(body, LOSS.format(loss=loss)), "AC404", "AC405")
    assert source.only.fix is not None and source.only.fix.safety == "safe"
    assert fixed in source.fixed()


def test_a_last_layer_is_taken_out_of_a_sequential(tmp_path: Path) -> None:
    text = """
    model = nn.Sequential(
        nn.Linear(8, 4),
        nn.Softmax(dim=1),
    )
    loss = F.cross_entropy(model(torch.rand(2, 8)), torch.tensor([0, 1]))
    """
    source = Source(tmp_path, text, "AC401")
    assert source.underlined(source.only) == "nn.Softmax(dim=1)"
    assert "model = nn.Sequential(\n    nn.Linear(8, 4),\n)\n" in source.fixed()


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("return F.softmax(self.fc(x).softmax(1), 1)", ["AC407"]),
        ("return F.softmax(self.fc(x).softmax(1), 0)", []),
        ("return F.softmax(self.fc(x).softmax(1) / 0.1, 1)", []),
        ("return nn.Linear(8, 1)(x).softmax(-1)", ["AC408"]),
        ("return nn.Linear(8, 1)(x).softmax(1)", []),
        ("return nn.Linear(8, 2)(x).softmax(-1)", []),
        ("return nn.Conv2d(8, 1, 1)(x).softmax(1)", ["AC408"]),
    ],
)
def test_softmaxes_of_softmaxes_and_over_one(tmp_path: Path, body: str, codes: list[str]) -> None:
    found = Source(tmp_path, net(body), "AC407", "AC408").findings
    assert [finding.code for finding in found] == codes


# Traced ---------------------------------------------------------------------------------------

ENDS_IN_A_SOFTMAX = net("return self.fc(x).softmax(dim=-1)")


@pytest.fixture(scope="module")
def with_each_loss(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of one model for each loss that the user may name."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("losses")
    models = []
    for loss in ("none", *LOSSES):
        (folder / f"{loss}.py").write_text(HEAD + ENDS_IN_A_SOFTMAX, encoding="utf-8")
        named = None if loss == "none" else loss
        models.append(Model(f"{loss}.py:Net", ("2,8",), loss=named))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        report = run(None, Config(select=("AC4",), models=tuple(models)), Model(""), root=Path())
    finally:
        patch.undo()
    said: dict[str, list[str]] = {loss: [] for loss in ("none", *LOSSES)}
    for finding in report.findings:
        said[finding.location.path.removesuffix(".py")].append(f"{finding.code} {finding.severity}")
    return said


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("none", ["AC401 warning"]),
        ("cross_entropy", ["AC401 error"]),
        ("nll", ["AC404 error"]),
        ("bce", []),
        ("mse", []),
    ],
)
def test_the_user_may_say_which_loss_it_is(
    with_each_loss: dict[str, list[str]], loss: str, said: list[str]
) -> None:
    assert with_each_loss[loss] == said
