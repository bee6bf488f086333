"""One defect, one finding: each of these models has one, read from the source and traced."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from source_findings import HEAD

from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Severity
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

NET = '''
class {name}(nn.Module):
    """{doc}"""

    def __init__({init}):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d({inside}, 3, 3, padding=1)
        self.relu = nn.ReLU({inplace})
{more}

    def forward({arguments}):
{body}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = {name}()
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.block(x)
        return self.head(x.mean(dim=(2, 3)))
'''
BODY = "out = self.relu(self.norm1(self.conv1(x)))\nreturn torch.tanh(self.conv2(out))"


def text_of(
    body: str = BODY,
    *,
    name: str = "Block",
    doc: str = "Two convolutions.",
    init: str = "self",
    arguments: str = "self, x",
    inside: str = "8",
    inplace: str = "",
    more: str = "",
) -> str:
    return HEAD + NET.format(
        name=name, doc=doc, init=init, arguments=arguments, inside=inside, inplace=inplace,
        more=textwrap.indent(more, " " * 8), body=textwrap.indent(body, " " * 8),
    )  # fmt: skip


PROJECTION = "self.shortcut = nn.Conv2d(3, 3, 1)"
TEXTS = {
    "nothing": (text_of(), ""),
    "no_self": (text_of(arguments="x"), "AC103"),
    "constructor": (text_of().replace("__init__(self)", "__int__(self)", 1), "AC104"),
    "no_return": (text_of("x = self.conv2(self.relu(self.norm1(self.conv1(x))))\nx"), "AC105"),
    "list": (
        text_of(
            "for layer in self.more:\n    x = layer(x)\n" + BODY,
            more="self.more = [nn.Conv2d(3, 3, 1), nn.Tanh()]",
        ),
        "AC107",
    ),
    "misspelt": (text_of(BODY.replace("self.norm1", "self.norm_1")), "AC109"),
    "channels": (text_of(inside="9"), "AC202"),
    "kept": (text_of("identity = x\n" + BODY), "AC301"),
    "kept_and_unused": (
        text_of("identity = x\n" + BODY, doc="A residual block.", more=PROJECTION),
        "AC301",
    ),
    "projected": (text_of("shortcut = self.shortcut(x)\n" + BODY, more=PROJECTION), "AC301"),
    "promised": (text_of(name="ResidualBlock", more=PROJECTION), "AC301"),
    "thrown_away": (
        text_of("x = self.relu(self.conv1(x))\nself.norm1(x)\nreturn self.conv2(x)"), "AC302"
    ),
    "in_place": (
        text_of("out = self.norm1(self.conv1(self.relu(x)))\nreturn x + self.conv2(out.tanh())",
                inplace="inplace=True").replace("self.block(x)", "self.block(x.sin())"),
        "AC303",
    ),
    "detached": (text_of(BODY.replace("(out)", "(out.detach())")), "AC308"),
    "over_the_batch": (
        text_of().replace("return self.head", "return F.softmax(self.head")
        .replace("dim=(2, 3)))", "dim=(2, 3))), dim=0)"),
        "AC403",
    ),
    "twice": (
        text_of().replace("return self.head", "x = self.head")
        + "        x = x.softmax(-1)\n        return torch.stack([x, x.softmax(-1)])\n",
        "AC407",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("one_defect")
    said: dict[str, list[Finding]] = {}
    for name, (text, _) in TEXTS.items():
        # A folder of its own: files side by side may speak of each other's classes.
        (folder / name).mkdir()
        (folder / name / "net.py").write_text(text, encoding="utf-8")
        said[f"{name}/net.py"] = []
    config = Config(
        paths=tuple(said), models=tuple(Model(f"{path}:Net", ("2,3,8,8",)) for path in said)
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        report = run(None, config, Model(""), root=Path())
    finally:
        patch.undo()
    assert report.defects == ()
    assert report.usage_errors == ()
    for finding in report.findings:
        if finding.severity >= Severity.WARNING:
            said[finding.location.path].append(finding)
    return {path.partition("/")[0]: findings for path, findings in said.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_one_defect_is_one_finding(found: dict[str, list[Finding]], name: str) -> None:
    expected = [TEXTS[name][1]] if TEXTS[name][1] else []
    assert [f"{finding.code}" for finding in found[name]] == expected, [
        finding.message for finding in found[name]
    ]


def test_a_projection_that_nobody_calls_is_a_side_of_the_missing_sum(
    found: dict[str, list[Finding]],
) -> None:
    (finding,) = found["promised"]
    assert [place.message for place in finding.related][-1] == "never called"
