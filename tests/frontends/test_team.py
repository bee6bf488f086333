"""A team adopts archcheck on old code, from the first day to a change of its architecture.

All by the real command, in a git repository of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from repositories import begin, commit, git, run, team_project

pytestmark = pytest.mark.slow

NETWORK = "src/digits/network.py"
CAPTIONS = "src/digits/captions.py"
KNOWN = ["src/digits/train.py AC504", "src/digits/train.py AC503"]


class Team:
    """The repository that the team works in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def archcheck(self, *arguments: str, fails: bool = False) -> str:
        """Run the command; what it prints."""
        done = run("archcheck", *arguments, cwd=self.folder)
        assert done.returncode == int(fails), done.stdout + done.stderr
        return done.stdout

    def findings(self, *arguments: str, fails: bool = False) -> list[str]:
        """Where a check finds what: `src/digits/train.py AC503`."""
        report = json.loads(self.archcheck(*arguments, "--format", "json", fails=fails))
        return [f"{finding['path']} {finding['code']}" for finding in report["findings"]]

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once."""
        text = (self.folder / path).read_text()
        assert text.count(old) == 1, (path, old)
        (self.folder / path).write_text(text.replace(old, new))

    def changed(self) -> list[str]:
        """The files that are not as they were committed, or are new."""
        git("add", "-A", cwd=self.folder)
        return git("diff", "--cached", "--name-only", "HEAD", cwd=self.folder).splitlines()


def sunday_a_configuration_is_proposed(team: Team) -> None:
    path = team.folder / "pyproject.toml"
    own = path.read_text()
    path.write_text(own.partition("[tool.archcheck]")[0])
    bare = path.read_text()
    assert f'+target = "{NETWORK}:DigitNet"' in team.archcheck("init")
    assert path.read_text() == bare
    team.archcheck("init", "--yes")
    assert path.read_text().startswith(bare)
    assert team.findings(fails=True) == KNOWN
    # What is expected of its models, the team says itself.
    path.write_text(own)


def monday_the_known_faults_are_let_stand(team: Team) -> None:
    assert team.findings("--no-baseline", fails=True) == KNOWN
    team.archcheck("--write-baseline")
    assert team.changed() == ["archcheck-baseline.json"]
    commit("Let the known faults stand", cwd=team.folder)
    # The tests' own loops are none of the configuration's concern, wherever it is called from.
    below = run("archcheck", "--format", "concise", cwd=team.folder / "tests")
    assert below.returncode == 0, below.stdout + below.stderr


def tuesday_a_bug_is_added_and_the_gate_fails(team: Team) -> None:
    team.edit(NETWORK, "nn.Linear(64, classes)", "nn.Linear(128, classes)")
    # What moves the known faults makes them no new ones.
    team.edit("src/digits/train.py", "import torch\nfrom", "import torch\n\nfrom")
    lines = team.archcheck("--format", "concise", fails=True).splitlines()
    assert lines[0].startswith(f"{NETWORK}:26:16: AC201 error `head` expects 128 features, got 64")
    assert lines[1].startswith("1 error")


def tuesday_evening_it_is_fixed(team: Team) -> None:
    team.archcheck("--fix")
    assert "nn.Linear(64, classes)" in (team.folder / NETWORK).read_text()
    # What is let stand is not touched.
    assert team.changed() == ["src/digits/train.py"]
    assert team.findings() == []
    commit("Sort the imports", cwd=team.folder)


def wednesday_an_old_fault_is_mended_and_the_baseline_shrinks(team: Team) -> None:
    team.edit("src/digits/train.py", "total += loss", "total += loss.item()")
    done = run("archcheck", cwd=team.folder)
    assert done.returncode == 0
    assert "1 finding of the baseline is gone" in done.stderr
    team.archcheck("--write-baseline")
    known = json.loads((team.folder / "archcheck-baseline.json").read_text())
    assert "AC504" in json.dumps(known) and "AC503" not in json.dumps(known)
    commit("Keep no graphs", cwd=team.folder)


def thursday_the_architectures_are_locked(team: Team) -> None:
    team.archcheck("lock")
    assert team.changed() == ["archcheck.lock"]
    assert team.findings() == []
    before = (team.folder / "archcheck.lock").read_bytes()
    team.archcheck("lock")
    assert (team.folder / "archcheck.lock").read_bytes() == before
    commit("Lock the architectures", cwd=team.folder)


def friday_a_layer_is_resized(team: Team) -> None:
    team.edit(CAPTIONS, "nn.GRU(size, size, ", "nn.GRU(size, 2 * size, ")
    # The output is another one, too.
    assert sorted(team.findings(fails=True)) == [f"{CAPTIONS} AC214", f"{CAPTIONS} AC604"]
    team.edit("pyproject.toml", 'expect-output = "4,64"', 'expect-output = "4,128"')
    assert team.findings(fails=True) == [f"{CAPTIONS} AC604"]


def friday_the_difference_is_reviewed(team: Team) -> None:
    text = team.archcheck("diff", fails=True)
    # A GRU of 64 to 128: 3 * 128 * (64 + 128 + 2) parameters; before, 3 * 64 * (64 + 64 + 2).
    assert 3 * 128 * 194 - 3 * 64 * 130 == 49_536
    assert re.search(r"~ recurrent +hidden_size 64 → 128 +\+49\.54 k", text)
    assert f"{NETWORK}:DigitNet: as it was" in text

    markdown = team.archcheck("diff", "main", "--format", "markdown", fails=True)
    assert markdown.startswith("### Architecture: 1 of 2 models differs")
    assert "| `recurrent` | hidden\\_size 64 → 128 | +49.54 k |" in markdown

    changed = json.loads(team.archcheck("diff", "--format", "json", fails=True))
    states = {model["target"]: model["state"] for model in changed["models"]}
    assert states == {
        f"{NETWORK}:DigitNet": "same",
        f"{CAPTIONS}:CaptionEncoder(words=500)": "changed",
    }


def friday_evening_it_is_agreed_to(team: Team) -> None:
    team.archcheck("lock")
    assert team.changed() == ["archcheck.lock", "pyproject.toml", CAPTIONS]
    # The lock's change is what a reviewer reads.
    changed = git("diff", "--cached", "--unified=0", "archcheck.lock", cwd=team.folder)
    assert "recurrent" in changed and "stem" not in changed
    assert team.findings() == []
    commit("Remember captions longer", cwd=team.folder)
    assert "No difference" in team.archcheck("diff", "main")
    assert "hidden_size 64 → 128" in team.archcheck("diff", "main~1", fails=True)


def the_tests_agree(team: Team) -> None:
    done = run("pytest", "--archcheck", "-q", "-p", "no:cacheprovider", cwd=team.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_a_week_of_a_team(tmp_path: Path) -> None:
    # Each day goes on where the one before it ended, so that all of them are one test.
    team = Team(begin(team_project(tmp_path / "digits")))
    for day in (
        sunday_a_configuration_is_proposed,
        monday_the_known_faults_are_let_stand,
        tuesday_a_bug_is_added_and_the_gate_fails,
        tuesday_evening_it_is_fixed,
        wednesday_an_old_fault_is_mended_and_the_baseline_shrinks,
        thursday_the_architectures_are_locked,
        friday_a_layer_is_resized,
        friday_the_difference_is_reviewed,
        friday_evening_it_is_agreed_to,
        the_tests_agree,
    ):
        day(team)
