"""The language server, as an editor meets it: diagnostics from the source."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")
pytest.importorskip("pytest_lsp", reason="the protocol client of these tests")

import pytest_asyncio
from lsp_editor import SERVER, Editor, codes, covered
from lsprotocol import types
from pytest_lsp import ClientServerConfig

pytestmark = [pytest.mark.editor, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

BROKEN = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)
"""
CLEAN = BROKEN.replace("        self.layer", "        super().__init__()\n        self.layer", 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def editor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Editor]:
    """One server for all tests that do not ask for a special one."""
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path_factory.mktemp("project"))
    await editor.start()
    yield editor
    await client.shutdown_session()
    await client.stop()


async def test_a_file_is_checked_when_it_is_opened(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", BROKEN)
    (found,) = await editor.diagnostics(uri)
    assert (found.code, found.source, found.severity) == (
        "AC101",
        "archcheck",
        types.DiagnosticSeverity.Error,
    )
    assert "super().__init__()" in found.message


async def test_a_change_is_checked_and_what_was_mended_goes(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", BROKEN)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]
    editor.edit(uri, CLEAN)
    assert await editor.diagnostics(uri) == []


async def test_a_storm_of_edits_ends_with_the_findings_of_the_last_text(
    editor: Editor, tmp_path: Path
) -> None:
    uri = editor.open(tmp_path / "net.py", BROKEN)
    for number in range(60):
        editor.edit(uri, (CLEAN if number % 2 else BROKEN) + f"# {number}\n")
    assert await editor.diagnostics(uri) == []
    editor.edit(uri, BROKEN)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


async def test_ranges_that_change_are_put_where_the_editor_means_them(
    editor: Editor, tmp_path: Path
) -> None:
    # A form feed is a line's end for str.splitlines, and for no editor.
    text = "# 🔥\f plain\n" + CLEAN
    uri = editor.open(tmp_path / "net.py", text)
    assert await editor.diagnostics(uri) == []
    line = text.split("\n").index("        super().__init__()")
    editor.change(
        uri,
        types.TextDocumentContentChangePartial(
            types.Range(types.Position(line, 0), types.Position(line + 1, 0)), ""
        ),
    )
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


async def test_a_text_that_does_not_parse_says_where(editor: Editor, tmp_path: Path) -> None:
    text = CLEAN + "    def more(self, x:\n        return x\n"
    uri = editor.open(tmp_path / "net.py", text)
    (found,) = await editor.diagnostics(uri)
    assert found.code == "AC001"
    assert found.range.start.line == text.split("\n").index("    def more(self, x:")


async def test_a_finding_tells_its_page_and_the_other_places(
    editor: Editor, tmp_path: Path
) -> None:
    text = CLEAN.replace("nn.Linear(4, 2)", "nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))")
    uri = editor.open(tmp_path / "net.py", text)
    (found,) = await editor.diagnostics(uri)
    assert found.code == "AC201"
    assert found.code_description is not None
    assert found.code_description.href.endswith("/linear_in_features.py")
    related = {
        covered(text, one.location.range): one.location.uri
        for one in found.related_information or ()
    }
    assert related["nn.Linear(4, 3)"] == uri


async def test_code_that_does_nothing_is_marked_as_unnecessary(
    editor: Editor, tmp_path: Path
) -> None:
    text = CLEAN.replace("nn.Linear(4, 2)", "nn.Linear(4, 2)\n        self.spare = nn.ReLU()", 1)
    uri = editor.open(tmp_path / "net.py", text)
    (found,) = await editor.diagnostics(uri)
    assert (found.code, found.tags) == ("AC108", (types.DiagnosticTag.Unnecessary,))


async def test_blocks_of_a_markdown_document_are_checked(editor: Editor, tmp_path: Path) -> None:
    text = "# Notes\n\n- a model:\n\n  ```python\n" + "".join(
        f"  {line}".rstrip() + "\n" for line in BROKEN.splitlines()
    )
    uri = editor.open(tmp_path / "notes.md", text + "  ```\n", "markdown")
    (found,) = await editor.diagnostics(uri)
    assert found.code == "AC101"
    assert "__init__" in text.split("\n")[found.range.start.line]


async def test_cells_of_a_notebook_are_checked_together(editor: Editor, tmp_path: Path) -> None:
    uri = (tmp_path / "book.ipynb").as_uri()
    head, body = BROKEN.split("\n\n\n")
    texts = {"a": "Words", "b": head, "c": "%matplotlib inline\n" + body}
    kinds = {"a": types.NotebookCellKind.Markup}
    cells = [
        types.NotebookCell(kinds.get(name, types.NotebookCellKind.Code), f"{uri}#{name}")
        for name in texts
    ]
    items = [
        types.TextDocumentItem(f"{uri}#{name}", "python" if name != "a" else "markdown", 1, text)
        for name, text in texts.items()
    ]
    editor.client.notebook_document_did_open(
        types.DidOpenNotebookDocumentParams(
            types.NotebookDocument(uri, "jupyter-notebook", 1, cells), items
        )
    )
    (found,) = await editor.diagnostics(f"{uri}#c")
    assert found.code == "AC101"
    assert found.range.start.line == texts["c"].split("\n").index("    def __init__(self):")
    assert await editor.diagnostics(f"{uri}#b") == []
    document = types.VersionedTextDocumentIdentifier(2, f"{uri}#c")
    mended = "%matplotlib inline\n" + CLEAN.split("\n\n\n")[1]
    change = types.NotebookDocumentCellContentChanges(
        document, [types.TextDocumentContentChangeWholeDocument(mended)]
    )
    editor.client.notebook_document_did_change(
        types.DidChangeNotebookDocumentParams(
            types.VersionedNotebookDocumentIdentifier(2, uri),
            types.NotebookDocumentChangeEvent(
                cells=types.NotebookDocumentCellChanges(text_content=[change])
            ),
        )
    )
    assert await editor.diagnostics(f"{uri}#c", lambda found: not found) == []


async def test_a_notebook_that_is_shown_as_json_is_checked_too(
    editor: Editor, tmp_path: Path
) -> None:
    cell = {"cell_type": "code", "metadata": {}, "source": BROKEN.splitlines(keepends=True)}
    text = json.dumps({"cells": [cell], "nbformat": 4}, indent=1)
    uri = editor.open(tmp_path / "book.ipynb", text, "json")
    (found,) = await editor.diagnostics(uri)
    assert (found.code, covered(text, found.range)) == ("AC101", "__init__")


async def test_what_is_closed_keeps_no_findings(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", BROKEN)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]
    editor.close(uri)
    await editor.diagnostics(uri, lambda found: not found)


async def test_what_is_closed_at_once_gets_no_findings_later(
    editor: Editor, tmp_path: Path
) -> None:
    gone = editor.open(tmp_path / "gone.py", BROKEN)
    editor.close(gone)
    # Documents are looked at one after the other.
    for name in ("one.py", "two.py"):
        assert codes(await editor.diagnostics(editor.open(tmp_path / name, BROKEN))) == ["AC101"]
    assert gone not in editor.published or not editor.published[gone].diagnostics


async def test_a_base_class_is_read_from_the_buffer_that_is_not_saved(
    editor: Editor, tmp_path: Path
) -> None:
    (tmp_path / "base.py").write_text("class Base: ...\n", encoding="utf-8")
    editor.open(tmp_path / "base.py", "from torch import nn\n\n\nclass Base(nn.Module): ...\n")
    text = BROKEN.replace("nn.Module", "Base").replace("import torch\n", "from base import Base\n")
    uri = editor.open(tmp_path / "net.py", text)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


async def test_a_document_without_a_file_is_checked(editor: Editor) -> None:
    uri = editor.open("untitled:Untitled-1", BROKEN)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


async def test_comments_and_the_projects_settings_silence_findings(
    editor: Editor, tmp_path: Path
) -> None:
    text = BROKEN.replace("(self):", "(self):  # archcheck: ignore[AC101]", 1)
    uri = editor.open(tmp_path / "net.py", text)
    assert await editor.diagnostics(uri) == []
    (tmp_path / "pyproject.toml").write_text('[tool.archcheck]\nignore = ["AC1"]\n')
    uri = editor.open(tmp_path / "other.py", BROKEN)
    assert await editor.diagnostics(uri) == []


async def test_what_the_baseline_lets_stand_is_not_shown(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.archcheck]\nbaseline = "known.json"\n')
    (tmp_path / "net.py").write_text(BROKEN, encoding="utf-8")
    command = [sys.executable, "-m", "archcheck", "net.py", "--write-baseline"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    uri = editor.open(tmp_path / "net.py")
    assert await editor.diagnostics(uri) == []
    editor.edit(uri, BROKEN + BROKEN.replace("Net", "Other"))
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


async def test_settings_that_are_wrong_are_told_once(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.archcheck]\nignored = []\n")
    uri = editor.open(tmp_path / "net.py", BROKEN)
    told = await editor.until(
        lambda: [one.message for one in editor.messages if "ignored" in one.message] or None
    )
    assert len(told) == 1
    assert told[0].endswith("has no key 'ignored'; did you mean 'ignore'?")
    (tmp_path / "pyproject.toml").write_text("")
    editor.edit(uri, BROKEN)
    assert codes(await editor.diagnostics(uri)) == ["AC101"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_positions_count_as_the_editor_counts(tmp_path: Path, encoding: str) -> None:
    text = (
        "from torch import nn\n\n网, 火 = '🔥🔥', nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))\n"
    )
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path)
    await editor.start([encoding])
    assert editor.result.capabilities.position_encoding == encoding
    uri = editor.open(tmp_path / "net.py", text)
    (found,) = await editor.diagnostics(uri)
    assert covered(text, found.range, encoding) == "nn.Linear(5, 2)"
    await client.shutdown_session()
    await client.stop()
