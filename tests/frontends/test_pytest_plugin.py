"""The pytest plugin, from the outside: pytest runs in a folder of its own, in its own process."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

pytest_plugins = "pytester"

MODELS = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.features = nn.Conv2d(3, hidden, 3, padding=1)
        self.head = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.head(self.features(x).relu().flatten(1))
"""

CONFIGURATION = """\
[tool.archcheck]
paths = ["src"]

[[tool.archcheck.models]]
target = "src/models.py:Net"
input = ["2,3,8,8"]

[[tool.archcheck.models]]
target = "src/models.py:Net(hidden=4)"
input = ["2,3,8,8"]

[[tool.archcheck.models]]
target = "src/models.py:Net"
input = ["4,3,8,8"]
mode = "eval"
max-params = 100
"""

NAMES = [
    "src",
    "src/models.py:Net",
    "src/models.py:Net(hidden=4)",
    "src/models.py:Net[4,3,8,8 eval]",
]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    pytester.makefile(".toml", pyproject=CONFIGURATION)
    pytester.mkdir("src").joinpath("models.py").write_text(MODELS)
    pytester.mkdir("tests").joinpath("test_other.py").write_text("def test_other():\n    pass\n")
    return pytester.path


def test_the_plugin_loads_nothing_but_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            ours = {name for name in sys.modules if name.split(".")[0] == "archcheck"}
            packages = {"archcheck", "archcheck.frontends", "archcheck.frontends.pytest"}
            assert ours == packages | {
                "archcheck._version", "archcheck.frontends.pytest.plugin"
            }
            assert not {"torch", "rich", "typer", "numpy"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        models=MODELS,
        test_models="""
        import pytest

        from models import Net

        def test_clean(archcheck):
            report = archcheck(Net(), input=(2, 3, 8, 8))
            report.assert_clean()
            assert [tensor.shape for tensor in report.outputs] == [(2, 10)]

        def test_broken(archcheck):
            archcheck(Net(4), input=(2, 3, 8, 8)).assert_clean()

        def test_ignored(archcheck):
            archcheck(Net(4), input=(2, 3, 8, 8)).assert_clean(ignore=["AC201"])

        def test_unknown_code(archcheck):
            archcheck(Net(), input=(2, 3, 8, 8)).assert_clean(ignore=["AC999"])
        """,
    )
    run = pytester.runpytest_subprocess()
    run.assert_outcomes(passed=2, failed=2)
    run.stdout.fnmatch_lines(["*archcheck(Net(4)*", "*error?AC201?*512*256*", "*AC999*"])
    # Where archcheck raises is not shown, only the test's own line.
    run.stdout.no_fnmatch_line("*report.py*")


def test_what_is_configured_becomes_tests(project: Path, pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_subprocess("--archcheck", "-v", "--junitxml=report.xml")
    run.assert_outcomes(passed=3, failed=2)
    run.stdout.fnmatch_lines(
        [
            "*collected 5 items",
            "pyproject.toml::src PASSED*",
            "pyproject.toml::src/models.py:Net PASSED*",
            "pyproject.toml::src/models.py:Net(hidden=4) FAILED*",
            "pyproject.toml::src/models.py:Net[[]4,3,8,8 eval[]] FAILED*",
            "*archcheck src/models.py:Net(hidden=4)*",
            "error?AC201?*512*256*",
            "error?AC601?*",
        ]
    )
    run.stdout.no_fnmatch_line("*Traceback*")
    cases = ElementTree.parse(project / "report.xml").getroot().iter("testcase")
    results = {
        case.get("name"): case.findtext("failure")
        for case in cases
        if case.get("classname") == "pyproject.toml"
    }
    assert list(results) == NAMES
    assert "AC201" in (results["src/models.py:Net(hidden=4)"] or "")
    # The next session, and the command, need not trace them again.
    assert list((project / ".archcheck_cache").iterdir())


def test_tests_are_shared_out_among_processes(project: Path, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    run = pytester.runpytest_subprocess("--archcheck", "-n", "2")
    run.assert_outcomes(passed=3, failed=2)
    run.stdout.fnmatch_lines(["*error?AC601?*"])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), NAMES),
        (("tests",), NAMES),
        ((".",), NAMES),
        (("pyproject.toml",), NAMES),
        (("-k", "hidden"), [NAMES[2]]),
        (("pyproject.toml::src",), [NAMES[0]]),
        # Without its brackets, a name stands for all variants, as with parametrised tests.
        (("pyproject.toml::src/models.py:Net",), [NAMES[1], NAMES[3]]),
        (("pyproject.toml::src/models.py:Net[4,3,8,8 eval]",), [NAMES[3]]),
    ],
    ids=str,
)
def test_what_is_collected(
    project: Path, pytester: pytest.Pytester, arguments: tuple[str, ...], names: list[str]
) -> None:
    run = pytester.runpytest_inprocess("--archcheck", "--collect-only", "-q", *arguments)
    assert not (project / ".archcheck_cache").exists()
    listed = [line for line in run.outlines if line.startswith("pyproject.toml::")]
    assert listed == [f"pyproject.toml::{name}" for name in names]
    # What is collected without the option is collected with it.
    others = "tests/test_other.py::test_other" in run.outlines
    assert others == (arguments in ((), ("tests",), (".",)))


def test_the_mark_selects_them(project: Path, pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_inprocess(
        "--archcheck", "--collect-only", "-q", "-m", "archcheck", "--strict-markers"
    )
    assert [line for line in run.outlines if "::" in line] == [
        f"pyproject.toml::{name}" for name in NAMES
    ]


def test_without_the_option_nothing_is_collected(project: Path, pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_inprocess("-q", "--collect-only")
    assert [line for line in run.outlines if "::" in line] == ["tests/test_other.py::test_other"]


def test_the_configuration_of_a_folder_above(project: Path, pytester: pytest.Pytester) -> None:
    (project / "tests" / "pytest.ini").write_text("[pytest]\n")
    run = pytester.runpytest_inprocess(
        "--archcheck", "--collect-only", "-q", "-k", "src", "--rootdir=tests", "tests"
    )
    listed = [line.partition("::")[2] for line in run.outlines if "::" in line]
    assert listed == NAMES


@pytest.mark.parametrize(
    ("configuration", "part"),
    [
        ("[tool.archcheck]\nmodel = []", "'models'"),
        ("[tool.archcheck]\nselect = ['AC999']", "AC999"),
        ("[tool.archcheck]\n", "no models or paths"),
    ],
)
def test_a_wrong_configuration_is_a_usage_error(
    pytester: pytest.Pytester, configuration: str, part: str
) -> None:
    pytester.makefile(".ini", pytest="[pytest]\n")
    pytester.makefile(".toml", pyproject=configuration)
    run = pytester.runpytest_inprocess("--archcheck")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: *archcheck*{part}*"])


def test_a_model_that_is_not_there_fails_alone(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".toml", pyproject="[[tool.archcheck.models]]\ntarget = 'gone.py:Net'\ninput = ['1']\n"
    )
    run = pytester.runpytest_inprocess("--archcheck")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*gone.py*no such file*"])
