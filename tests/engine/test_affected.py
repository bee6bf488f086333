"""Which configured models a change concerns, from source alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import run

from archcheck.core.config import Config, Model
from archcheck.core.target import UsageError
from archcheck.engine.affected import affected_models

FILES = {
    "src/vision/__init__.py": "",
    "src/vision/layers.py": "from torch import nn\nfrom vision import sizes\n",
    "src/vision/sizes.py": "WIDTH = 8\n",
    "src/vision/net.py": "def build():\n    from .layers import Block\n    return Block()\n",
    "src/vision/data.py": "import vision.net\n",
    "src/text.py": "import torch\nimport json\n",
    "notes.md": "```python\nfrom src.text import Encoder\n```\n",
    "inputs.py": "def batch():\n    return 1\n",
}
NET = Model("src/vision/net.py:build")
TEXT = Model("src/text.py:Encoder", input_from="inputs.py:batch")
NOTES = Model("notes.md:Net")
DOTTED = Model("vision.net:build")
CONFIG = Config(models=(NET, TEXT, NOTES, DOTTED))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "models"),
    [
        (["src/vision/net.py"], [NET, DOTTED]),
        (["src/vision/layers.py"], [NET, DOTTED]),
        # Imported by what the model imports.
        (["src/vision/sizes.py"], [NET, DOTTED]),
        (["src/vision/__init__.py"], [NET, DOTTED]),
        # It imports the model, not the other way round.
        (["src/vision/data.py"], []),
        (["src/text.py"], [TEXT, NOTES]),
        (["inputs.py"], [TEXT]),
        (["notes.md"], [NOTES]),
        (["src/vision"], [NET, DOTTED]),
        (["README.md", "gone.py"], []),
        ([], []),
        (["pyproject.toml"], [NET, TEXT, NOTES, DOTTED]),
        (["archcheck.lock"], [NET, TEXT, NOTES, DOTTED]),
    ],
    ids=lambda value: " ".join(map(str, value)) if value and isinstance(value[0], str) else "",
)
def test_the_models_that_a_change_concerns(
    root: Path, changed: list[str], models: list[Model]
) -> None:
    assert affected_models(changed, CONFIG, root) == tuple(models)


def test_paths_are_those_of_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "src")
    assert affected_models(["vision/sizes.py"], CONFIG, root) == (NET, DOTTED)
    assert affected_models([str(root / "notes.md")], CONFIG, root) == (NOTES,)


def test_a_model_that_cannot_be_read_is_always_concerned(root: Path) -> None:
    gone = Model("src/gone.py:Net")
    assert affected_models(["src/text.py"], Config(models=(gone,)), root) == (gone,)
    assert affected_models([], Config(models=(gone,)), root) == ()


def test_a_wrong_call_says_what_to_mend(root: Path) -> None:
    with pytest.raises(UsageError, match="names no models"):
        affected_models(["src/text.py"], Config(), root)
    with pytest.raises(UsageError, match="name the files"):
        affected_models(["src/text.py:Encoder"], CONFIG, root)


def test_the_command_checks_what_is_affected_and_nothing_else(root: Path) -> None:
    (root / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "src/vision/net.py:build"\n'
    )
    call = ("archcheck", "--no-trace", "--format", "concise", "--affected")
    concerned = run(*call, "src/vision/sizes.py", cwd=root)
    assert (concerned.returncode, concerned.stderr) == (0, "")
    assert "src/vision/net.py:build: not traced" in concerned.stdout
    assert "1 file" in concerned.stdout
    calm = run(*call, "src/text.py", cwd=root)
    assert (calm.returncode, calm.stderr) == (0, "")
    assert "no configured model is made of these files" in calm.stdout
    wrong = run(*call, "src/text.py:Encoder", cwd=root)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
