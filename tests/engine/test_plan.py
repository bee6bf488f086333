"""What a call stands for: the configuration seen from any folder, the command line over it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.target import UsageError
from archcheck.engine.targets import Plan

NET = Model("src/net.py:Net", inputs=("8,4",), mode="eval", max_params=10)
CONFIG = Config(paths=("src",), models=(NET,), exclude=("src/made/",))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("src/net.py", "src/made/parser.py", "tests/test_net.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*targets: str, root: Path, config: Config = CONFIG, asked: Model | None = None) -> Plan:
    return Plan.of(targets, config, asked or Model(""), root=root)


def test_without_targets_all_that_is_configured(project: Path) -> None:
    whole = plan(root=project)
    assert whole.files == (Path("src/net.py"),)
    assert [model for _, model in whole.models] == [NET]


def test_the_configuration_is_the_same_from_a_folder_below(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "tests")
    below = plan(root=project)
    assert below.files == (Path("../src/net.py"),)
    ((target, model),) = below.models
    assert (target.place, target.name) == ("../src/net.py", "Net")
    assert model == replace(NET, target="../src/net.py:Net")
    monkeypatch.chdir(project / "src")
    assert [model.target for _, model in plan(root=project).models] == ["net.py:Net"]
    # The model that is named here is the configured one.
    assert [model.max_params for _, model in plan("net.py:Net", root=project).models] == [10]


def test_exclusions_start_at_the_configurations_folder(project: Path) -> None:
    assert plan("src", root=project).files == (Path("src/net.py"),)
    assert plan(str(project / "src"), root=project).files == (project / "src/net.py",)


def test_a_file_that_is_named_is_excluded_only_by_force(project: Path) -> None:
    made = Path("src/made/parser.py")
    assert plan(str(made), root=project).files == (made,)
    forced = replace(CONFIG, force_exclude=True)
    for place in (str(made), str(project / made)):
        assert plan(place, "src/net.py", root=project, config=forced).files == (Path("src/net.py"),)


def test_the_command_line_goes_over_the_file(project: Path) -> None:
    asked = Model("", inputs=("2,4",), mode="train")
    for targets in ((), ("src/net.py:Net",)):
        ((_, model),) = plan(*targets, root=project, asked=asked).models
        assert model == replace(NET, inputs=("2,4",), mode="train")
    # What is not configured has only what the command line says.
    ((_, other),) = plan("src/net.py:Other", root=project, asked=asked).models
    assert other == replace(asked, target="src/net.py:Other")


def test_without_traces_models_are_named_and_their_files_read(project: Path) -> None:
    untraced = plan(root=project, config=replace(CONFIG, trace=False))
    assert (untraced.models, untraced.untraced) == ((), ("src/net.py:Net",))
    assert untraced.files == (Path("src/net.py"),)


def test_nothing_to_check_is_refused(project: Path) -> None:
    with pytest.raises(UsageError, match="nothing to check"):
        plan(root=project, config=Config())
