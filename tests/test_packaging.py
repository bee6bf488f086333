"""What an installation puts where, and what it brings."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from archcheck import __version__

pytestmark = [pytest.mark.slow, pytest.mark.network]

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
    page = {
        p.relative_to(ROOT).as_posix() for p in (ROOT / "archcheck/output/html/assets").iterdir()
    }
    assert engine | pack | page | {"archcheck/py.typed"} <= set(wheel.namelist())


def test_the_wheel_finds_its_rules(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = "import archcheck.core.rule as r; print(r.__file__); print(len(r.load_rules()))"
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
    assert int(count) == len(list((ROOT / "rules").glob("*/[!_]*.py")))


def test_the_wheel_writes_the_page(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = (
        "from archcheck.output import render\n"
        "from archcheck.core.report import Report\n"
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


INSTALLERS = r"(?:pip3?|pipx|uvx?|pdm|poetry|conda|mamba|pixi)\b[^\n`]*"
# `archcheck` as the name of what is installed: no path, no target, no longer name.
OLD_NAME = re.compile(
    rf"{INSTALLERS}\b(?:install|add|run|uvx|--from|--with)\b[^\n`]*(?<![\w./=-])archcheck(?![\w/.:-])"
    rf"|\buvx [\"']?archcheck(?![\w-])|\barchcheck\[(?:trace|lsp|dev)\b"
)


def committed_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, cwd=ROOT)
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def test_no_text_installs_the_program_of_other_authors() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    for path in committed_files():
        if path.is_file() and path != Path(__file__):
            text = path.read_bytes().decode("utf-8", "replace")
            assert not (found := OLD_NAME.search(text)), f"{path}: {found[0]}"


@pytest.mark.parametrize(
    "line",
    [
        "pip install archcheck",
        "python3 -m pip install -U 'archcheck'",
        'pip install -r requirements.txt "archcheck[trace]"',
        "uv pip install archcheck",
        "uv add --dev archcheck",
        "uvx archcheck model.py:Net",
        "pipx run archcheck src/",
        'uvx --from "archcheck[trace]" x',
    ],
)
def test_the_search_for_the_old_name_can_fail(line: str) -> None:
    assert OLD_NAME.search(line)
    assert not OLD_NAME.search(line.replace("archcheck", "archcheck-torch"))


@pytest.fixture(scope="module")
def environment(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with our wheel; it borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install(folder, Path(str(wheel.filename)))
    here = sysconfig.get_path("purelib")
    Path(site_packages(folder), "borrowed.pth").write_text(f"{here}\n", encoding="utf-8")
    return folder


def site_packages(environment: Path) -> str:
    scheme = {"base": str(environment), "platbase": str(environment)}
    return sysconfig.get_path("purelib", vars=scheme)


def install(environment: Path, package: Path) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(environment), "install", "-q"]
    options = ["--no-deps", "--no-build-isolation", "--force-reinstall"]
    subprocess.run([*command, *options, str(package)], check=True)


def run_script(environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    scripts = sysconfig.get_path(
        "scripts", vars={"base": str(environment), "platbase": str(environment)}
    )
    program = Path(scripts, command[0])
    return subprocess.run(
        [str(program), *command[1:]], capture_output=True, text=True, cwd=environment
    )


def test_both_commands_start_the_same_program(environment: Path) -> None:
    for name in ("archcheck", "archcheck-torch"):
        run = run_script(environment, name, "--version")
        assert (run.returncode, run.stdout) == (0, f"archcheck {__version__}\n"), run.stderr


def stand_in(folder: Path) -> Path:
    """The source of another program called archcheck, with the files that PyPI's shares with us."""
    package = folder / "archcheck"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.26.1"\n', encoding="utf-8")
    (package / "report.py").write_text("FIRMWARE = True\n", encoding="utf-8")
    (package / "cli.py").write_text("def main():\n    print('firmware')\n", encoding="utf-8")
    (package / "__main__.py").write_text(
        "from archcheck.cli import main\nmain()\n", encoding="utf-8"
    )
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'archcheck'\nversion = '0.26.1'\n"
        "[project.scripts]\narchcheck = 'archcheck.cli:main'\n"
        "[tool.setuptools]\npackages = ['archcheck']\n",
        encoding="utf-8",
    )
    return folder


def test_a_foreign_archcheck_beside_ours_is_explained(
    environment: Path, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    install(environment, stand_in(tmp_path / "firmware"))
    # Whichever was installed last owns the command; the second one is always ours.
    assert run_script(environment, "archcheck").stdout == "firmware\n"
    expect_explanation(run_script(environment, "archcheck-torch", "--version"))
    install(environment, Path(str(wheel.filename)))
    for name in ("archcheck", "archcheck-torch"):
        expect_explanation(run_script(environment, name, "--version"))
    expect_explanation(run_script(environment, "python", "-m", "archcheck", "--version"))


def expect_explanation(run: subprocess.CompletedProcess[str]) -> None:
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert "archcheck 0.26.1 in this environment is another program" in run.stderr
    assert "pip uninstall archcheck" in run.stderr
    assert "pip install --force-reinstall --no-deps archcheck-torch" in run.stderr


def test_the_lowest_versions_that_ci_installs_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["lsp"]]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    lowest = {
        match[1]: match[2] for one in wanted if (match := re.match(r"([\w-]+)>=([\d.]+)", one))
    }
    assert pinned.keys() == lowest.keys() and len(lowest) == len(wanted)
    for name, version in lowest.items():
        assert f"{pinned[name]}.".startswith(f"{version}.")
