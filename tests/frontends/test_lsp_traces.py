"""The language server and traced models: shapes beside the code, costs, what a change leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")
pytest.importorskip("pytest_lsp", reason="the protocol client of these tests")

import pytest_asyncio
from command import archcheck
from lsp_editor import SERVER, Editor, codes, covered
from lsprotocol import types
from pytest_lsp import ClientServerConfig

pytestmark = [pytest.mark.editor, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

NET = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = self.blocks(x)
        x = x.mean((2, 3))
        return self.head(x)
"""
PARAMETERS = (3 * 8 * 9 + 8) + 2 * (8 * 8 * 9 + 8) + (8 * 10 + 10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def editor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Editor]:
    """One server, whose worker all tests share."""
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path_factory.mktemp("project"))
    await editor.start()
    yield editor
    await client.shutdown_session()
    await client.stop()


def at(text: str, line: str) -> int:
    """The number, from 0, of a line of a text."""
    return [one.strip() for one in text.split("\n")].index(line)


async def hints(editor: Editor, uri: str, wanted: str) -> dict[int, str]:
    """The hints by line, once one of them is as `wanted`."""
    while True:
        seen = len(editor.refreshes)
        found = await editor.client.text_document_inlay_hint_async(
            types.InlayHintParams(
                types.TextDocumentIdentifier(uri),
                types.Range(types.Position(0, 0), types.Position(1000, 0)),
            )
        )
        labels = {hint.position.line: str(hint.label) for hint in found or ()}
        if wanted in labels.values():
            return labels
        await editor.until(lambda seen=seen: len(editor.refreshes) > seen or None)


async def traced(editor: Editor, path: Path, text: str = NET, *inputs: str) -> str:
    path.write_text(text, encoding="utf-8")
    uri = editor.open(path)
    await request_trace(editor, uri, "Net", *(inputs or ("2,3,32,32",)))
    return uri


async def request_trace(editor: Editor, uri: str, *arguments: str) -> None:
    await execute(editor, "archcheck.trace", uri, *arguments)


async def execute(editor: Editor, command: str, *arguments: str) -> None:
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams(command, list(arguments))
    )


async def test_shapes_stand_beside_the_lines_of_the_model_that_was_asked_for(
    editor: Editor, tmp_path: Path
) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    found = await hints(editor, uri, "x: [2, 8]")
    assert found == {
        at(NET, "def forward(self, x):"): "x ×2: [2, 8, 32, 32]",
        at(NET, "return torch.relu(self.conv(x)) + x"): "return ×2: [2, 8, 32, 32]",
        at(NET, "x = torch.relu(self.stem(x))") - 1: "x: [2, 3, 32, 32]",
        at(NET, "x = torch.relu(self.stem(x))"): "x: [2, 8, 32, 32]",
        at(NET, "x = self.blocks(x)"): "x: [2, 8, 32, 32]",
        at(NET, "x = x.mean((2, 3))"): "x: [2, 8]",
        at(NET, "return self.head(x)"): "return: [2, 10]",
    }


async def test_the_class_says_what_the_model_costs(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET, encoding="utf-8")
    uri = editor.open(path)
    before = await lenses(editor, uri)
    assert before == {
        "Block": ("archcheck: trace this model", "archcheck.trace", [uri, "Block"]),
        "Net": ("archcheck: trace this model", "archcheck.trace", [uri, "Net"]),
    }
    await request_trace(editor, uri, "Net", "2,3,32,32")
    await hints(editor, uri, "x: [2, 8]")
    after = await lenses(editor, uri)
    title, command, arguments = after["Net"]
    macs = 2 * 32 * 32 * (3 * 8 * 9 + 2 * 8 * 8 * 9) + 2 * 8 * 10
    assert title == (
        f"{PARAMETERS / 1000:.2f} k parameters · {macs / 1e6:.2f} MMACs · input x [2, 3, 32, 32]"
    )
    assert (command, arguments) == ("archcheck.chooseInput", [uri, "Net"])
    assert after["Block"] == before["Block"]


async def lenses(editor: Editor, uri: str) -> dict[str, tuple[str, str, list[str]]]:
    """What stands above each class: title, command and its arguments."""
    found = await editor.client.text_document_code_lens_async(
        types.CodeLensParams(types.TextDocumentIdentifier(uri))
    )
    result = {}
    for lens in found or ():
        assert lens.command is not None
        name = covered(NET, lens.range)
        arguments = list(lens.command.arguments or ())
        result[name] = (lens.command.title, lens.command.command, arguments)
    return result


