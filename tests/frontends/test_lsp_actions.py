"""The language server's code actions: fix what holds, silence, explain, trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")
pytest.importorskip("pytest_lsp", reason="the protocol client of these tests")

import pytest_asyncio
from lsp_editor import SERVER, Editor, codes
from lsprotocol import types
from pytest_lsp import ClientServerConfig

pytestmark = [pytest.mark.editor, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# 网 and the flame are there for the columns of what follows them.
NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        网 = "🔥"; return self.layer.forward(x)
"""
MENDED = NET.replace("        self.layer", "        super().__init__()\n        self.layer", 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def editor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Editor]:
    client = await ClientServerConfig(SERVER).start()
    editor = Editor(client, tmp_path_factory.mktemp("project"))
    await editor.start()
    yield editor
    await client.shutdown_session()
    await client.stop()


async def actions(
    editor: Editor, uri: str, line: int, only: list[str] | None = None
) -> dict[str, types.CodeAction]:
    """What can be done on a line, by title."""
    where = types.Range(types.Position(line, 0), types.Position(line, 200))
    context = types.CodeActionContext(
        [one for one in await editor.diagnostics(uri) if one.range.start.line == line], only
    )
    found = await editor.client.text_document_code_action_async(
        types.CodeActionParams(types.TextDocumentIdentifier(uri), where, context)
    )
    assert all(isinstance(one, types.CodeAction) for one in found or ()), found
    return {one.title: one for one in found or () if isinstance(one, types.CodeAction)}


def applied(action: types.CodeAction, uri: str, text: str) -> str:
    """The text with the edit of an action."""
    assert action.edit is not None
    (change,) = action.edit.document_changes or ()
    assert isinstance(change, types.TextDocumentEdit)
    assert (change.text_document.uri, change.text_document.version) == (uri, 1)
    return edited(text, change.edits)


def edited(text: str, edits) -> str:
    lines = text.split("\n")

    def offset(position: types.Position) -> int:
        before = sum(len(line) + 1 for line in lines[: position.line])
        row = lines[position.line].encode("utf-16-le")[: position.character * 2]
        return before + len(row.decode("utf-16-le"))

    for edit in sorted(edits, key=lambda edit: offset(edit.range.start), reverse=True):
        start, end = offset(edit.range.start), offset(edit.range.end)
        text = text[:start] + edit.new_text + text[end:]
    return text


async def test_a_safe_fix_is_offered_first_and_mends(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    found = await actions(editor, uri, 5)
    first = next(iter(found.values()))
    assert first.title.startswith("AC101: ")
    assert (first.kind, first.is_preferred) == (types.CodeActionKind.QuickFix, True)
    assert codes(list(first.diagnostics or ())) == ["AC101"]
    assert applied(first, uri, NET) == MENDED


async def test_all_safe_fixes_are_one_edit_for_those_who_ask_for_it(
    editor: Editor, tmp_path: Path
) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    assert codes(await editor.diagnostics(uri)) == ["AC101", "AC115"]
    (action,) = (await actions(editor, uri, 0, ["source.fixAll"])).values()
    assert action.kind == "source.fixAll.archcheck"
    text = applied(action, uri, NET)
    assert text == MENDED.replace("self.layer.forward(x)", "self.layer(x)")


async def test_fixing_all_by_command_asks_the_editor_to_apply_it(
    editor: Editor, tmp_path: Path
) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    await editor.diagnostics(uri)
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams("archcheck.fixAll", [uri])
    )
    edit = await editor.until(lambda: editor.applied[-1] if editor.applied else None)
    (change,) = edit.edit.document_changes or ()
    assert isinstance(change, types.TextDocumentEdit)
    assert "super().__init__()" in edited(NET, change.edits)


async def test_a_comment_silences_a_finding_and_joins_one_that_is_there(
    editor: Editor, tmp_path: Path
) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    line = NET.split("\n").index('        网 = "🔥"; return self.layer.forward(x)')
    action = (await actions(editor, uri, line))["Ignore AC115 here"]
    text = applied(action, uri, NET)
    assert text.split("\n")[line].endswith("(x)  # archcheck: ignore[AC115]")

    listed = NET.replace("forward(x)", "forward(x)  # archcheck: ignore[AC3]")
    other = editor.open(tmp_path / "listed.py", listed)
    action = (await actions(editor, other, line))["Ignore AC115 here"]
    assert applied(action, other, listed).split("\n")[line].endswith("ignore[AC3, AC115]")


async def test_no_comment_is_offered_where_none_can_stand(editor: Editor, tmp_path: Path) -> None:
    text = NET.replace("forward(x)", "forward(\\\n            x)")
    uri = editor.open(tmp_path / "net.py", text)
    line = text.split("\n").index('        网 = "🔥"; return self.layer.forward(\\')
    for title, action in (await actions(editor, uri, line)).items():
        if title.startswith("Ignore"):
            # Behind the last line of the statement, where a comment may stand.
            changed = applied(action, uri, text).split("\n")
            assert changed[line] == text.split("\n")[line]
            assert changed[line + 1].endswith("# archcheck: ignore[AC115]")


async def test_a_rule_is_explained(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    action = (await actions(editor, uri, 5))["Explain AC101"]
    assert action.command is not None
    page = await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams(action.command.command, action.command.arguments)
    )
    assert page.startswith("AC101 missing-super-init\n")
    shown = await editor.until(lambda: editor.shown[-1] if editor.shown else None)
    assert Path(shown.uri.removeprefix("file://")).read_text(encoding="utf-8") == page


async def test_the_class_around_the_cursor_can_be_traced(editor: Editor, tmp_path: Path) -> None:
    uri = editor.open(tmp_path / "net.py", NET)
    found = await actions(editor, uri, 8, ["refactor"])
    (action,) = found.values()
    assert action.title == "archcheck: trace Net"
    assert action.command is not None
    assert list(action.command.arguments or ()) == [uri, "Net"]


async def test_what_a_trace_finds_is_mended_when_that_holds(editor: Editor, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = MENDED.replace('网 = "🔥"; return self.layer.forward(x)', "return self.layer(x)")
    text = text.replace("nn.Linear(4, 2)", "nn.Linear(4 * 1, 2)")
    path = tmp_path / "net.py"
    path.write_text(text, encoding="utf-8")
    uri = editor.open(path)
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams("archcheck.trace", [uri, "Net", "8,5"])
    )
    (finding,) = await editor.diagnostics(uri, lambda found: "AC201" in codes(found))
    found = await actions(editor, uri, finding.range.start.line)
    fix = next(action for title, action in found.items() if title.startswith("AC201: "))
    assert fix.is_preferred
    assert "nn.Linear(5, 2)" in applied(fix, uri, text)
