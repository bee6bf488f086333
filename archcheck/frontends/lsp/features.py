"""`archcheck lsp`: what the server answers to, and its life on standard input and output."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from dataclasses import replace

from lsprotocol import types
from pygls.uris import to_fs_path

from archcheck.core.rule import load_rules
from archcheck.frontends.lsp.actions import (
    EXPLAIN,
    FIX_ALL,
    FIX_ALL_KIND,
    KINDS,
    Asked,
    actions,
    fix_all,
)
from archcheck.frontends.lsp.documents import shown_path
from archcheck.frontends.lsp.hints import hints, input_text
from archcheck.frontends.lsp.hovers import hover
from archcheck.frontends.lsp.input_choices import choices, pyproject_of
from archcheck.frontends.lsp.lenses import CHOOSE_INPUT, TRACE, lenses, standing_of
from archcheck.frontends.lsp.server import Server, busy_classes
from archcheck.worker.process.client import Cancelled

# What a save of these may change.
_WATCHED = "**/*.{py,md,ipynb,toml}"


def make_server() -> Server:
    """The server with all that it can do."""
    server = Server()
    _follow_documents(server)
    _follow_notebooks(server)
    _show_shapes(server)
    _trace_on_request(server)
    _mend(server)

    @server.feature(types.INITIALIZED)
    def initialized(ls: Server, params: types.InitializedParams) -> None:
        # Findings carry paths as the command shows them: relative to the project.
        folders = [folder.uri for folder in ls.workspace.folders.values()]
        root = to_fs_path(folders[0]) if folders else ls.workspace.root_path
        if root is not None:
            with contextlib.suppress(OSError):
                os.chdir(root)
        workspace = ls.client_capabilities.workspace
        watching = workspace.did_change_watched_files if workspace else None
        if watching and watching.dynamic_registration:
            watcher = types.FileSystemWatcher(_WATCHED)
            options = types.DidChangeWatchedFilesRegistrationOptions([watcher])
            method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
            ls.client_register_capability(
                types.RegistrationParams([types.Registration("files", method, options)])
            )

    @server.feature(types.SHUTDOWN)
    def shutdown(ls: Server, params: None) -> None:
        ls.was_shut_down = True
        ls.close()

    return server


def serve() -> int:
    """Serve one editor until it says good-bye or is gone; the exit code."""
    # Nothing but the protocol may reach standard output.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Before there are threads that would load them at the same time.
    load_rules()
    server = make_server()
    # The server says when memory is tidied; what is there now stays.
    gc.freeze()
    gc.disable()

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


def _follow_documents(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
        document = ls.document_at(params.text_document.uri)
        if document is not None:
            ls.opened(document)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def edited(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
        document = ls.document_at(params.text_document.uri)
        if document is not None:
            ls.edited(document)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(ls: Server, params: types.DidSaveTextDocumentParams) -> None:
        ls.written({shown_path(params.text_document.uri)})

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
        _gone(ls, params.text_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def written(ls: Server, params: types.DidChangeWatchedFilesParams) -> None:
        paths = {shown_path(change.uri) for change in params.changes}
        # The editor's own save, which is being traced, comes this way once more.
        ls.written(paths - ls.documents().keys() if ls.busy else paths)


def _follow_notebooks(server: Server) -> None:
    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def opened(ls: Server, params: types.DidOpenNotebookDocumentParams) -> None:
        document = ls.document_at(params.notebook_document.uri)
        if document is not None:
            ls.opened(document)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def edited(ls: Server, params: types.DidChangeNotebookDocumentParams) -> None:
        document = ls.document_at(params.notebook_document.uri)
        if document is not None:
            ls.edited(document)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    def saved(ls: Server, params: types.DidSaveNotebookDocumentParams) -> None:
        ls.written({shown_path(params.notebook_document.uri)})

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def closed(ls: Server, params: types.DidCloseNotebookDocumentParams) -> None:
        _gone(ls, params.notebook_document.uri)


def _gone(ls: Server, uri: str) -> None:
    path = ls.paths.pop(uri, None)
    if path is not None and path not in ls.documents():
        ls.closed(path)


def _show_shapes(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(ls: Server, params: types.InlayHintParams) -> list[types.InlayHint]:
        view = await ls.view(params.text_document.uri)
        if view is None:
            return []
        lines = range(params.range.start.line, params.range.end.line + 1)
        found = hints(view, ls.places).get(params.text_document.uri, [])
        return [hint for hint in found if hint.position.line in lines]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hovers(ls: Server, params: types.HoverParams) -> types.Hover | None:
        view = await ls.view(params.text_document.uri)
        if view is None:
            return None
        place = ls.places.location(view.seen.document, params.text_document.uri, params.position)
        return None if place is None else hover(view, place)

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS)
    async def code_lenses(ls: Server, params: types.CodeLensParams) -> list[types.CodeLens]:
        view = await ls.view(params.text_document.uri)
        if view is None:
            return []
        found = lenses(view, busy_classes(ls, view.path), ls.places)
        return [lens for uri, lens in found if uri == params.text_document.uri]


def _trace_on_request(server: Server) -> None:
    @server.command(TRACE)
    def trace(ls: Server, uri: str, name: str, *inputs: str) -> None:
        """Trace a class of a document; without inputs, with those that it last had."""
        document = ls.document_at(uri)
        if document is None:
            return
        model = ls.model_of(document.path, name)
        if inputs:
            model = replace(model, inputs=inputs)
        ls.ask_for(model)

    @server.command(CHOOSE_INPUT)
    async def choose_input(ls: Server, uri: str, name: str) -> None:
        """Ask the user what a class is to be traced with."""
        view = await ls.view(uri)
        standing = standing_of(view, name) if view is not None else None
        if standing is None:
            return
        found = choices(standing.traced)
        # Without such a file the user has to make it: that is no edit that all editors can do.
        file = pyproject_of(standing.traced.model.target)
        keep = f"keep this in {file.name}"
        offered = [*found, *([keep] if file.is_file() else [])]
        message = f"{name} was traced with {input_text(standing)}. Trace it with"
        answer = await ls.window_show_message_request_async(
            types.ShowMessageRequestParams(
                types.MessageType.Info, message, [types.MessageActionItem(one) for one in offered]
            )
        )
        if answer is None:
            return
        if answer.title == keep:
            ls.keep_model(standing.traced, file)
        elif answer.title in found:
            ls.ask_for(found[answer.title])


def _mend(server: Server) -> None:
    options = types.CodeActionOptions(code_action_kinds=[*KINDS])

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    async def code_actions(ls: Server, params: types.CodeActionParams) -> list[types.CodeAction]:
        view = await ls.view(params.text_document.uri)
        if view is None:
            return []
        asked = Asked(view, params, ls.places, ls.edit)
        try:
            fixes = asked.wants(types.CodeActionKind.QuickFix.value)
            found = list(actions(asked, await ls.offers(view) if fixes else ()))
            if asked.wants(FIX_ALL_KIND):
                # In a menu it is a command: what nobody chooses need not be tried.
                files = await ls.mended(view) if params.context.only else None
                found.append(fix_all(asked, files))
        except Cancelled:
            return []
        return found

    @server.command(FIX_ALL)
    async def fix_everything(ls: Server, uri: str) -> None:
        """Make all safe fixes of a document."""
        view = await ls.view(uri)
        files = await ls.mended(view) if view is not None else {}
        if files:
            ls.workspace_apply_edit(types.ApplyWorkspaceEditParams(ls.edit(files), "archcheck"))

    @server.command(EXPLAIN)
    def explain(ls: Server, code: str) -> str:
        """Show a rule's page; it is the answer too."""
        rule = next((rule for rule in load_rules() if rule.code == code), None)
        if rule is None:
            return f"no rule has the code {code}"
        page = f"{rule.code} {rule.name}\n\n{rule.doc}\n"
        window = ls.client_capabilities.window
        if window and window.show_document and window.show_document.support:
            uri = ls.page(f"{rule.code}.txt", page)
            ls.window_show_document(types.ShowDocumentParams(uri, take_focus=True))
        return page
