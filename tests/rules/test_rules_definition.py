"""What the rules of definitions say, what their fixes make, and what they leave alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_files import project_of, source

from archcheck.core.finding import Edit, Finding
from archcheck.core.rule import Rule, load_rules
from archcheck.python import SourceFile

ROOT = Path(__file__).parents[2]
RULES = {rule.code: rule for rule in load_rules() if rule.code.startswith(("AC1", "AC5"))}
FIXABLE = [rule for rule in RULES.values() if rule.fix is not None]


def found(file: SourceFile, *rules: Rule) -> list[tuple[Rule, Finding]]:
    return [
        (rule, finding)
        for rule in rules or RULES.values()
        for reader in rule.source_readers
        for finding in reader(file)
    ]


def codes(text: str, *wanted: str) -> list[str]:
    """The codes that a file below the usual imports gives, of these rules if any are named."""
    rules = [RULES[code] for code in wanted] or [
        rule for rule in RULES.values() if rule.runs_by_default
    ]
    return sorted(rule.code for rule, _ in found(source(text), *rules))


def applied(text: str, edits: tuple[Edit, ...]) -> str:
    """A text with edits made, the last one first."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for edit in sorted(edits, key=lambda edit: edit.location, reverse=True):
        at = edit.location
        start = starts[at.line - 1] + at.column - 1
        end = starts[at.end_line - 1] + at.end_column - 1
        text = text[:start] + edit.new + text[end:]
    return text


# A loop in eval mode is an evaluation, whose graph nothing needs: the next thing to mend.
REVEALED = {"AC501": "AC509"}


def bad_files() -> Iterator[tuple[Rule, Path]]:
    for rule in FIXABLE:
        folder = ROOT / "fixtures" / rule.name.replace("-", "_")
        for path in sorted(folder.glob("bad*.py")):
            if "# trace:" not in path.read_text(encoding="utf-8"):
                yield rule, path


