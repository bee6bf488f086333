"""What the rules of shapes say, part by part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import archcheck

from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Severity
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FIXTURES = "fixtures"

# The fixtures whose findings are looked at closely, and how they are traced.
TRACED = {
    "linear_in_features/bad_smaller_image.py": ("Net", "8,3,128,128"),
    "linear_in_features/bad_flattened.py": ("LeNet", "8,1,32,32"),
    "linear_in_features/bad_not_flattened.py": ("Net", "4,1,28,28"),
    "conv_in_channels/bad_after_cat.py": ("Fuse", "4,3,32,32"),
    "norm_num_features/bad_wrong_width.py": ("Net", "8,784"),
    "norm_num_features/bad_layer_norm_on_channels.py": ("Block", "2,48,14,14"),
    "norm_wrong_rank/bad_block.py": ("Block", "2,16,8,8"),
    "elementwise_shape_mismatch/bad_residual.py": ("Block", "2,16,32,32"),
    "elementwise_shape_mismatch/bad_stride.py": ("Net", "2,3,32,32"),
    "elementwise_shape_mismatch/bad_gate.py": ("Gate", "2,32,14,14"),
    "cat_shape_mismatch/bad_skip.py": ("UNet", "2,1,30,30"),
    "cat_shape_mismatch/bad_wrong_dimension.py": ("Tokens", "2,16,24"),
    "matmul_shape_mismatch/bad_not_transposed.py": ("Attention", "2,10,32"),
    "invalid_reshape/bad_other_size.py": ("Net", "8,3,32,32"),
    "invalid_reshape/bad_not_contiguous.py": ("Heads", "2,10,32"),
    "spatial_collapse/bad_too_deep.py": ("Deep", "2,3,32,32"),
    "accidental_broadcast/bad_reward.py": ("Critic", "8,12", "8"),
    "batch_size_changed/bad_view.py": ("Net", "8,3,32,32"),
    "hardcoded_input_size/bad_crop.py": ("Net", "4,3,64,64"),
    "hardcoded_input_size/bad_left_free.py": ("Net", "2,3,H,W"),
    "hardcoded_input_size/bad_note.py": ("Net", "4,1,28,28"),
    "hardcoded_input_size/bad_pooled.py": ("Net", "4,3,64,64"),
    "stale_shape_comment/bad_forms.py": ("Net", "4,3,32,32"),
    "wrong_dtype/bad_indices.py": ("Tagger", "4,12"),
    "device_mismatch/bad_state.py": ("Reader", "4,9,8"),
    "batch_of_one/bad_possible.py": ("Head", "8,64"),
    "wrong_input_rank/bad_channels_last.py": ("Net", "4,32,32,3"),
}
FROM_SOURCE = (
    "linear_in_features/bad_sequential.py",
    "norm_wrong_rank/bad_from_source.py",
    "spatial_collapse/bad_sequential.py",
)


@pytest.fixture(scope="module")
def findings() -> dict[tuple[str, int, str], Finding]:
    """Every finding of family AC2 on the fixtures above, by file, line and code."""
    models = tuple(
        Model(target=f"{FIXTURES}/{path}:{name}", inputs=tuple(inputs))
        for path, (name, *inputs) in TRACED.items()
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    try:
        paths = tuple(f"{FIXTURES}/{path}" for path in FROM_SOURCE)
        config = Config(select=("AC2",), paths=paths, models=models)
        report = run(None, config, Model(""), root=Path())
    finally:
        patch.undo()
    return {
        (f.location.path.removeprefix(f"{FIXTURES}/"), f.location.line, f.code): f
        for f in report.findings
    }


def source_lines(path: str) -> list[str]:
    return (ROOT / FIXTURES / path).read_text(encoding="utf-8").splitlines()


def line_of(path: str, written: str) -> int:
    """The number of the first line that holds this text."""
    return next(n for n, line in enumerate(source_lines(path), start=1) if written in line)


def underlined(path: str, finding: Finding) -> str:
    at = finding.location
    return source_lines(path)[at.line - 1][at.column - 1 : at.end_column - 1]


def test_every_part_of_a_message(findings) -> None:
    path = "linear_in_features/bad_smaller_image.py"
    finding = findings[path, line_of(path, "self.classifier(x)"), "AC201"]
    # Which layer, what it expects, what it got.
    assert finding.message == "`classifier` expects 4608 features, got 2048"
    assert finding.module == "classifier"
    assert finding.severity == Severity.ERROR
    # The sub-expression, and the words beside it.
    assert underlined(path, finding) == "self.classifier(x)"
    assert finding.label == "got [8, 2048], expects [*, 4608]"
    assert finding.scope == "Net.forward"
    # The lines that led there.
    assert [(note.location.line, note.text) for note in finding.trail][-2:] == [
        (line_of(path, "self.avgpool(x)"), "x: [8, 512, 2, 2]"),
        (line_of(path, "torch.flatten"), "x: [8, 2048]"),
    ]
    # Where the number was declared: the very argument.
    (declared,) = finding.related
    row = source_lines(path)[declared.location.line - 1]
    assert row[declared.location.column - 1 : declared.location.end_column - 1] == "4608"
    assert declared.message == "declared here"
    # The arithmetic. 128 pixels give 64, 32, 16, 8, 4, and 2 after the pooling; 3 would need 6 or
    # 7 before it, 11 to 14 before the last stage, 21 to 28, 41 to 56 and 82 to 113 before the
    # stages and the pooling, which 163 to 226 pixels give.
    assert finding.notes == (
        "2048 is 512 channels of 2 x 2; 4608 would be 512 of 3 x 3, an input of 163 to 226 pixels",
    )
    # The smallest change.
    assert finding.help == (
        "nn.Linear(2048, …), or nn.AdaptiveAvgPool2d(1) and nn.Linear(512, …) for any input size"
    )
    assert finding.fix is not None and finding.fix.safety == "safe"
    (edit,) = finding.fix.edits
    assert (edit.location, edit.new) == (declared.location, "2048")


# Path, text of the line, code, then what the message, the label, the notes and the help must hold,
# and the text that each related place points at.
PARTS = [
    (
        "linear_in_features/bad_flattened.py", "self.fc1(x)", "AC201",
        "`fc1` expects 256 features, got 400", "expects [*, 256]",
        "400 is 16 channels of 5 x 5; 256 would be 16 of 4 x 4, an input of 28 to 31 pixels",
        "nn.Linear(400, …)", ["16 * 4 * 4"],
    ),
    (
        "linear_in_features/bad_not_flattened.py", "self.hidden(x)", "AC201",
        "`hidden` expects 784 features, got 28", "got [4, 1, 28, 28]", "",
        "flatten it first: torch.flatten(x, 1)", ["784"],
    ),
    (
        "linear_in_features/bad_sequential.py", "nn.Linear(pixels, 10)", "AC201",
        "`Linear` expects 784 features, got 300", "gets 300 features", "",
        "nn.Linear(300, …)", ["pixels", "nn.Linear(pixels, hidden)"],
    ),
    (
        "conv_in_channels/bad_after_cat.py", "self.merge(", "AC202",
        "`merge` expects 16 channels, got 32", "got [4, 32, 32, 32], expects [*, 16, *, *]", "",
        "nn.Conv2d(32, …)", ["16"],
    ),
    (
        "norm_num_features/bad_wrong_width.py", "self.norm(", "AC203",
        "`norm` expects 100 features, got 300", "got [8, 300], expects [*, 100]",
        "the 300 come from `linear`", "nn.BatchNorm1d(300)", ["narrow"],
    ),
    (
        "norm_num_features/bad_wrong_width.py", "self.out(x)", "AC201",
        "`out` expects 100 features, got 300", "got [8, 300], expects [*, 100]",
        "the 300 come from `linear`", "nn.Linear(300, …)", ["narrow"],
    ),
    (
        "norm_num_features/bad_layer_norm_on_channels.py", "self.norm(", "AC203",
        "`norm` expects 48 in the last dimension, got 14", "expects [*, 48]", "",
        "the 48 are in dimension 1: self.mix(x).movedim(1, -1)", ["channels"],
    ),
    (
        "norm_wrong_rank/bad_block.py", "self.bn1(", "AC204",
        "`bn1` is a BatchNorm1d, which takes [N, C] or [N, C, L], got [2, 16, 8, 8]",
        "got 4 dimensions", "", "nn.BatchNorm2d(channels)", ["nn.BatchNorm1d"],
    ),
    (
        "norm_wrong_rank/bad_from_source.py", "nn.BatchNorm1d(width)", "AC204",
        "`norm` is a BatchNorm1d, which takes [N, C] or [N, C, L], got 4 dimensions",
        "gets 4 dimensions", "", "nn.BatchNorm2d(width)", ["nn.Conv2d(channels, width, 3)"],
    ),
    (
        "elementwise_shape_mismatch/bad_residual.py", "x + out", "AC205",
        "the operands of `+` do not broadcast: `x` [2, 16, 32, 32] and `out` [2, 16, 28, 28]",
        "[2, 16, 32, 32] against [2, 16, 28, 28]",
        "`conv1` makes 30 x 30 of 32 x 32: its kernel has no padding to keep the size; "
        "`conv2` makes 28 x 28 of 30 x 30: its kernel has no padding to keep the size",
        "padding=1 in `conv1` and `conv2` keeps the size",
        ["nn.Conv2d(channels, channels, 3)", "nn.Conv2d(channels, channels, 3)"],
    ),
    (
        "elementwise_shape_mismatch/bad_stride.py", "out += identity", "AC205",
        "`out` [2, 32, 16, 16] and `identity` [2, 16, 32, 32]", "against", "its stride is 2",
        "nn.Conv2d(16, 32, kernel_size=1, stride=2)", None,
    ),
    (
        "elementwise_shape_mismatch/bad_gate.py", "x * weights", "AC205",
        "the operands of `*` do not broadcast", "against [2, 32]", "",
        "weights[:, :, None, None]", [],
    ),
    (
        "cat_shape_mismatch/bad_skip.py", "torch.cat", "AC206",
        "`cat` along dimension 1 of tensors that differ in 2, 3: "
        "[2, 8, 30, 30] and [2, 16, 28, 28]",
        "[2, 8, 30, 30] against [2, 16, 28, 28]", "it works with multiples of 4 pixels",
        "F.interpolate(x, size=skip.shape[2:])", [],
    ),
    (
        "cat_shape_mismatch/bad_wrong_dimension.py", "torch.cat", "AC206",
        "`cat` along dimension 2 of tensors that differ in 1", "[2, 1, 24] against [2, 16, 24]",
        "", "dim=1 joins them", [],
    ),
    (
        "matmul_shape_mismatch/bad_not_transposed.py", "q @ k", "AC207",
        "`q @ k` multiplies [2, 10, 32] by [2, 10, 32]: the inner sizes 32 and 10 differ",
        "[2, 10, 32] by [2, 10, 32]", "", "k.transpose(-2, -1)", [],
    ),
    (
        "invalid_reshape/bad_other_size.py", "x.view(", "AC208",
        "`x.view(-1, 16 * 5 * 5)` cannot hold the 15488 elements of [8, 16, 11, 11]",
        "asks for [-1, 400]", "400 is 16 channels of 5 x 5; of 11 x 11 arrive",
        "torch.flatten(x, 1)", [],
    ),
    (
        "invalid_reshape/bad_not_contiguous.py", ".view(batch, steps, width)", "AC208",
        "needs contiguous memory", "with strides", "",
        "reshape in place of view, or x.transpose(1, 2).contiguous() before it", [],
    ),
    (
        "spatial_collapse/bad_too_deep.py", "self.pool(", "AC209",
        "`pool` has a kernel of 2 x 2, its input is 1 x 1", "got [2, 32, 1, 1]",
        "it works with at least 64 pixels", "a larger input", ["2"],
    ),
    (
        "spatial_collapse/bad_sequential.py", "# expect", "AC209",
        "has a kernel of 3 x 3, its input is 2 x 2", "does not fit", "", "a larger map", None,
    ),
    (
        "accidental_broadcast/bad_reward.py", "reward - value", "AC210",
        "`reward - value` expands both operands: [8] and [8, 1] give [8, 8]", "gives [8, 8]",
        "every entry", "value.squeeze(-1)", [],
    ),
    (
        "batch_size_changed/bad_view.py", "x.view(", "AC211",
        "`x.view(-1, 7168)` makes [7, 7168] of [8, 6272]: its rows run across the 8 samples",
        "8 samples, 7 rows", "", "x.view(x.shape[0], -1)", [],
    ),
    (
        "hardcoded_input_size/bad_crop.py", "self.fc(", "AC212",
        "`fc` ties the model to an input of 63 to 64 pixels", "only for 63 to 64 pixels",
        "`RandomCrop(48)` (line 6): its 48 pixels do not work",
        "nn.AdaptiveAvgPool2d(1) and nn.Linear(16, …)", ["16 * 32 * 32"],
    ),
    (
        "hardcoded_input_size/bad_left_free.py", "self.out(", "AC212",
        "`head.out` ties the model to an input of 31 to 33 pixels", "",
        "the input leaves H free, and the model does not", "", ["width"],
    ),
    (
        "stale_shape_comment/bad_forms.py", "self.conv(x)", "AC213",
        "the comment says B x 32 x 32 x 32, `x` is [4, 16, 32, 32]", "is [4, 16, 32, 32]", "",
        "B x 16 x 32 x 32", [],
    ),
    (
        "wrong_dtype/bad_indices.py", "self.embed(", "AC215",
        "`embed` takes integer indices, got float32", "got float32", "",
        "tokens.long(); if the input is meant so: --input 4,12:int64", None,
    ),
    (
        "device_mismatch/bad_state.py", "torch.zeros", "AC216",
        "`torch.zeros(1, batch, self.hidden)` stays on the CPU when the model moves",
        "made without a device", "", "device=x.device", ["self.rnn(x, (state, state))"],
    ),
    (
        "batch_of_one/bad_possible.py", "self.norm(", "AC217",
        "`norm` has one value per channel of each sample", "got [8, 16]", "", "drop_last=True", [],
    ),
    (
        "wrong_input_rank/bad_channels_last.py", "self.conv(x)", "AC218",
        "`conv` takes [N, C, H, W], its input [4, 32, 32, 3] has its channels last",
        "got [4, 32, 32, 3]", "", "x.movedim(-1, 1)", [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "written", "code", "message", "label", "notes", "help", "related"),
    PARTS,
    ids=[f"{part[2]}-{part[0]}" for part in PARTS],
)
def test_the_parts_of_messages(
    findings, path, written, code, message, label, notes, help, related
) -> None:
    finding = findings[path, line_of(path, written), code]
    assert message in finding.message
    assert label in finding.label
    assert notes in "; ".join(finding.notes)
    assert help in (finding.help or "")
    if related is not None:
        rows = source_lines(path)
        assert related == [
            rows[at.line - 1][at.column - 1 : at.end_column - 1]
            for at in (place.location for place in finding.related)
        ]


def test_one_root_cause_is_one_finding(findings) -> None:
    # The sum of what does not broadcast, and all that follows from it.
    for path, expected in (
        ("elementwise_shape_mismatch/bad_residual.py", ["AC205"]),
        ("norm_num_features/bad_wrong_width.py", ["AC203", "AC201"]),
        ("cat_shape_mismatch/bad_wrong_dimension.py", ["AC206"]),
    ):
        shown = [f.code for key, f in findings.items() if key[0] == path]
        assert [code for code in shown if code != "AC217"] == expected


def test_a_size_limit_is_a_note_until_something_contradicts_it(findings) -> None:
    severities = {
        key[0].rpartition("/")[2]: finding.severity
        for key, finding in findings.items()
        if key[2] == "AC212"
    }
    assert severities["bad_note.py"] == Severity.NOTE
    assert severities["bad_crop.py"] == severities["bad_left_free.py"] == Severity.WARNING


def test_a_size_limit_is_lifted_by_an_adaptive_pooling(findings) -> None:
    path = "hardcoded_input_size/bad_pooled.py"
    finding = findings[path, line_of(path, "self.fc("), "AC212"]
    assert finding.fix is not None and finding.fix.safety == "unsafe"
    rows = source_lines(path)
    changed = {
        rows[edit.location.line - 1][
            edit.location.column - 1 : edit.location.end_column - 1
        ]: edit.new
        for edit in finding.fix.edits
    }
    assert changed == {"nn.AvgPool2d(4)": "nn.AdaptiveAvgPool2d(1)", "16 * 8 * 8": "16"}


def test_a_fix_writes_the_numbers_of_a_comment(findings) -> None:
    path = "stale_shape_comment/bad_forms.py"
    finding = findings[path, line_of(path, "-> 4×12"), "AC213"]
    assert finding.fix is not None
    (edit,) = finding.fix.edits
    row = source_lines(path)[edit.location.line - 1]
    assert row[edit.location.column - 1 : edit.location.end_column - 1] == "12"
    assert edit.new == "10"


def test_what_names_the_batch_is_shown_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.rnn = nn.LSTM(16, 8)\n\n"
        "    def forward(self, x):\n"
        "        batch, time, _ = x.shape\n"
        "        out, _ = self.rnn(x)\n"
        "        return out[:, -1]\n"
    )
    shown = archcheck("net.py:Net", "--input", "4,6,16", "--format", "json", cwd=tmp_path)
    (finding,) = [one for one in json.loads(shown.stdout)["findings"] if one["code"] == "AC219"]
    assert {one["path"] for one in finding["related"]} == {"net.py"}
