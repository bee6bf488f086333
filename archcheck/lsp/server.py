"""`archcheck lsp`: the server that editors talk to, on standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from archcheck import __version__
from archcheck.lsp.diagnostics import diagnostics
from archcheck.lsp.documents import OpenDocument, document_uri, open_documents
from archcheck.lsp.exact import ExactProtocol
from archcheck.lsp.looks import Look, look
from archcheck.lsp.positions import Places, Ruler
from archcheck.pipeline import report
from archcheck.source.document import DocumentError
from archcheck.target import UsageError

# After a change, how long the next one is waited for, in seconds.
_PAUSE = 0.05

_NOTEBOOKS = types.NotebookDocumentSyncOptions(
    notebook_selector=[
        types.NotebookDocumentFilterWithNotebook(
            notebook="*", cells=[types.NotebookCellLanguage(language="python")]
        )
    ],
    save=True,
)


class Server(LanguageServer):
    """What is open, and what was seen of it."""

    def __init__(self) -> None:
        super().__init__(
            "archcheck",
            __version__,
            notebook_document_sync=_NOTEBOOKS,
            protocol_cls=ExactProtocol,
        )
        self.looks: dict[str, Look] = {}
        self.was_shut_down = False
        # One reader: the rules keep one core busy, and a later text is worth more than an earlier.
        self._reader = ThreadPoolExecutor(1)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._shown: dict[str, set[str]] = {}
        self._said: set[str] = set()

    # What the editor is told -----------------------------------------------------------------

    @property
    def ruler(self) -> Ruler:
        return Ruler(types.PositionEncodingKind(self.workspace.position_encoding).value)

    def documents(self) -> dict[str, OpenDocument]:
        return open_documents(self.workspace)

    def document_at(self, uri: str) -> OpenDocument | None:
        """The open document that a text is, or belongs to."""
        whole = document_uri(uri, self.workspace)
        return next((one for one in self.documents().values() if one.uri == whole), None)

    def say_once(self, text: str) -> None:
        """Show what is wrong with the call itself, such as the configuration."""
        if text not in self._said:
            self._said.add(text)
            self.window_show_message(
                types.ShowMessageParams(types.MessageType.Error, f"archcheck: {text}")
            )

    # Looking ---------------------------------------------------------------------------------

    def look_again(self, opened: OpenDocument, pause: float = 0.0) -> None:
        """Look at a document, and forget about looking at what it was before."""
        self._start(opened.path, self._look(opened.path, pause))

    def forget(self, path: str) -> None:
        """A document was closed: its findings are those of the command now."""
        task = self._tasks.pop(path, None)
        if task is not None:
            task.cancel()
        self.looks.pop(path, None)
        self._publish(path, {}, None)

    def close(self) -> None:
        """End all that runs."""
        for task in self._tasks.values():
            task.cancel()
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        earlier = self._tasks.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[key] = task

    async def _look(self, path: str, pause: float) -> None:
        await asyncio.sleep(pause)
        documents = self.documents()
        if path not in documents:
            return
        loop = asyncio.get_running_loop()
        try:
            seen = await loop.run_in_executor(self._reader, look, path, documents)
        except UsageError as error:
            self.say_once(str(error))
            self._publish(path, {}, documents[path])
            return
        except DocumentError:
            # Not Python after all, or no text.
            self._publish(path, {}, documents[path])
            return
        self.looks[path] = seen
        self.show(seen)

    def show(self, seen: Look) -> None:
        """Publish what was seen of a document."""
        places = Places(seen.documents, self.ruler)
        checked = report(seen.examined)
        for defect in checked.defects:
            self.window_log_message(types.LogMessageParams(types.MessageType.Error, defect))
        own = [one for one in checked.findings if one.location.path == seen.opened.path]
        self._publish(seen.opened.path, diagnostics(own, checked.rules, places), seen.opened)

    def _publish(
        self,
        path: str,
        found: dict[str, list[types.Diagnostic]],
        opened: OpenDocument | None,
    ) -> None:
        versions = dict(opened.versions) if opened is not None else {}
        uris = {*versions, *found}
        for uri in sorted(uris | self._shown.get(path, set())):
            self.text_document_publish_diagnostics(
                types.PublishDiagnosticsParams(uri, found.get(uri, []), versions.get(uri))
            )
        self._shown[path] = uris


def make_server() -> Server:
    """The server with all that it can do."""
    server = Server()

    @server.feature(types.INITIALIZED)
    def initialized(ls: Server, params: types.InitializedParams) -> None:
        # Findings carry paths as the command shows them: relative to the project.
        folders = [folder.uri for folder in ls.workspace.folders.values()]
        root = to_fs_path(folders[0]) if folders else ls.workspace.root_path
        if root is not None:
            with contextlib.suppress(OSError):
                os.chdir(root)

    @server.feature(types.SHUTDOWN)
    def shutdown(ls: Server, params: None) -> None:
        ls.was_shut_down = True
        ls.close()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
        changed(ls, params.text_document.uri, 0.0)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def edited(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
        changed(ls, params.text_document.uri, _PAUSE)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(ls: Server, params: types.DidSaveTextDocumentParams) -> None:
        changed(ls, params.text_document.uri, 0.0)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
        gone(ls, params.text_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def notebook_opened(ls: Server, params: types.DidOpenNotebookDocumentParams) -> None:
        changed(ls, params.notebook_document.uri, 0.0)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def notebook_edited(ls: Server, params: types.DidChangeNotebookDocumentParams) -> None:
        changed(ls, params.notebook_document.uri, _PAUSE)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    def notebook_saved(ls: Server, params: types.DidSaveNotebookDocumentParams) -> None:
        changed(ls, params.notebook_document.uri, 0.0)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def notebook_closed(ls: Server, params: types.DidCloseNotebookDocumentParams) -> None:
        gone(ls, params.notebook_document.uri)

    def changed(ls: Server, uri: str, pause: float) -> None:
        document = ls.document_at(uri)
        if document is not None:
            ls.look_again(document, pause)

    def gone(ls: Server, uri: str) -> None:
        still_open = ls.documents()
        for path, seen in list(ls.looks.items()):
            if seen.opened.uri == uri and path not in still_open:
                ls.forget(path)

    return server


def serve() -> int:
    """Serve one editor until it says good-bye or is gone; the exit code."""
    # Nothing but the protocol may reach standard output.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server = make_server()

    def end(signal_number: int, frame: object) -> None:
        server.close()
        # The thread that reads standard input would wait for an editor that is gone.
        os._exit(128 + signal_number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        server.start_io(sys.stdin.buffer, output)
    finally:
        server.close()
    return 0 if server.was_shut_down else 1