async def hover(editor: Editor, uri: str, text: str, line: str, word: str) -> str:
    position = types.Position(at(text, line), text.split("\n")[at(text, line)].index(word) + 1)
    found = await editor.client.text_document_hover_async(
        types.HoverParams(types.TextDocumentIdentifier(uri), position)
    )
    if found is None:
        return ""
    assert isinstance(found.contents, types.MarkupContent)
    return found.contents.value


async def test_a_submodule_tells_what_it_is_and_costs(editor: Editor, tmp_path: Path) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    await hints(editor, uri, "x: [2, 8]")
    stem = await hover(editor, uri, NET, "x = torch.relu(self.stem(x))", "stem")
    for part in (
        "`stem`",
        "nn.Conv2d(3, 8, 3, padding=1)",
        "in: input [2, 3, 32, 32]",
        "out: [2, 8, 32, 32]",
        "called once",
        "224 parameters, 442.4 k MACs",
    ):
        assert part in stem
    constructed = await hover(
        editor, uri, NET, "self.stem = nn.Conv2d(3, 8, 3, padding=1)", "Conv2d"
    )
    assert constructed == stem
    both = await hover(editor, uri, NET, "return torch.relu(self.conv(x)) + x", "self.conv")
    assert "2 modules" in both
    assert "| `blocks.0.conv` | input [2, 8, 32, 32] | [2, 8, 32, 32] | 584 |" in both
    assert "| `blocks.1.conv` |" in both
    assert await hover(editor, uri, NET, "x = x.mean((2, 3))", "mean") == ""


async def test_what_only_a_trace_can_see_is_shown_and_goes_when_its_lines_change(
    editor: Editor, tmp_path: Path
) -> None:
    text = NET.replace("nn.Linear(8, 10)", "nn.Linear(9, 10)")
    uri = await traced(editor, tmp_path / "net.py", text)
    (found,) = await editor.diagnostics(uri, lambda found: bool(found))
    assert found.code == "AC201"
    assert found.range.start.line == at(text, "return self.head(x)")
    # Above it, a line more: the finding moves along.
    editor.edit(uri, "# a word\n" + text)
    (moved,) = await editor.diagnostics(uri)
    assert moved.range.start.line == found.range.start.line + 1
    # The line that it speaks of: the finding goes until the next trace.
    editor.edit(uri, NET)
    assert await editor.diagnostics(uri) == []


async def test_shapes_stay_with_their_lines_while_the_program_is_the_same(
    editor: Editor, tmp_path: Path
) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    before = await hints(editor, uri, "x: [2, 8]")
    text = NET.replace("        x = x.mean((2, 3))", "\n        # why\n        x = x.mean(\n(2,3))")
    editor.edit(uri, text)
    found = await hints(editor, uri, "x: [2, 8]")
    assert found[at(text, "x = x.mean(")] == "x: [2, 8]"
    assert sorted(found.values()) == sorted(before.values())
    assert found[at(text, "return self.head(x)")] == "return: [2, 10]"


async def test_after_a_change_shapes_say_that_they_were_and_the_changed_line_has_none(
    editor: Editor, tmp_path: Path
) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    await hints(editor, uri, "x: [2, 8]")
    text = NET.replace("x = x.mean((2, 3))", "x = x.mean(3)")
    editor.edit(uri, text)
    found = await hints(editor, uri, "was x: [2, 8, 32, 32]")
    assert at(text, "x = x.mean(3)") not in found
    assert all(label.startswith("was ") for label in found.values())
    title, *_ = (await lenses(editor, uri))["Net"]
    assert title.startswith("was ")
    # Undone, all is as it was.
    editor.edit(uri, NET)
    assert "x: [2, 8]" in (await hints(editor, uri, "x: [2, 8]")).values()


async def test_a_text_that_does_not_parse_keeps_its_last_good_shapes(
    editor: Editor, tmp_path: Path
) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    await hints(editor, uri, "x: [2, 8]")
    text = NET.replace("x = self.blocks(x)", "x = self.blocks(x")
    editor.edit(uri, text)
    found = await hints(editor, uri, "was x: [2, 8]")
    assert found[at(text, "x = torch.relu(self.stem(x))")] == "was x: [2, 8, 32, 32]"
    assert at(text, "x = self.blocks(x") not in found
    assert "AC001" in codes(await editor.diagnostics(uri))


