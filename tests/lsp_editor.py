"""An editor for tests: pytest-lsp's client, with what a test wants to say and to wait for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pytest_lsp import LanguageClient

SERVER = [sys.executable, "-m", "archcheck", "lsp"]
# Only a broken server makes a test wait this long, in seconds.
PATIENCE = 60.0

T = TypeVar("T")


class Editor:
    """One session with a server: what is open in it, and what it was told."""

    def __init__(self, client: LanguageClient, folder: Path | None) -> None:
        self.client = client
        self.folder = folder
        self.result: types.InitializeResult
        self.published: dict[str, types.PublishDiagnosticsParams] = {}
        self.messages: list[types.ShowMessageParams] = []
        self.shown: list[types.ShowDocumentParams] = []
        self.asked: list[types.ShowMessageRequestParams] = []
        self.answer: str | None = None
        self.applied: list[types.ApplyWorkspaceEditParams] = []
        self.refreshes: list[str] = []
        self._versions: dict[str, int] = {}
        self._news = asyncio.Condition()
        # lsprotocol takes an action that has a command for the command alone.
        converter = client.protocol._converter
        converter.register_structure_hook(
            types.Command | types.CodeAction,
            lambda given, _: converter.structure(
                given, types.Command if isinstance(given.get("command"), str) else types.CodeAction
            ),
        )
        self._hear(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, self._on_diagnostics)
        self._hear(types.WINDOW_SHOW_MESSAGE, self._on_message)
        self._hear(types.WORKSPACE_INLAY_HINT_REFRESH, self._on_refresh("hints"))
        self._hear(types.WORKSPACE_CODE_LENS_REFRESH, self._on_refresh("lenses"))
        self._hear(types.WINDOW_SHOW_DOCUMENT, self._on_show)
        self._hear(types.WINDOW_SHOW_MESSAGE_REQUEST, self._on_question)
        self._hear(types.WORKSPACE_APPLY_EDIT, self._on_edit)

    async def start(self, encodings: list[str] | None = None) -> None:
        self.result = await self.client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities(encodings),
                root_uri=self.folder.as_uri() if self.folder else None,
                workspace_folders=(
                    [types.WorkspaceFolder(self.folder.as_uri(), self.folder.name)]
                    if self.folder
                    else None
                ),
            )
        )

    # What a user does -----------------------------------------------------------------------

    def open(self, path: Path | str, text: str | None = None, language: str = "python") -> str:
        uri = path if isinstance(path, str) else path.as_uri()
        if text is None:
            assert isinstance(path, Path)
            text = path.read_text(encoding="utf-8")
        self._versions[uri] = 1
        self.client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, language, 1, text))
        )
        return uri

    def edit(self, uri: str, text: str) -> None:
        """Give the whole text anew."""
        self.change(uri, types.TextDocumentContentChangeWholeDocument(text))

    def change(self, uri: str, *changes: types.TextDocumentContentChangeEvent) -> None:
        self._versions[uri] += 1
        document = types.VersionedTextDocumentIdentifier(self._versions[uri], uri)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(document, list(changes))
        )

    def save(self, uri: str) -> None:
        self.client.text_document_did_save(
            types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri))
        )

    def close(self, uri: str) -> None:
        del self._versions[uri]
        self.client.text_document_did_close(
            types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
        )

    # What a user sees -----------------------------------------------------------------------

    async def diagnostics(
        self, uri: str, wanted: Callable[[list[types.Diagnostic]], bool] | None = None
    ) -> list[types.Diagnostic]:
        """Those of the newest text; with `wanted`, once they are as it says."""

        def current() -> list[types.Diagnostic] | None:
            said = self.published.get(uri)
            if said is None or said.version != self._versions.get(uri, said.version):
                return None
            found = list(said.diagnostics)
            return found if wanted is None or wanted(found) else None

        return await self.until(current)

    async def until(self, look: Callable[[], T | None]) -> T:
        """What `look` gives, as soon as it gives something; asked again at every message."""

        async def wait() -> T:
            async with self._news:
                while (found := look()) is None:
                    await self._news.wait()
                return found

        return await asyncio.wait_for(wait(), PATIENCE)

    def _hear(self, method: str, handler: Callable[..., Any]) -> None:
        # pytest-lsp's own handlers keep what they hear, and tell nobody.
        self.client.protocol.fm.features.pop(method, None)
        self.client.feature(method)(partial(handler))

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _on_diagnostics(self, params: types.PublishDiagnosticsParams) -> None:
        self.published[params.uri] = params
        await self._tell()

    async def _on_message(self, params: types.ShowMessageParams) -> None:
        self.messages.append(params)
        await self._tell()

    def _on_refresh(self, what: str) -> Callable[..., Any]:
        async def refresh(*_: Any) -> None:
            self.refreshes.append(what)
            await self._tell()

        return refresh

    async def _on_show(self, params: types.ShowDocumentParams) -> types.ShowDocumentResult:
        self.shown.append(params)
        await self._tell()
        return types.ShowDocumentResult(True)

    async def _on_question(
        self, params: types.ShowMessageRequestParams
    ) -> types.MessageActionItem | None:
        self.asked.append(params)
        return None if self.answer is None else types.MessageActionItem(self.answer)

    async def _on_edit(
        self, params: types.ApplyWorkspaceEditParams
    ) -> types.ApplyWorkspaceEditResult:
        self.applied.append(params)
        await self._tell()
        return types.ApplyWorkspaceEditResult(True)


def capabilities(encodings: list[str] | None = None) -> types.ClientCapabilities:
    """What the editor of the tests can do."""
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=encodings),
        workspace=types.WorkspaceClientCapabilities(
            apply_edit=True,
            inlay_hint=types.InlayHintWorkspaceClientCapabilities(refresh_support=True),
            code_lens=types.CodeLensWorkspaceClientCapabilities(refresh_support=True),
            workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
        ),
        window=types.WindowClientCapabilities(
            show_document=types.ShowDocumentClientCapabilities(support=True)
        ),
        text_document=types.TextDocumentClientCapabilities(
            publish_diagnostics=types.PublishDiagnosticsClientCapabilities(
                related_information=True,
                code_description_support=True,
                version_support=True,
                tag_support=types.ClientDiagnosticsTagOptions([types.DiagnosticTag.Unnecessary]),
            ),
            code_action=types.CodeActionClientCapabilities(
                is_preferred_support=True,
                disabled_support=True,
                code_action_literal_support=types.ClientCodeActionLiteralOptions(
                    types.ClientCodeActionKindOptions(["", "quickfix", "source"])
                ),
            ),
        ),
        notebook_document=types.NotebookDocumentClientCapabilities(
            types.NotebookDocumentSyncClientCapabilities()
        ),
    )


def codes(found: list[types.Diagnostic]) -> list[str]:
    return [str(one.code) for one in found]


def covered(text: str, where: types.Range, encoding: str = "utf-16") -> str:
    """The text in a range of one line, counted as the encoding says."""
    assert where.start.line == where.end.line
    codec, width = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}[
        encoding
    ]
    line = text.split("\n")[where.start.line].encode(codec)
    return line[where.start.character * width : where.end.character * width].decode(codec)
