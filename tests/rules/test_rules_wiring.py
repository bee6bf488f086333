"""What the rules on wiring say, where they keep quiet, and what their fixes write."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from source_findings import HEAD, Source

from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Severity
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

BLOCK = """
class {name}(nn.Module):
    {doc}
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.downsample = nn.Conv2d(channels, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
{body}
"""
PLAIN = "return self.conv2(self.relu(self.conv1(x)))"


def block(body: str, name: str = "Block", doc: str = "") -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    return BLOCK.format(name=name, doc=doc, body=lines)


def test_a_kept_residual_and_the_line_that_adds_it(tmp_path: Path) -> None:
    body = """
    identity = x
    out = self.relu(self.conv1(x))
    out = self.conv2(out)
    out = self.relu(out)
    return out
    """
    source = Source(tmp_path, block(body), "AC301")
    finding = source.only
    assert finding.severity == Severity.ERROR
    assert finding.message == "`identity` is kept and never joins the output of `Block`"
    assert source.underlined(finding) == "identity"
    # The projection that nobody calls is a side of the same defect.
    assert [place.message for place in finding.related] == ["returned without it", "never called"]
    assert finding.fix is not None and finding.fix.safety == "unsafe"
    assert (
        "        out = self.conv2(out)\n"
        "        out = out + identity\n"
        "        out = self.relu(out)\n"
    ) in source.fixed()


@pytest.mark.parametrize(
    "body",
    [
        "identity = x\nreturn self.conv2(self.relu(self.conv1(x)))",
        "identity = self.downsample(x)\nout = self.conv2(x)\nreturn out + x",
        "skip = x\nskip = self.downsample(skip)\nreturn self.conv2(self.conv1(x))",
        "x_skip = x.clone()\nout = self.conv1(x)\nout += out\nreturn out",
    ],
)
def test_values_that_are_kept_in_vain(tmp_path: Path, body: str) -> None:
    assert [f.code for f in Source(tmp_path, block(body), "AC301").findings] == ["AC301"]


@pytest.mark.parametrize(
    "body",
    [
        "identity = x\nreturn self.conv1(x) + x",
        "identity = x\nreturn torch.cat([self.conv1(x), x], 1)",
        "identity = x\nreturn helper(self.conv1(x), x)",
        "skip = x\nif self.training:\n    return self.conv1(x)\nreturn self.conv1(x) + skip",
        "residual, x = self.split(x)\nreturn self.conv1(x)",
        "skip = 3\nreturn self.conv1(x)",
        "skip = x.shape\nreturn self.conv1(x)",
        "identity = x\nself.hook(identity)\nreturn self.conv1(x)",
        "identity = x\n\ndef add(y):\n    return y + identity\n\nreturn add(self.conv1(x))",
    ],
)
def test_values_that_are_kept_for_something(tmp_path: Path, body: str) -> None:
    assert Source(tmp_path, block(body), "AC301").findings == []


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("ResidualBlock", ""),
        ("ResBlock", ""),
        ("Block", '"""Two convolutions and a skip connection."""'),
        ("Block", "# with a residual\n"),
        ("Block", "# 残差块\n"),
    ],
)
def test_a_block_that_says_it_is_residual_and_is_not(tmp_path: Path, name: str, doc: str) -> None:
    found = Source(tmp_path, block(PLAIN, name, doc), "AC301", "AC108")
    finding = found.only
    assert finding.message.startswith(f"`{name}` is a residual block that adds nothing")
    assert found.underlined(finding) == name
    # The projection that is never called is a side of the same defect.
    assert [place.message for place in finding.related][-1] == "never called"


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("Block", ""),
        ("PlainBlock", '"""A block without residual."""'),
        ("Block", "# no skip connection here\n"),
        ("Block", '"""The residual is added by the caller."""'),
        ("Block", "# \N{CJK UNIFIED IDEOGRAPH-6CA1}\N{CJK UNIFIED IDEOGRAPH-6709}残差\n"),
        ("HighResBlock", ""),
        ("ResizeBlock", ""),
    ],
)
def test_a_block_that_claims_nothing(tmp_path: Path, name: str, doc: str) -> None:
    text = block(PLAIN, name, doc)
    assert Source(tmp_path, text, "AC301").findings == []


def test_a_wrapper_may_add_the_residual(tmp_path: Path) -> None:
    wrapper = """
    class Add(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return x + self.function(x)
    """
    text = block(PLAIN, "ResidualBlock") + textwrap.dedent(wrapper)
    assert Source(tmp_path, text, "AC301").findings == []


@pytest.mark.parametrize(
    ("body", "fixed"),
    [
        ("return x + self.conv1(self.relu(x))", "self.relu = nn.ReLU(inplace=False)"),
        ("return x + self.conv1(F.relu(x, inplace=True))", "F.relu(x, inplace=False)"),
        ("return x + self.conv1(F.silu(x, inplace=True))", "F.silu(x, inplace=False)"),
        ("return x + self.conv1(x.relu_())", "x.relu())"),
        ("y = x\ny += self.conv1(x)\nreturn x + self.conv2(y)", "y = y + self.conv1(x)"),
    ],
)
def test_an_overwritten_skip_and_its_fix(tmp_path: Path, body: str, fixed: str) -> None:
    source = Source(tmp_path, block(body), "AC303")
    finding = source.only
    assert finding.severity == Severity.ERROR
    assert "changes `x` in place" in finding.message or "changes `y` in place" in finding.message
    assert [place.message.split()[0] for place in finding.related] == ["reads"]
    assert finding.fix is not None and finding.fix.safety == "safe"
    assert fixed in source.fixed()


@pytest.mark.parametrize(
    "body",
    [
        "x = self.relu(x)\nreturn x + self.conv1(x)",
        "return x + self.relu(self.conv1(x))",
        "out = x + self.conv1(x)\nreturn self.relu(x) * out",
        "y = F.relu(x)\nreturn y + self.conv1(self.relu(y))",
        "self.relu(x)\nreturn x + self.conv1(x)",
        "return x + self.conv1(self.relu(x.clone()))",
    ],
)
def test_changes_in_place_that_break_nothing(tmp_path: Path, body: str) -> None:
    assert Source(tmp_path, block(body), "AC303").findings == []


def test_a_bias_that_is_taken_out(tmp_path: Path) -> None:
    text = """
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Linear(8, 8, bias=True),
        nn.BatchNorm1d(8),
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
    )
    """
    source = Source(tmp_path, text, "AC306")
    assert [finding.severity for finding in source.findings] == [Severity.NOTE] * 2
    fixed = source.fixed()
    assert "nn.Conv2d(3, 8, 3, bias=False),\n    nn.BatchNorm2d(8),\n    nn.ReLU()" in fixed
    assert "nn.Linear(8, 8, bias=False)" in fixed


# Traced ---------------------------------------------------------------------------------------

TRACED = HEAD + textwrap.dedent(
    """
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(8, 16)
            self.fc2 = nn.Linear(16, 4)

        def forward(self, x):
            return self.fc2(self.fc1(x))


    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(8, 8)
            self.fc2 = nn.Linear(8, 4)

        def forward(self, x):
            h = self.fc1(x).relu()
            return self.fc2(x)


    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.body(x).detach())


    class ResNet10(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Layer() for _ in range(4))

        def forward(self, x):
            for layer in self.blocks:
                x = layer(x)
            return x


    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 3, 3, padding=1)
            self.norm1 = nn.BatchNorm2d(3)
            self.conv2 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
            self.shortcut = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return torch.relu(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
    """
)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("traced")
    (folder / "nets.py").write_text(TRACED, encoding="utf-8")
    shapes = {"Two": "2,8", "Dropped": "2,8", "Cut": "2,8", "ResNet10": "2,3,8,8"}
    models = tuple(Model(f"nets.py:{name}", (shape,)) for name, shape in shapes.items())
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        report = run(None, Config(select=("AC3", "AC108"), models=models), Model(""), root=Path())
    finally:
        patch.undo()
    assert report.defects == ()
    return list(report.findings)


def of(traced: list[Finding], code: str) -> Finding:
    (finding,) = [finding for finding in traced if finding.code == code]
    return finding


def written(finding: Finding) -> str:
    at = finding.location
    return TRACED.splitlines()[at.line - 1][at.column - 1 : at.end_column - 1]


def test_two_linear_layers_in_a_row(traced: list[Finding]) -> None:
    finding = of(traced, "AC304")
    assert finding.message == (
        "`fc1` and `fc2` follow each other with nothing nonlinear between them"
    )
    assert written(finding) == "self.fc1(x)"
    assert finding.notes == ("together they are one linear map from 8 to 4 features",)
    assert [place.message for place in finding.related] == ["the next layer"]


def test_a_result_that_is_never_read(traced: list[Finding]) -> None:
    finding = of(traced, "AC302")
    assert finding.message == (
        "the result of `self.fc1(x).relu()` is never read: `fc1` computes in vain"
    )
    assert finding.module == "fc1"
    assert written(finding) == "self.fc1(x).relu()"


def test_a_gradient_that_is_cut(traced: list[Finding]) -> None:
    finding = of(traced, "AC308")
    assert finding.message == ("`body.0` never gets a gradient: `self.body(x).detach()` cuts it")
    assert "requires_grad_(False)" in (finding.help or "")


def test_blocks_without_a_sum_in_a_network_that_says_it_is_residual(traced: list[Finding]) -> None:
    finding = of(traced, "AC301")
    assert written(finding) == "Layer"
    assert finding.module == "blocks.0"
    assert finding.notes == ("the same at `blocks.1`, `blocks.2`, `blocks.3`",)
    assert {place.message for place in finding.related} == {
        "says that it is residual", "never called"
    }  # fmt: skip
    # The shortcut that nobody calls is the same defect.
    assert [f for f in traced if f.code == "AC108"] == []


def test_eight_layers_are_no_ten(traced: list[Finding]) -> None:
    finding = of(traced, "AC307")
    assert finding.message == "`ResNet10` has 8 weighted layers"
    assert finding.help == "call it ResNet8, or make it 10 deep"


def test_biases_before_norms_and_those_beyond_a_convolution(traced: list[Finding]) -> None:
    first = of(traced, "AC306")
    assert first.message == "`blocks.0.conv1` has a bias that `blocks.0.norm1` cancels"
    assert first.severity == Severity.NOTE
