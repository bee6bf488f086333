"""docs/configuration.md says what the configuration is: every key, and nothing else."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from archcheck.core.config import CONFIG_KEYS, LOSSES, MODEL_KEYS, Config, Model, read_config
from archcheck.core.finding import Severity

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> dict[str, list[str]]:
    """The rows of a section's table, by their keys."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return {key.strip("` "): rest for key, *rest in cells}


def test_every_key_has_a_row_and_every_row_a_key() -> None:
    assert set(rows("`[tool.archcheck]`")) == set(CONFIG_KEYS)
    assert set(rows("`[[tool.archcheck.models]]`")) == set(MODEL_KEYS)


def test_every_setting_can_be_configured() -> None:
    assert {name for name, _ in CONFIG_KEYS.values()} == {field.name for field in fields(Config)}
    assert {name for name, _ in MODEL_KEYS.values()} == {field.name for field in fields(Model)}


def test_defaults_that_are_named_are_the_defaults() -> None:
    default = Config()
    for key, (_type, said, _meaning) in rows("`[tool.archcheck]`").items():
        if said.startswith("`"):
            value = getattr(default, CONFIG_KEYS[key][0])
            empty = {(): "[]"} if isinstance(value, tuple) else {}
            shown = empty.get(value) if empty else _toml(value)
            assert said == f"`{shown}`", key


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Severity():
            return f'"{value}"'
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def test_choices_are_all_named() -> None:
    page = rows("`[[tool.archcheck.models]]`")
    assert re.findall(r'"(\w+)"', page["loss"][0]) == list(LOSSES)
    severities = re.findall(r'"(\w+)"', rows("`[tool.archcheck]`")["fail-on"][0])
    assert set(severities) == {severity.value for severity in Severity}


def test_the_example_is_accepted(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    (tmp_path / "pyproject.toml").write_text(example[1], encoding="utf-8")
    config, root = read_config(tmp_path)
    assert root == tmp_path
    assert [model.max_params for model in config.models] == [25_000_000, None]
    assert set(tomllib.loads(example[1])["tool"]["archcheck"]) <= set(CONFIG_KEYS)
