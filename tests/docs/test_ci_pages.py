"""The examples of docs/ci: they parse, and their archcheck commands do what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from repositories import ROOT, begin, commit, git, run, team_project

yaml = pytest.importorskip("yaml")

pytestmark = [pytest.mark.slow, pytest.mark.network]

DOCS = ROOT / "docs"
PAGE = (DOCS / "ci.md").read_text(encoding="utf-8")
# What is the job's own, or needs the service that runs it.
NOT_OURS = ("pip ", "gh ")


def loaded(name: str) -> Any:
    return yaml.safe_load((DOCS / "ci" / name).read_text(encoding="utf-8"))


def scripts(name: str) -> Iterator[str]:
    """The shell scripts of an example, without what is not archcheck's."""
    example = loaded(name)
    if name == "github.yml":
        steps = [step["run"] for step in example["jobs"]["archcheck"]["steps"] if "run" in step]
    else:
        steps = ["\n".join(example["archcheck"]["script"])]
    for step in steps:
        lines = [line for line in step.splitlines() if not line.startswith(NOT_OURS)]
        if lines:
            yield "\n".join(lines)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What CI checks out: a branch with another architecture; the project's faults are known."""
    folder = tmp_path_factory.mktemp("ci")
    origin = begin(team_project(folder / "origin"))
    for command in (("archcheck", "--write-baseline"), ("archcheck", "lock")):
        done = run(*command, cwd=origin)
        assert done.returncode == 0, done.stderr
    commit("Agree on what stands", cwd=origin)
    git("clone", "-q", str(origin), str(folder / "clone"), cwd=folder)
    clone = folder / "clone"
    git("checkout", "-q", "-b", "wider", cwd=clone)
    network = clone / "src" / "digits" / "network.py"
    text = network.read_text().replace("WIDTH = 16", "WIDTH = 20").replace("(64,", "(80,")
    network.write_text(text)
    commit("Widen the network", cwd=clone)
    return clone


def test_every_example_is_linked_and_every_link_leads_somewhere() -> None:
    linked = set(re.findall(r"\]\(ci/([^)]+)\)", PAGE))
    assert linked == {path.name for path in (DOCS / "ci").iterdir()}
    for place in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (DOCS / place).is_file(), place


def test_the_github_workflow_has_the_shape_of_one() -> None:
    workflow = loaded("github.yml")
    # YAML 1.1 reads the key `on` as true.
    assert {"name", True, "permissions", "jobs"} == set(workflow)
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {
        "contents": "read",
        "security-events": "write",
        "pull-requests": "write",
    }
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+(/[\w-]+)+@v\d+", step.get("uses", "a/b@v1"))
    upload = next(step for step in job["steps"] if "upload-sarif" in step.get("uses", ""))
    assert upload["if"] == "always()"
    assert upload["with"]["sarif_file"] in "\n".join(scripts("github.yml"))


def test_the_github_workflow_runs(clone: Path, tmp_path: Path) -> None:
    check, report, comment = scripts("github.yml")
    summary = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}

    checked = run("bash", "-eo", "pipefail", "-c", check, cwd=clone, **summary)
    assert checked.returncode == 1, checked.stderr
    (annotation,) = checked.stdout.splitlines()
    assert annotation.startswith("::error file=src/digits/")
    assert "title=AC604 architecture-drift::" in annotation

    reported = run("bash", "-eo", "pipefail", "-c", report, cwd=clone, **summary)
    assert reported.returncode == 0, reported.stderr
    (results,) = json.loads((clone / "archcheck.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in results["results"]] == ["AC604"]
    assert "DigitNet" in (tmp_path / "summary.md").read_text()

    commented = run("bash", "-eo", "pipefail", "-c", comment, cwd=clone, **summary)
    assert commented.returncode == 0, commented.stderr
    text = (clone / "archcheck.md").read_text()
    before = (tmp_path / "summary.md").read_text()
    assert text.startswith(before) and before.startswith("### archcheck: ")
    assert "| `head` | in\\_features 64 → 80 |" in text.removeprefix(before)


def test_the_gitlab_job_runs(clone: Path) -> None:
    (script,) = scripts("gitlab.yml")
    done = run("bash", "-eo", "pipefail", "-c", script, cwd=clone)
    assert done.returncode == 1, done.stderr
    reports = loaded("gitlab.yml")["archcheck"]["artifacts"]["reports"]
    entries = json.loads((clone / reports["codequality"]).read_text())
    assert [entry["check_name"] for entry in entries] == ["AC604"]
    root = ElementTree.parse(clone / reports["junit"]).getroot()
    names = {case.get("name") for case in root.iter("testcase") if case.find("failure") is None}
    assert "src/digits/captions.py:CaptionEncoder(words=500)" in names
    assert "src/digits/network.py:DigitNet" not in names


def test_the_pre_commit_example_names_hooks_that_exist() -> None:
    (entry,) = loaded("pre-commit.yaml")["repos"]
    offered = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in entry["hooks"]] == [hook["id"] for hook in offered]


def test_the_commands_of_the_page_run(clone: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    git("checkout", "-q", "origin/main", cwd=clone)
    for command in commands:
        done = run("bash", "-c", command, cwd=clone)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert git("status", "--porcelain", "--untracked-files=no", cwd=clone) == ""
