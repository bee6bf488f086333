"""The cache's folder, and the facts: what is damaged counts as none, and what changed is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.core.dependencies import Dependencies
from archcheck.core.facts import DependencyRecorder, Filesystem, digest
from archcheck.engine.cache import store
from archcheck.engine.cache.answers import Memory
from archcheck.engine.cache.store import Store

NOTHING = Dependencies(frozenset(), {}, {}, {})


def entry_of(folder: Path, key: str) -> Path:
    return folder / ".archcheck_cache" / key[:2] / key[2:]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    shelf = Store(tmp_path)
    shelf.prepare()
    shelf.write("abcd", b"one")
    assert Store(tmp_path).read("abcd") == b"one"
    assert shelf.read("abce") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_no_entry(tmp_path: Path, data: bytes) -> None:
    memory = Memory(tmp_path)
    key = memory.key("question")
    memory.keep(key, "answer", NOTHING)
    path = entry_of(tmp_path, key)
    path.write_bytes(data)
    assert memory.recall(key) is None
    # Even where the sum is right, nothing is built of it but plain data.
    Store(tmp_path).write(key, data)
    assert Memory(tmp_path).recall(key) is None


def test_code_in_an_entry_is_not_run(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    ran = tmp_path / "ran"
    program = f"cos\nsystem\n(S'touch {ran}'\ntR.".encode()
    shelf = Store(tmp_path)
    shelf.prepare()
    key = memory.key("question")
    shelf.write(key, len(program).to_bytes(8, "little") + program)
    assert memory.recall(key) is None
    assert not ran.exists()


def test_the_oldest_go_when_there_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_BYTES", 3000)
    monkeypatch.setattr(store, "_AFTER_TRIMMING", 2000)
    shelf = Store(tmp_path)
    shelf.prepare()
    keys = [f"{number:04}" for number in range(4)]
    for age, key in enumerate(reversed(keys)):
        shelf.write(key, bytes(900))
        os.utime(entry_of(tmp_path, key), (1e9 + age, 1e9 + age))
    assert shelf.read(keys[3]) is not None  # used just now, so no longer the oldest
    shelf.trim()
    left = [key for key in keys if Store(tmp_path).read(key) is not None]
    assert left == [keys[0], keys[3]]
    assert (tmp_path / ".archcheck_cache/.gitignore").exists()


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    shelf = Store(tmp_path)
    shelf.prepare()
    half = tmp_path / ".archcheck_cache/half-1-abcd"
    half.write_bytes(b"")
    os.utime(half, (1e9, 1e9))
    shelf.write("abcd", b"one")
    shelf.trim()
    assert not half.exists()


def test_an_answer_holds_as_long_as_its_facts(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("one")
    folder.mkdir()
    memory = Memory(tmp_path)
    notes = DependencyRecorder()
    notes.add("content", str(file))
    notes.add("packages", str(folder))
    notes.add("python", str(folder))
    memory.keep("key", ["answer", 1], notes.dependencies())

    def recalled() -> object:
        found = Memory(tmp_path).recall("key")
        return found and found[0]

    assert recalled() == ["answer", 1]
    (folder / "notes.txt").write_text("no module")
    assert recalled() == ["answer", 1]
    (folder / "module.py").write_text("")
    assert recalled() is None
    (folder / "module.py").unlink()
    assert recalled() == ["answer", 1]
    file.write_text("two")
    assert recalled() is None
    file.unlink()
    assert recalled() is None


def test_what_changed_while_it_was_found_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    memory = Memory(tmp_path)
    notes = DependencyRecorder()
    notes.add("content", str(file))
    file.write_text("two")
    memory.keep("key", "of one", notes.dependencies())
    assert memory.recall("key") is None


def test_what_cannot_be_seen_is_not_kept(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    notes = DependencyRecorder()
    notes.include_unseen("the network")
    memory.keep("key", "answer", notes.dependencies())
    assert memory.recall("key") is None


def test_an_installed_file_that_changed_ends_all_answers_that_share_it(tmp_path: Path) -> None:
    file = tmp_path / "installed.py"
    file.write_text("one")
    memory = Memory(tmp_path)
    stamps = {str(file): Filesystem().look(("stamp", str(file)))}
    for key in ("first", "second"):
        memory.keep(key, "answer", Dependencies(frozenset(), {}, {}, stamps))
    assert Memory(tmp_path).recall("second") is not None
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    later = Memory(tmp_path)
    assert later.recall("first") is None and later.recall("second") is None


def test_questions_are_told_apart(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.key("a", "b") != memory.key("ab")
    assert memory.key(1) != memory.key("1")
    assert digest("a", "b") != digest("ab", "")


def test_an_edited_rule_asks_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "rule.py").write_text("one")
    monkeypatch.setattr("archcheck.engine.cache.answers.pack_folders", lambda: [(pack, "pack")])
    before = Memory(tmp_path).key("question")
    assert Memory(tmp_path).key("question") == before
    (pack / "rule.py").write_text("two")
    assert Memory(tmp_path).key("question") != before
    (pack / "rule.py").write_text("one")
    (pack / "another.py").write_text("")
    assert Memory(tmp_path).key("question") != before
