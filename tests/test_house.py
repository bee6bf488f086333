"""The arrows that must never be: who may import whom."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "fvcore", "torchinfo"}


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_source_rules_ask_the_project_and_not_the_disk() -> None:
    """What is remembered of a file holds while the project's answers are the same."""
    # They look, and note it, or only name places.
    lookers = {
        "archcheck/python/file.py",
        "archcheck/python/file_dependencies.py",
        "archcheck/python/package_text.py",
        "archcheck/python/project.py",
        "archcheck/python/documents/read.py",
    }
    looking = {
        path.relative_to(ROOT).as_posix()
        for path in files("rules", "archcheck/python", "archcheck/analysis")
        if {"os", "pathlib", "io", "glob"} & {name.partition(".")[0] for name in imports(path)}
    }
    assert looking == lookers


def test_no_import_is_relative_but_a_rules_to_the_helpers_of_its_family() -> None:
    for path in files("archcheck", "rules"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                helpers = [node.module] if node.module else [alias.name for alias in node.names]
                assert path.is_relative_to(ROOT / "rules") and node.level == 1
                assert all(helper.startswith("_") for helper in helpers), f"{path}: {helpers}"


def private_names() -> set[str]:
    """What archcheck defines with one underscore in front: functions, classes, attributes."""
    names: set[str] = set()
    for path in files("archcheck", "rules"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in names if re.fullmatch(r"_[a-zA-Z]\w*(?<!_)", name)}


def test_tests_use_public_names_alone() -> None:
    """Programs that tests write out are looked through too, as the text that they are.

    Files of a rule family whose names begin with an underscore are its helpers, no rules: that is
    what the underscore says, and what they define has public names.
    """
    private = private_names()
    for path in files("tests"):
        text = re.sub(r"archcheck\.rules\.\w+\._", "", path.read_text(encoding="utf-8"))
        imported = re.findall(r"from archcheck[\w.]* import ([^()\n]+|\([^)]*\))", text)
        words = {word for names in imported for word in re.findall(r"\w+", names)}
        # Of the test itself, of torch, of the package (`_version`), and of pygls.
        used = {
            name
            for owner, name in re.findall(r"(\w+|\))\.(_[a-zA-Z]\w*)", text)
            if owner not in ("self", "module", "part", "archcheck", "protocol") and name in private
        }
        assert not {word for word in words if re.match(r"_[a-zA-Z]", word)} | used, path


def test_every_folder_says_what_it_takes_and_what_it_gives() -> None:
    for path in (ROOT / "archcheck").rglob("__init__.py"):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc, f"{path} has no docstring"
        if path.parent != ROOT / "archcheck":
            assert re.search(r"^In:|^In and out:", doc, re.MULTILINE), f"{path}: what comes in?"


def test_no_folder_holds_more_than_twenty_files() -> None:
    for folder in (ROOT / "archcheck").rglob("*/"):
        assert len(list(folder.glob("*.py"))) <= 20, folder


def test_the_page_on_architecture_names_every_floor() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    floors = {path.parent.name for path in (ROOT / "archcheck").glob("*/__init__.py")}
    assert set(named) == floors and len(named) == len(floors)


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running some code."""
    program = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.splitlines()[-1].split())


def test_importing_archcheck_loads_neither_torch_nor_rich() -> None:
    assert not loaded_after("import archcheck") & {"torch", "rich", "typer", "numpy"}


def test_a_source_check_never_loads_torch() -> None:
    program = (
        "from archcheck.frontends.cli.main import exit_code\n"
        "exit_code(['fixtures/missing_super_init', '--format', 'json'])"
    )
    assert "archcheck" in loaded_after(program)
    assert not loaded_after(program) & HEAVY


def test_a_source_check_imports_neither_other_commands_nor_evidence_of_traces(
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "fixtures/models/resnet32.py", tmp_path)
    program = (
        "from archcheck.frontends.cli.main import exit_code\n"
        "import os; os.environ.pop('FORCE_COLOR', None)\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "assert exit_code(['resnet32.py']) == 1\n"
        "import sys; print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = run.stdout.splitlines()[-1].split()
    assert {"archcheck.output.terminal.excerpt", "archcheck.engine.cache.answers"}.issubset(loaded)
    unneeded = {
        "archcheck.evidence.trace",
        "archcheck.evidence.target_summary",
        "archcheck.engine.fix.fix_files",
        "rich",
    }
    assert not unneeded.intersection(loaded)
    packages = ("engine.annotate", "engine.lock.", "engine.compare", "engine.init")
    packages += ("frontends.lsp", "output.diff")
    commands = tuple(f"frontends.cli.{name}" for name in ("annotate", "diff", "init", "lock"))
    started = tuple(f"archcheck.{name}" for name in (*packages, *commands))
    assert not [name for name in loaded if name.startswith(started)]


def test_a_trace_never_loads_torch_in_the_process_that_the_user_starts() -> None:
    program = (
        "from archcheck.frontends.cli.main import exit_code\n"
        "assert exit_code(['fixtures/models/resnet32.py:ResNet32', '--quiet']) in (0, 1)"
    )
    assert not loaded_after(program) & HEAVY


def test_the_check_for_heavy_imports_can_fail() -> None:
    assert "torch" in loaded_after("import torch")


@pytest.mark.parametrize(
    ("marker", "drives"),
    [("browser", r"^(from|import) chromium"), ("editor", r"^(from|import) lsp_editor|\bnvim\b")],
)
def test_what_drives_a_program_is_marked_with_it(marker: str, drives: str) -> None:
    driving = [
        path
        for path in files("tests")
        if path.name.startswith("test_")
        and path != Path(__file__)
        and re.search(drives, path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert driving
    for path in driving:
        assert f"pytest.mark.{marker}" in path.read_text(encoding="utf-8"), path