async def test_a_save_traces_again_and_a_buffer_is_traced_as_it_is(
    editor: Editor, tmp_path: Path
) -> None:
    uri = await traced(editor, tmp_path / "net.py")
    await hints(editor, uri, "x: [2, 8]")
    # On the disk, nothing changes: what is traced is the buffer.
    editor.edit(uri, NET.replace("(8, 10)", "(8, 7)"))
    editor.save(uri)
    found = await hints(editor, uri, "return: [2, 7]")
    assert found[at(NET, "x = x.mean((2, 3))")] == "x: [2, 8]"


async def test_configured_models_are_traced_when_a_file_of_theirs_is_saved(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["4,3,16,16"]\n'
    )
    block, net = NET.split("\n\n\nclass Net")
    (tmp_path / "block.py").write_text(block, encoding="utf-8")
    text = f"import torch\nfrom torch import nn\n\nfrom block import Block\n\n\nclass Net{net}"
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path)
    await editor.start()
    main, part = editor.open(tmp_path / "net.py"), editor.open(tmp_path / "block.py")
    editor.save(main)
    await hints(editor, main, "x: [4, 8]")
    found = await hints(editor, part, "x ×2: [4, 8, 16, 16]")
    assert found[at(block, "return torch.relu(self.conv(x)) + x")] == "return ×2: [4, 8, 16, 16]"
    # In the one file a change makes the shapes in the other ones of what was.
    changed = block.replace("padding=1", "padding=0").replace(" + x", "")
    editor.edit(part, changed)
    await hints(editor, main, "was x: [4, 8]")
    editor.save(part)
    found = await hints(editor, main, "x: [4, 8, 12, 12]")
    assert found[at(text, "x = x.mean((2, 3))")] == "x: [4, 8]"
    await client.shutdown_session()
    await client.stop()


async def test_a_model_that_is_not_the_locked_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["4,3,16,16"]\n'
    )
    path = tmp_path / "net.py"
    path.write_text(NET.replace("(8, 10)", "(8, 3)"), encoding="utf-8")
    assert archcheck("lock", cwd=tmp_path).returncode == 0
    path.write_text(NET, encoding="utf-8")
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path)
    await editor.start()
    uri = editor.open(path)
    editor.save(uri)
    await editor.diagnostics(uri, lambda found: codes(found) == ["AC604"])
    (tmp_path / "archcheck.lock").write_text("no lock")
    editor.save(uri)
    await editor.diagnostics(uri, lambda found: not found)
    await hints(editor, uri, "x: [4, 8]")
    await client.shutdown_session()
    await client.stop()


