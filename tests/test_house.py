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
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def banned_in(room: str) -> list[str]:
    """What the files of one of archcheck's rooms may not import; "" are those beside the rooms."""
    banned = ["archcheck.rules"]
    if room not in ("trace", "load"):
        banned += HEAVY
    if room != "output":
        banned.append("rich")
    if room != "lsp":
        banned += ["pygls", "lsprotocol"]
    if room == "source":
        banned += ["archcheck.trace", "archcheck.load"]
    if room == "trace":
        banned.append("archcheck.source")
    if room in ("lock", "proposal"):
        banned += ["archcheck.output", "archcheck.frontends"]
    if room == "output":
        banned += [f"archcheck.{room}" for room in ("source", "load", "trace", "pipeline")]
    return banned


def forbidden(path: Path) -> list[str]:
    """The imports of a file that the design forbids."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "rules":
        rooms = ("output", "frontends", "trace", "load", "rules", "pipeline", "report")
        banned = ["torch", "fvcore", "rich", *(f"archcheck.{room}" for room in rooms)]
    else:
        banned = banned_in(relative.parts[1] if len(relative.parts) > 2 else "")
    return [
        name
        for name in imports(path)
        if any(name == ban or name.startswith(f"{ban}.") for ban in banned)
    ]


@pytest.mark.parametrize(
    "path", files("archcheck", "rules"), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_no_forbidden_arrow(path: Path) -> None:
    assert forbidden(path) == []


def test_source_rules_ask_the_project_and_not_the_disk() -> None:
    """What is remembered of a file holds while the project's answers are the same."""
    rooms = ("source", "definition", "shapes", "wiring", "training")
    # They look, and note it, or only name places.
    lookers = {f"archcheck/source/{name}.py" for name in ("document", "project", "surroundings")}
    lookers |= {"archcheck/source/file.py", "archcheck/source/dependencies.py"}
    looking = {
        path.relative_to(ROOT).as_posix()
        for path in files("rules", *(f"archcheck/{room}" for room in rooms))
        if {"os", "pathlib", "io", "glob"} & {name.partition(".")[0] for name in imports(path)}
    }
    assert looking == lookers


def test_the_page_on_architecture_names_every_room_and_what_it_may_not_import() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|.*\|(.*)\|$", page, re.MULTILINE)
    rooms = {path.parent.name for path in (ROOT / "archcheck").glob("*/__init__.py")}
    assert {room for room, _ in rows} == rooms and len(rows) == len(rooms)
    for room, banned in rows:
        for name in banned.replace("`", "").split(","):
            module = name.strip() if name.strip() in ("", "torch") else f"archcheck.{name.strip()}"
            assert not module or module in banned_in(room), f"{room} may import {module}"


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
        "from archcheck.frontends.cli import _exit_code\n"
        "_exit_code(['fixtures/missing_super_init', '--format', 'json'])"
    )
    assert "archcheck" in loaded_after(program)
    assert not loaded_after(program) & HEAVY


def test_a_source_check_imports_neither_other_commands_nor_evidence_of_traces(
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "fixtures/models/resnet32.py", tmp_path)
    program = (
        "from archcheck.frontends.cli import _exit_code\n"
        "import os; os.environ.pop('FORCE_COLOR', None)\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "assert _exit_code(['resnet32.py']) == 1\n"
        "import sys; print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = run.stdout.splitlines()[-1].split()
    assert {"archcheck.output.excerpt", "archcheck.cache.memory"}.issubset(loaded)
    unneeded = {"archcheck.evidence", "archcheck.target_report", "archcheck.fix.mend", "rich"}
    assert not unneeded.intersection(loaded)
    rooms = ("annotate", "lock.", "lsp", "proposal", "output.diff", "frontends.annotate")
    started = tuple(f"archcheck.{room}" for room in rooms)
    assert not [name for name in loaded if name.startswith(started)]


def test_a_trace_never_loads_torch_in_the_process_that_the_user_starts() -> None:
    program = (
        "from archcheck.frontends.cli import _exit_code\n"
        "assert _exit_code(['fixtures/models/resnet32.py:ResNet32', '--quiet']) in (0, 1)"
    )
    assert not loaded_after(program) & HEAVY


def test_the_check_for_heavy_imports_can_fail() -> None:
    assert "torch" in loaded_after("import torch")
