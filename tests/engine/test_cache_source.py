"""What is remembered of files is what reading them would give: tests that try to make it lie.

Every step is compared with `--no-cache`, byte for byte; and it is seen which files were read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from command import ROOT, archcheck

from archcheck.core.config import Config, Model
from archcheck.engine.cache.answers import Memory
from archcheck.engine.pipeline import run
from archcheck.output import render

pytestmark = pytest.mark.slow

BASE = """\
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 4)
"""
NET = """\
from torch import nn
from .base import Base

class Net(Base):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)

    def forward(self, x):
        return self.head(self.body(x))
"""
OTHER = """\
from torch import nn

class Other{number}(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, {number})

    def forward(self, x):
        return self.body(x)
"""
# What reads files says so, and may do something when it reads the first.
SPY = """\
import os, sys
import archcheck.engine.run_rules as reading
read_file = reading.read_file
def told(path, *rest):
    with open(os.environ["TOLD"], "a") as file:
        print(path, file=file)
    result = read_file(path, *rest)
    exec(os.environ.get("MEANWHILE", ""))
    return result
reading.read_file = told
from archcheck.frontends.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of enough files that results are kept, in a folder that is the project's root."""
    root = tmp_path / "project"
    folder = root / "net"
    folder.mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.archcheck]\n")
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text(BASE)
    (folder / "model.py").write_text(NET)
    for number in range(1, 10):
        (folder / f"other{number}.py").write_text(OTHER.format(number=number))
    return folder


def said(run: subprocess.CompletedProcess[str]) -> str:
    return f"{run.stdout}\n{run.stderr}\n{run.returncode}"


def read(folder: Path, *arguments: str, **environment: str) -> set[str]:
    """The files that a check of the project reads, having said what it says without a cache."""
    root = folder.parent
    told = root.parent / "told"
    told.unlink(missing_ok=True)
    arguments = arguments or ("net",)
    run = subprocess.run(
        [sys.executable, "-c", SPY, *arguments],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "TOLD": str(told)}
        | environment,
    )
    assert said(run) == said(archcheck(*arguments, "--no-cache", cwd=root))
    return set(told.read_text().split()) if told.exists() else set()


def findings(folder: Path, *arguments: str) -> str:
    return archcheck(*(arguments or ("net",)), "--format", "concise", cwd=folder.parent).stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_only_what_changed_is_read(package: Path) -> None:
    assert len(read(package)) == 12
    edit(package / "other3.py", "3)", "4)")
    assert read(package) == {"net/other3.py"}
    (package / "other3.py").write_text(OTHER.format(number=3) + "\n# said twice\n")
    assert read(package, "net", "--format", "json") == {"net/other3.py"}
    (package / "__init__.py").write_text("# nothing\n")
    assert read(package) == {"net/__init__.py"}


def test_a_base_class_in_another_file_is_seen(package: Path) -> None:
    read(package)
    edit(package / "base.py", "self.head", "self.tail")
    assert read(package) == {"net/base.py", "net/model.py"}
    assert "AC109" in findings(package)
    edit(package / "base.py", "self.tail", "self.head")
    read(package)
    assert "AC109" not in findings(package)


def test_a_base_of_a_base_is_seen(package: Path) -> None:
    (package / "middle.py").write_text("from .base import Base\n\nclass Middle(Base):\n    pass\n")
    edit(package / "model.py", ".base import Base", ".middle import Middle as Base")
    read(package)
    edit(package / "base.py", "self.head", "self.tail")
    assert read(package) == {"net/base.py", "net/middle.py", "net/model.py"}
    assert "AC109" in findings(package)


def test_an_import_whose_file_comes_and_goes(package: Path) -> None:
    (package / "base.py").unlink()
    read(package)
    assert "AC109" not in findings(package)
    (package / "base.py").write_text(BASE.replace("self.head", "self.tail"))
    assert read(package) >= {"net/base.py", "net/model.py"}
    assert "AC109" in findings(package)
    (package / "base.py").rename(package / "elsewhere.py")
    assert read(package) == {"net/model.py", "net/elsewhere.py"}
    assert "AC109" not in findings(package)


def test_a_module_that_shadows_another(package: Path) -> None:
    edit(package / "model.py", "from .base", "from base")
    read(package)
    assert "AC109" not in findings(package)
    (package.parent / "base.py").write_text(BASE.replace("self.head", "self.tail"))
    assert "net/model.py" in read(package)
    assert "AC109" in findings(package)


def test_a_package_that_becomes_a_plain_folder(package: Path) -> None:
    edit(package / "model.py", "from .base", "from net.base")
    edit(package / "base.py", "self.head", "self.tail")
    read(package)
    assert "AC109" in findings(package)
    (package / "__init__.py").unlink()
    read(package)
    package.rename(package.parent / "other")
    (package.parent / "net").mkdir()
    read(package, "other")


