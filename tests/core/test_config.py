from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcheck.core.config import Config, Model, parse_bytes, parse_count, parse_shape, read_config
from archcheck.core.finding import Severity
from archcheck.core.target import UsageError


def configured(folder: Path, text: str) -> Config:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_config(folder)[0]


def test_every_key_is_read(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        """
        [tool.archcheck]
        paths = ["src"]
        extend-select = ["AC306"]
        ignore = ["AC504"]
        fail-on = "error"
        per-file-ignores = { "tests/**" = ["AC5"] }
        memory-limit = "8GiB"
        timeout = 5

        [[tool.archcheck.models]]
        target = "src/models/resnet.py:ResNet32"
        input = ["8,3,224,224"]
        mode = "eval"
        max-params = "25M"
        max-memory = "1.5GB"
        expect-output = "8,2"
        """,
    )
    assert config == Config(
        paths=("src",),
        extend_select=("AC306",),
        ignore=("AC504",),
        fail_on=Severity.ERROR,
        per_file_ignores={"tests/**": ("AC5",)},
        memory_limit=8 * 1024**3,
        timeout=5.0,
        models=(
            Model(
                target="src/models/resnet.py:ResNet32",
                inputs=("8,3,224,224",),
                mode="eval",
                max_params=25_000_000,
                max_memory=1_500_000_000,
                expect_output=(8, 2),
            ),
        ),
    )


def test_the_nearest_file_above_holds(tmp_path: Path) -> None:
    configured(tmp_path, "[tool.archcheck]\npaths = ['src']\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    # A pyproject.toml without the section is passed over, as that of a subpackage would be.
    (below / "pyproject.toml").write_text("[project]\nname = 'b'\n")
    config, root = read_config(below)
    assert config.paths == ("src",)
    assert root == tmp_path


def test_a_file_above_is_named_as_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.archcheck]\npathz = []\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(UsageError) as caught:
        read_config(Path.cwd())
    assert str(caught.value).startswith(str(Path("..", "pyproject.toml")))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[tool.archcheck]\nselct = []", ["pyproject.toml", "'selct'", "'select'"]),
        ("[tool.archcheck]\npaths = 'src'", ["paths", "list of strings"]),
        ("[tool.archcheck]\nfail-on = 'fatal'", ["fail-on", "fatal", "error, warning, note"]),
        ("[tool.archcheck]\ntimeout = true", ["timeout", "seconds"]),
        ("[tool.archcheck]\nmodels = 3", ["models", "array of tables"]),
        ("[[tool.archcheck.models]]\ninput = ['1']", ["models", "number 1", "target"]),
        ("[[tool.archcheck.models]]\ntarget = 'a:B'\nmax-parms = 1", ["max-parms", "max-params"]),
        ("[[tool.archcheck.models]]\ntarget = 'a:B'\nmax-params = '25X'", ["max-params", "25X"]),
        ("[[tool.archcheck.models]]\ntarget = 'a.py'", ["target", "'a.py'", "`a.py:name`"]),
        ("[[tool.archcheck.models]]\ntarget = 'a:B'\ninput = ['8,,3']", ["input", "8,,3"]),
        ("[[tool.archcheck.models]]\ntarget = 'a:B'\ninput-from = 'b.py'", ["input-from", "b.py"]),
        (
            "[tool.archcheck]\nignore = ['AC209', 'AC999']",
            ["toml", "ignore", "'AC999'", "did you mean 'AC"],
        ),
        ("[tool.archcheck]\nselect = ['AC2O1']", ["select", "'AC2O1'", "'AC2"]),
        (
            "[tool.archcheck.per-file-ignores]\n'tests/**' = ['AC5', 'ACX']",
            ["per-file-ignores", "tests/**", "'ACX'"],
        ),
        ("tool = 3\n[tool.archcheck]", ["pyproject.toml"]),
        ("[tool]\narchcheck = 3", ["[tool.archcheck]", "table"]),
        ("[tool.archcheck]\ntimeout = nan", ["timeout", "positive"]),
        ("[tool.archcheck\n", ["pyproject.toml", "line 1"]),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        configured(tmp_path, text)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [("25M", 25_000_000), ("4G", 4 * 10**9), ("1_000", 1000), (7, 7), ("2.5k", 2500)],
)
def test_counts(text: str | int, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("8GiB", 8 * 2**30), ("8GB", 8 * 10**9), ("512", 512), ("1.5 MiB", 1572864)]
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@given(st.text())
def test_numbers_and_shapes_are_read_or_refused(text: str) -> None:
    for reader in (parse_count, parse_bytes, parse_shape):
        with suppress(ValueError):
            assert reader(text)  # type: ignore[operator]
