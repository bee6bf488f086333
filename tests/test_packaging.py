"""What an installation puts where, and what it brings."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_one_import_name_reaches_site_packages(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"archcheck"}


def test_every_file_of_the_engine_and_the_pack_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    engine = {p.relative_to(ROOT).as_posix() for p in (ROOT / "archcheck").rglob("*.py")}
    pack = {f"archcheck/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "rules").rglob("*.py")}
    page = {p.relative_to(ROOT).as_posix() for p in (ROOT / "archcheck/output/page").iterdir()}
    assert engine | pack | page | {"archcheck/py.typed"} <= set(wheel.namelist())


def test_the_wheel_finds_its_rules(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = "import archcheck.rule as r; print(r.__file__); print(len(r.load_rules()))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    place, count = run.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path)
    assert int(count) == len(list((ROOT / "rules").glob("*/*.py")))


def test_the_wheel_writes_the_page(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = (
        "from archcheck.output import render\n"
        "from archcheck.report import Report\n"
        "print(render(Report(), 'html'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
    )
    assert run.stdout.startswith("<!DOCTYPE html>") and "dagre" in run.stdout


def test_the_base_install_brings_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any("torch" in name for name in project["dependencies"])