async def test_what_another_program_writes_is_traced_too(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    uri = await traced(editor, path, NET)
    await hints(editor, uri, "x: [2, 8]")
    path.write_text(NET.replace("(8, 10)", "(8, 3)"), encoding="utf-8")
    editor.edit(uri, path.read_text(encoding="utf-8"))
    editor.client.workspace_did_change_watched_files(
        types.DidChangeWatchedFilesParams([types.FileEvent(uri, types.FileChangeType.Changed)])
    )
    await hints(editor, uri, "return: [2, 3]")


async def test_shapes_stand_behind_their_lines_whatever_is_written_there(
    editor: Editor, tmp_path: Path
) -> None:
    text = NET.replace("x = x.mean((2, 3))", "x = x.mean((2, 3))  # 网🔥")
    uri = await traced(editor, tmp_path / "net.py", text)
    await hints(editor, uri, "x: [2, 8]")
    found = await editor.client.text_document_inlay_hint_async(
        types.InlayHintParams(
            types.TextDocumentIdentifier(uri),
            types.Range(types.Position(0, 0), types.Position(1000, 0)),
        )
    )
    line = at(text, "x = x.mean((2, 3))  # 网🔥")
    (hint,) = [one for one in found or () if one.position.line == line]
    units = len(text.split("\n")[line].encode("utf-16-le")) // 2
    assert hint.position.character == units


async def test_a_change_ends_the_trace_that_runs_and_the_newest_text_is_traced(
    editor: Editor, tmp_path: Path
) -> None:
    hanging = NET.replace(
        "        x = torch.relu(self.stem(x))\n", "        while True:\n            pass\n"
    )
    path = tmp_path / "net.py"
    uri = await traced(editor, path, hanging)
    for number in range(20):
        editor.edit(uri, f"{hanging}# {number}\n")
        if number % 5 == 0:
            editor.save(uri)
            await asyncio.sleep(0)
    editor.edit(uri, NET)
    assert "return: [2, 10]" in (await hints(editor, uri, "x: [2, 8]")).values()


async def test_a_model_that_crashes_its_worker_costs_only_its_own_shapes(
    editor: Editor, tmp_path: Path
) -> None:
    good = await traced(editor, tmp_path / "good.py")
    crash = NET.replace("x = torch.relu(self.stem(x))", "import ctypes; ctypes.string_at(0)")
    bad = await traced(editor, tmp_path / "bad.py", crash)
    found = await editor.diagnostics(bad, lambda found: "AC004" in codes(found))
    assert "crashed the interpreter" in found[-1].message
    editor.edit(good, NET.replace("(8, 10)", "(8, 6)"))
    editor.save(good)
    assert "return: [2, 6]" in (await hints(editor, good, "return: [2, 6]")).values()


async def test_a_model_in_a_notebook_and_one_in_a_document_are_traced(
    editor: Editor, tmp_path: Path
) -> None:
    path = tmp_path / "notes.md"
    block = "".join(f"  {row}".rstrip() + "\n" for row in f"```python\n{NET}```".split("\n"))
    text = f"# A net\n\n- in a list\n\n{block}"
    path.write_text(text, encoding="utf-8")
    uri = editor.open(path, language="markdown")
    await request_trace(editor, uri, "Net", "2,3,32,32")
    found = await hints(editor, uri, "x: [2, 8]")
    assert found[at(text, "x = x.mean((2, 3))")] == "x: [2, 8]"
    line = "x = torch.relu(self.stem(x))"
    assert "nn.Conv2d(3, 8, 3" in await hover(editor, uri, text, line, "self.stem")
    assert await hover(editor, uri, text, line, "torch.relu") == ""

    book = (tmp_path / "book.ipynb").as_uri()
    head, body = NET.split("\n\n\nclass Net")
    texts = {f"{book}#a": head, f"{book}#b": f"class Net{body}"}
    editor.client.notebook_document_did_open(
        types.DidOpenNotebookDocumentParams(
            types.NotebookDocument(
                book,
                "jupyter-notebook",
                1,
                [types.NotebookCell(types.NotebookCellKind.Code, cell) for cell in texts],
            ),
            [types.TextDocumentItem(cell, "python", 1, text) for cell, text in texts.items()],
        )
    )
    await request_trace(editor, f"{book}#b", "Net", "2,3,32,32")
    found = await hints(editor, f"{book}#b", "x: [2, 8]")
    assert found[at(texts[f"{book}#b"], "x = x.mean((2, 3))")] == "x: [2, 8]"
    cell = texts[f"{book}#b"]
    assert "nn.Conv2d(3, 8, 3" in await hover(editor, f"{book}#b", cell, line, "self.stem")
    found = await hints(editor, f"{book}#a", "x ×2: [2, 8, 32, 32]")
    assert len(found) == 2


async def test_another_input_is_offered_and_can_be_kept(editor: Editor, tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "x"\n', encoding="utf-8")
    uri = await traced(editor, tmp_path / "net.py")
    await hints(editor, uri, "x: [2, 8]")

    editor.answer = "x=1,3,32,32"
    await execute(editor, "archcheck.chooseInput", uri, "Net")
    await hints(editor, uri, "x: [1, 8]")
    assert editor.asked[-1].message == ("Net was traced with x [2, 3, 32, 32]. Trace it with")
    assert [one.title for one in editor.asked[-1].actions or ()] == [
        "x=1,3,32,32",
        "eval mode",
        "what archcheck infers",
        "keep this in pyproject.toml",
    ]

    editor.answer = "keep this in pyproject.toml"
    await execute(editor, "archcheck.chooseInput", uri, "Net")
    edit = await editor.until(lambda: editor.applied[-1] if editor.applied else None)
    (change,) = edit.edit.document_changes or ()
    assert isinstance(change, types.TextDocumentEdit)
    assert change.text_document.uri == pyproject.as_uri()
    assert "".join(one.new_text for one in change.edits).strip() == (
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["x=1,3,32,32"]'
    )

    editor.answer = "what archcheck infers"
    await execute(editor, "archcheck.chooseInput", uri, "Net")
    found = await lenses_until(editor, uri, "(inferred)")
    assert "input x [" in found


async def lenses_until(editor: Editor, uri: str, part: str) -> str:
    while True:
        seen = len(editor.refreshes)
        title, *_ = (await lenses(editor, uri))["Net"]
        if part in title:
            return title
        await editor.until(lambda seen=seen: len(editor.refreshes) > seen or None)
