"""What fixes make of the bad fixtures of their rules.

Each fixable rule has a golden diff; running this file with UPDATE_GOLDEN=1 rewrites them. Read what
changed.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixture_files import CODES, FILES, FIXTURES, ROOT, models

from archcheck.core.config import Config, Model
from archcheck.core.report import Report
from archcheck.core.rule import Rule, load_rules
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden" / "fixes"
FIXABLE = [rule for rule in load_rules() if rule.fix is not None]
BAD = [
    path
    for path in FILES
    if path.name.startswith("bad") and CODES[path.parent.name] in {rule.code for rule in FIXABLE}
]
# Rules that run, and fix, only where they are asked for: in their own folders.
ASKED = {"AC212", "AC306"}

# Whether a rule's fixes keep what the author meant is a promise, as its code is.
SAFETY = {
    "safe": "AC001 AC101 AC102 AC103 AC107 AC110 AC112 AC115 AC201 AC202 AC203 AC204 AC213 AC219"
    " AC221 AC303 AC306 AC401 AC402 AC403 AC404 AC405 AC410 AC502 AC503 AC506 AC507",
    "unsafe": "AC105 AC212 AC301 AC406 AC501 AC504 AC505",
}

# Where no edit can be told to be the right one: how many findings are left, and why.
UNDECIDED = {
    "nll_input/bad_ctc.py": (2, "a log-softmax belongs into the model or before the loss"),
    "activation_on_logits/bad_traced.py": (1, "the layers of a class share the activation"),
    "bce_input/bad_traced.py": (1, "the loss, which the command line names, may be the wrong one"),
    "bias_before_norm/bad_traced.py": (1, "at the padded borders the stem's bias still counts"),
    "conv_in_channels/bad_grouped.py": (1, "a constructor's default is what callers rely on"),
    "conv_in_channels/bad_transposed_away.py": (1, "a transpose is the fault, and no number"),
    "conv_in_channels/bad_stage_in_loop.py": (1, "one number is assigned for all turns of a loop"),
    "dropout_ignores_eval/bad_after_a_closed_test.py": (1, "a function has no mode to ask for"),
    "eval_mode_missing/bad_helper_never_undone.py": (1, "the helper or its caller may go back"),
    "eval_mode_missing/bad_no_mode_at_all.py": (1, "torch, which has no_grad, is not imported"),
    "eval_mode_missing/bad_trainer_sets_train_once.py": (1, "the helper or its caller may go back"),
    "eval_mode_missing/bad_validated_by_a_helper.py": (1, "the helper or its caller may switch"),
    "linear_in_features/bad_edge_messages.py": (1, "the number says the width of a node"),
    "nll_input/bad_traced.py": (1, "the loss, which the command line names, may be the wrong one"),
    "norm_num_features/bad_conditional_norm.py": (1, "half of a parameter: which half is wrong?"),
    "norm_num_features/bad_instance_norm_unweighted.py": (1, "`hidden` sizes other layers, too"),
    "norm_num_features/bad_slopes.py": (1, "the width that the slopes were made for may be meant"),
    "norm_num_features/bad_layer_norm_on_channels.py": (1, "lines are in the wrong order"),
    "loss_arguments/bad_column_and_row.py": (1, "which of the two ranks is meant?"),
    "loss_arguments/bad_difference_by_hand.py": (1, "which of the two ranks is meant?"),
    "loss_arguments/bad_row_and_column.py": (1, "which of the two ranks is meant?"),
    "missing_super_init/bad_mixin_by_name.py": (2, "which bases' `__init__` is to be called?"),
    "norm_wrong_rank/bad_chosen_by_the_caller.py": (1, "the class is chosen by a caller"),
    "optimizer_rebuilt/bad_by_a_factory_method.py": (1, "the method and its caller both change"),
    "optimizer_rebuilt/bad_by_a_helper.py": (1, "the function and its caller both change"),
    "optimizer_rebuilt/bad_trainer.py": (1, "the base and the loop build it of other things"),
    "removed_api/bad_old_functions.py": (3, "the new functions take and give other things"),
    "removed_api/bad_since_versions.py": (7, "what else is given decides what to write instead"),
    "removed_api/bad_variable.py": (2, "`volatile` wants a block of its own"),
    "syntax_error/bad_dedent_and_tabs.py": (2, "a column between two blocks, an `=` or an `==`"),
    "syntax_error/bad_document.md": (1, "a column between two blocks"),
    "syntax_error/bad_several_causes.py": (3, "an import of nothing, an open bracket, a print"),
    "unregistered_submodules/bad_a_dict_that_is_computed.py": (1, "keys that may be no names"),
    "unregistered_submodules/bad_nested.py": (1, "a list of lists"),
    "unregistered_submodules/bad_walked.py": (2, "what is set twice, and keys that are no names"),
}


@dataclass(frozen=True)
class Mended:
    """The fixtures after all fixes, and after another run of the same command."""

    once: Report
    twice: Report


@pytest.fixture(scope="session")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Mended:
    """Two runs over a copy of all bad fixtures: one worker serves every trace of a run."""
    folder = tmp_path_factory.mktemp("fixes")
    shutil.copytree(FIXTURES, folder / FIXTURES.name)
    config = Config(
        extend_select=tuple(ASKED),
        per_file_ignores={
            f"fixtures/{folder}/*": tuple(ASKED - {CODES[folder]})
            for folder in {path.parent.name for path in BAD}
        },
        paths=tuple(path.relative_to(ROOT).as_posix() for path in BAD if not models(path)),
        models=tuple(model for path in BAD for model in models(path)),
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        once, twice = (
            run(None, config, Model(""), root=Path(), mending=FixOptions(unsafe=True)) for _ in "12"
        )
    finally:
        patch.undo()
    return Mended(once, twice)


def diff_of(report: Report, folder: str) -> str:
    """The changes of the fixtures of one rule."""
    assert report.repairs is not None
    files = re.split(r"^(?=--- a/)", report.repairs.diff, flags=re.MULTILINE)
    return "".join(file for file in files if file.startswith(f"--- a/fixtures/{folder}/"))


def test_the_safety_of_fixes_is_as_promised() -> None:
    promised = {code: safety for safety, codes in SAFETY.items() for code in codes.split()}
    assert {rule.code: rule.fix for rule in FIXABLE} == promised


@pytest.mark.parametrize("rule", FIXABLE, ids=lambda rule: rule.code)
def test_golden(rule: Rule, mended: Mended) -> None:
    folder = rule.name.replace("-", "_")
    diff = diff_of(mended.once, folder)
    path = GOLDEN / f"{folder}.diff"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(diff, encoding="utf-8")
    assert diff == path.read_text(encoding="utf-8")
    assert diff


@pytest.mark.parametrize("path", BAD, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_of_the_rule_is_left(path: Path, mended: Mended) -> None:
    left = [
        finding
        for finding in mended.once.findings
        if finding.location.path == path.relative_to(ROOT).as_posix()
        and finding.code == CODES[path.parent.name]
    ]
    number, _ = UNDECIDED.get(f"{path.parent.name}/{path.name}", (0, ""))
    assert len(left) == number
    assert all(finding.fix is None for finding in left)


def test_a_second_run_has_nothing_to_do(mended: Mended) -> None:
    assert mended.once.defects == mended.twice.defects == ()
    assert mended.once.usage_errors == mended.twice.usage_errors == ()
    assert mended.twice.repairs is not None
    assert (mended.twice.repairs.fixed, mended.twice.repairs.diff) == (0, "")
    assert mended.twice.findings == mended.once.findings