def test_a_sibling_that_sets_an_attribute_of_the_model(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    read(package)
    assert "AC109" in findings(package)
    edit(package / "other1.py", "from torch", "def change(net):\n    net.head = None\n\nfrom torch")
    assert read(package) >= {"net/other1.py", "net/model.py"}
    assert "AC109" not in findings(package)
    edit(package / "other1.py", "net.head = None", "net.head")
    read(package)
    assert "AC109" in findings(package)


def test_a_star_import_that_comes_to_define_a_base(package: Path) -> None:
    edit(
        package / "model.py", "from .base import Base", "from .base import *\nfrom .other1 import *"
    )
    edit(package / "base.py", "self.head", "self.tail")
    read(package)
    assert "AC109" in findings(package)
    text = (package / "other1.py").read_text()
    (package / "other1.py").write_text(text + "\n# nothing that has to do with it\n")
    assert read(package) == {"net/other1.py"}
    (package / "other1.py").write_text(text + "\n" + BASE)
    assert read(package) == {"net/other1.py", "net/model.py"}
    assert "AC109" not in findings(package)
    edit(package / "other1.py", "self.head", "self.tail")
    assert read(package) == {"net/other1.py", "net/model.py"}
    assert "AC109" in findings(package)


def test_a_subclass_that_no_longer_sets_an_attribute(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    (package / "below.py").write_text(
        "from torch import nn\nfrom .model import Net\n\nclass Below(Net):\n"
        "    def __init__(self):\n        super().__init__()\n        self.head = nn.Linear(8, 4)\n"
    )
    read(package)
    assert "AC109" not in findings(package)
    edit(package / "below.py", "self.head", "self.tail")
    assert read(package) >= {"net/below.py", "net/model.py"}
    assert "AC109" in findings(package)


def test_a_template_whose_program_comes(package: Path) -> None:
    edit(package / "base.py", "super().__init__()", "super().__init__(3)")
    (package / "base.py").rename(package / "modular_base.py")
    edit(package / "model.py", ".base", ".modular_base")
    read(package)
    before = findings(package)
    (package / "modeling_base.py").write_text("")
    assert "net/modular_base.py" in read(package)
    assert findings(package) != before


FOLDERS = ("package", "package/inner", ".")
IMPORTS = (
    ("from .{0} import {0}", "{0}"),
    ("from {0} import {0}", "{0}"),
    ("from .{0} import *", "{0}"),
    ("from . import {0}", "{0}.{0}"),
    ("from .. import {0}", "{0}.{0}"),
    ("from package.inner.{0} import {0}", "{0}"),
)


def module(name: str, names: Sequence[str], random: Random) -> str:
    """A file with a class of its own name, which may have a base in one of the other files."""
    line, base = random.choice(IMPORTS)
    other = random.choice(names)
    bases = random.choice(("nn.Module", base.format(other)))
    given, asked, also = (random.choice("abc") for _ in range(3))
    changes = f"def change(m):\n    m.{also} = None\n" if random.random() < 0.3 else ""
    return (
        f"from torch import nn\n{line.format(other)}\n{changes}"
        f"class {name}({bases}):\n"
        f"    def __init__(self):\n        super().__init__()\n"
        f"        self.{given} = nn.Linear(8, {random.choice((4, 8))})\n"
        f"    def forward(self, x):\n        return self.{also}(self.{asked}(x))\n"
    )


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_edited(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one package that import from each other in all ways are edited, come and go."""
    monkeypatch.chdir(tmp_path)
    random = Random(seed)
    names = [f"M{number}" for number in range(12)]
    for folder in FOLDERS:
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "__init__.py").write_text("")
    Path("__init__.py").unlink()
    for name in names:
        Path(random.choice(FOLDERS), f"{name}.py").write_text(module(name, names, random))
    config = Config(trace=False, select=("ALL",))

    def shown(memory: Memory | None) -> str:
        return render(run(["."], config, Model(""), root=tmp_path, memory=memory), "json")

    for _ in range(25):
        path = random.choice(sorted(tmp_path.rglob("M*.py")))
        match random.randrange(6):
            case 0:
                path.rename(tmp_path / random.choice(FOLDERS) / path.name)
            case 1:
                inner = tmp_path / "package/inner/__init__.py"
                if inner.exists():
                    inner.unlink()
                else:
                    inner.write_text(f"from .{path.stem} import *\n")
            case _:
                path.write_text(module(path.stem, names, random))
        assert shown(Memory(tmp_path)) == shown(None)


def test_suppressions_are_kept_and_seen(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    edit(package / "model.py", "(x))", "(x))  # archcheck: ignore[AC109]")
    edit(package / "other1.py", "(x)", "(x)  # archcheck: ignore[AC301]")
    read(package, "net", "--extend-select", "AC006")
    edit(package / "other2.py", "(x)", "(x)  # nothing")
    assert read(package, "net", "--extend-select", "AC006") == {"net/other2.py"}
    edit(package / "model.py", "  # archcheck: ignore[AC109]", "")
    assert read(package, "net", "--extend-select", "AC006") == {"net/model.py"}
    assert "AC109" in findings(package)


def test_other_rules_are_another_question(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    read(package, "net", "--ignore", "AC109")
    assert "AC109" in findings(package)
    assert len(read(package, "net", "--select", "AC301")) == 12
    (package.parent / "pyproject.toml").write_text('[tool.archcheck]\nignore = ["AC109"]\n')
    read(package)
    assert "AC109" not in findings(package)


def test_source_roots_are_seen(package: Path) -> None:
    edit(package / "model.py", "from .base", "from library.base")
    (package.parent / "extra/library").mkdir(parents=True)
    (package / "base.py").rename(package.parent / "extra/library/base.py")
    edit(package.parent / "extra/library/base.py", "self.head", "self.tail")
    read(package)
    assert "AC109" not in findings(package)
    (package.parent / "pyproject.toml").write_text('[tool.archcheck]\nsource-roots = ["extra"]\n')
    read(package)
    assert "AC109" in findings(package)
    edit(package.parent / "extra/library/base.py", "self.tail", "self.head")
    assert read(package) == {"net/model.py"}


def test_a_renamed_and_a_removed_file(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    read(package)
    (package / "model.py").rename(package / "renamed.py")
    assert "net/renamed.py" in read(package)
    assert "net/renamed.py" in findings(package)
    (package / "renamed.py").unlink()
    read(package)
    assert "AC109" not in findings(package)


def test_files_that_cannot_be_read_or_parsed(package: Path) -> None:
    (package / "other1.py").write_text("class Other(\n")
    (package / "other2.py").write_bytes(bytes(range(256)))
    (package / "base.py").write_bytes(bytes(range(256)))
    read(package)
    (package / "other3.py").write_text("")
    assert read(package) == {"net/other2.py", "net/base.py", "net/other3.py"}
    (package / "base.py").write_text(BASE.replace("self.head", "self.tail"))
    read(package)
    assert "AC109" in findings(package)


def test_documents_beside_the_package(package: Path) -> None:
    (package / "README.md").write_text(
        f"# Text\n\n```python\n{OTHER}\n```\n\n```python\n$ x\n```\n"
    )
    read(package)
    edit(package / "other2.py", "(x)", "(x)  # nothing")
    assert read(package) == {"net/other2.py"}


def test_the_same_files_spelled_otherwise(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    read(package)
    for spelled in ("./net", str(package), "../project/net"):
        read(package, spelled)
        edit(package / "model.py", "8, 8", "8, 8 + 0")
        read(package, spelled)
        edit(package / "model.py", "8, 8 + 0", "8, 8")


def test_damaged_entries_count_as_none(package: Path) -> None:
    read(package)
    for damage in (
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ):
        for path in (package.parent / ".archcheck_cache").glob("??/*"):
            path.write_bytes(damage(path.read_bytes()))
        assert len(read(package)) == 12


def test_two_runs_at_once(package: Path) -> None:
    edit(package / "base.py", "self.head", "self.tail")
    expected = archcheck("net", "--no-cache", cwd=package.parent).stdout
    command = [sys.executable, "-m", "archcheck", "net"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    runs = [
        subprocess.Popen(
            command, cwd=package.parent, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [run.communicate()[0] for run in runs] == [expected] * 3
    edit(package / "other1.py", "(x)", "(x)  # nothing")
    assert read(package) == {"net/other1.py"}


def test_a_file_that_changes_while_it_is_checked_is_not_kept(package: Path) -> None:
    worse = BASE.replace("self.head", "self.tail")
    change = f"if path.name == 'model.py': open('net/base.py', 'w').write({worse!r})"
    program = [sys.executable, "-c", SPY, "net"]
    environment = {"PYTHONPATH": str(ROOT), "TOLD": str(package.parent.parent / "told")}
    for meanwhile in (
        change,
        f"if path.name == 'base.py': open('net/base.py', 'w').write({worse!r})",
    ):
        (package / "base.py").write_text(BASE)
        subprocess.run(
            program,
            cwd=package.parent,
            env=os.environ | environment | {"MEANWHILE": meanwhile},
            check=False,
            capture_output=True,
        )
        assert (package / "base.py").read_text() == worse
        read(package)
        assert "AC109" in findings(package)


def test_fixes_are_tried_on_what_they_would_leave(package: Path) -> None:
    edit(package / "other1.py", "super().__init__()", "pass")
    read(package)
    assert "AC101" in findings(package)
    edit(package / "other2.py", "(x)", "(x)  # nothing")
    read(package)
    read(package, "net", "--diff")
    archcheck("net", "--fix", cwd=package.parent)
    assert "net/other2.py" not in read(package)


def test_texts_in_the_place_of_files_are_not_remembered(package: Path) -> None:
    read(package)
    worse = BASE.replace("self.head", "self.tail")
    run = archcheck("net", "-", "--stdin-filename", "net/base.py", cwd=package.parent, stdin=worse)
    assert "AC109" in run.stdout
    assert read(package) == set()
    assert "AC109" not in findings(package)


def test_it_can_be_turned_off(package: Path) -> None:
    (package.parent / "pyproject.toml").write_text("[tool.archcheck]\ncache = false\n")
    archcheck("net", cwd=package.parent)
    assert not (package.parent / ".archcheck_cache").exists()