@pytest.mark.parametrize(
    ("rule", "path"), list(bad_files()), ids=lambda value: getattr(value, "code", value.name)
)
def test_a_fix_mends_what_it_is_for_and_nothing_else(rule: Rule, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    before = found(source(text, head=""))
    for one, finding in before:
        if one is not rule or finding.fix is None:
            continue
        assert finding.fix.safety == rule.fix
        new = applied(text, finding.fix.edits)
        ast.parse(new)
        after = found(source(new, head=""))
        mended = [f.message for r, f in before if r is rule]
        left = [f.message for r, f in after if r is rule]
        # One fix may mend several findings (a constructor call that moves up), never make one.
        assert len(left) < len(mended), new
        others = sorted(r.code for r, _ in before if r is not rule)
        shown = REVEALED.get(rule.code)
        left_over = sorted(r.code for r, _ in after if r is not rule and r.code != shown)
        assert left_over == [code for code in others if code != shown], new


@pytest.mark.parametrize(
    ("takes", "given", "call"),
    [
        ("width", "width", "super().__init__(width)"),
        ("depth, *, width=1", "width, depth", "super().__init__(depth)"),
        ("*, width", "width", "super().__init__(width=width)"),
        ("width", "size", None),
        ("width", "*width", None),
    ],
)
def test_a_base_gets_what_it_needs_under_its_own_name(
    takes: str, given: str, call: str | None
) -> None:
    text = f"""
        class Base(nn.Module):
            def __init__(self, {takes}):
                super().__init__()
                self.fc = nn.Linear(2, 2)

        class Net(Base):
            def __init__(self, {given}):
                self.head = nn.Linear(2, 2)
    """
    (finding,) = [finding for _, finding in found(source(text), RULES["AC101"])]
    assert (finding.fix and finding.fix.edits[0].new.strip()) == call


# Rule, one of its bad fixtures, and what is said: message, label, help, what is underlined.
SAID = [
    (
        "AC101",
        "bad_one_layer.py",
        "`Net.__init__` never calls `super().__init__()`: assigning `self.fc` raises an "
        "AttributeError",
        "does not initialise nn.Module",
        "super().__init__()",
        "__init__",
    ),
    (
        "AC103",
        "bad_forward_takes_the_instance.py",
        "`Net.forward` has no `self`: the instance lands in `x`",
        "receives the instance",
        "first parameter",
        "x",
    ),
    (
        "AC104",
        "bad_forward_misspelled.py",
        "`Net` has no `forward`: its `forwad` is misspelled",
        "misspelled forward",
        "rename it to forward",
        "forwad",
    ),
    (
        "AC106",
        "bad_two_widths_for_one_layer.py",
        "`self.fc` is assigned twice",
        "assigned again",
        "another name",
        "self.fc",
    ),
    (
        "AC109",
        "bad_underscore_misplaced.py",
        "`Net` has no attribute `conv_1`",
        "never set",
        "self.conv1",
        "self.conv_1",
    ),
    (
        "AC111",
        "bad_no_width.py",
        "`nn.Linear` is built without `out_features`",
        "no out_features",
        "`out_features`",
        "nn.Linear(8)",
    ),
    (
        "AC111",
        "bad_second_of_two.py",
        "`nn.Conv2d` is built without `kernel_size`",
        "no kernel_size",
        "`kernel_size`",
        "nn.Conv2d(3, 8)",
    ),
    (
        "AC111",
        "bad_unknown_argument.py",
        "`nn.Dropout` takes no argument named `rate`",
        "unknown",
        "leave it out",
        "rate=0.1",
    ),
    (
        "AC113",
        "bad_in_the_return.py",
        "`nn.Linear` is built anew in every forward pass of `Net`",
        "new weights at every call",
        "__init__",
        "nn.Linear(8, 2)",
    ),
    (
        "AC114",
        "bad_repeated_by_multiplication.py",
        "one `nn.Linear` instance stands in several places",
        "the same instance again",
        "for each place",
        "[nn.Linear(8, 8)] * 3",
    ),
    (
        "AC117",
        "bad_train_takes_a_batch.py",
        "`Net.train` hides `nn.Module.train`: it needs x, y, and PyTorch calls it without",
        "hides nn.Module.train",
        "another name",
        "train",
    ),
]


@pytest.mark.parametrize(
    ("code", "fixture", "message", "label", "help", "underlined"), SAID, ids=lambda v: str(v)[:12]
)
def test_every_part_of_a_message(
    code: str, fixture: str, message: str, label: str, help: str, underlined: str
) -> None:
    rule = RULES[code]
    text = (ROOT / "fixtures" / rule.name.replace("-", "_") / fixture).read_text(encoding="utf-8")
    file = source(text, head="")
    finding = found(file, rule)[0][1]
    assert finding.message.startswith(message)
    assert finding.label == label
    assert finding.help is not None and help in finding.help
    at = finding.location
    assert file.lines[at.line - 1][at.column - 1 : at.end_column - 1] == underlined


def test_a_module_that_is_only_a_namespace_is_a_warning() -> None:
    text = """
        class Sampler(nn.Module):
            def __init__(self, mode):
                self.mode = mode

            def sample(self, x):
                return x
    """
    (finding,) = [finding for _, finding in found(source(text), RULES["AC101"])]
    assert finding.severity == "warning"
    assert finding.message.endswith("parameters(), to() and state_dict() raise an AttributeError")


def test_what_explains_a_failure_covers_it() -> None:
    file = source("""
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 2)

            def forward(self, x):
                return self.fc(x)
    """)
    (finding,) = [finding for _, finding in found(file, RULES["AC101"])]
    (module,) = file.modules
    assignment = module.submodules[0].write.location
    assert finding.explains is not None and finding.explains.covers(assignment)
    assert [place.location for place in finding.related] == [assignment]


def test_a_base_in_another_file(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "base.py": """
                from torch import nn

                class Base(nn.Module):
                    def __init__(self, width, depth):
                        super().__init__()
                        self.body = nn.Linear(width, width)

                    def forward(self, x):
                        return self.body(x)
            """,
            "net.py": """
                from torch import nn
                from base import Base

                class Net(Base):
                    def __init__(self, width):
                        self.head = nn.Linear(width, 2)

                class Small(Base):
                    def forward(self, x):
                        return self.tail(self.body(x))

                small = Small(8)
            """,
        },
    )
    file = project.file(tmp_path / "net.py")
    lines = [(f.location.line, rule.code) for rule, f in found(file)]
    assert lines == [(6, "AC101"), (6 + 1, "AC108"), (11, "AC109"), (13, "AC111")]


def test_a_template_that_code_is_generated_from_is_left_alone(tmp_path: Path) -> None:
    text = """
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 2)
                super().__init__()

            def forward(**super_kwargs):
                "Only the docstring is new."
    """
    project = project_of(
        tmp_path, {"modular_net.py": text, "modeling_net.py": text, "modular_other.py": text}
    )
    template = project.file(tmp_path / "modular_net.py")
    assert found(template, RULES["AC102"], RULES["AC103"]) == []
    plain = project.file(tmp_path / "modular_other.py")
    assert [r.code for r, _ in found(plain, RULES["AC102"], RULES["AC103"])] == ["AC102", "AC103"]
