"""The server's state: what is open, what was seen of it, which models were traced."""

from __future__ import annotations

import asyncio
import gc
import os
import traceback
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from archcheck._version import __version__
from archcheck.core.config import Model
from archcheck.core.target import UsageError
from archcheck.frontends.lsp.diagnostics import diagnostics
from archcheck.frontends.lsp.documents import OpenDocument, document_uri, open_documents
from archcheck.frontends.lsp.edits import workspace_edit
from archcheck.frontends.lsp.exact_text import ExactProtocol
from archcheck.frontends.lsp.input_choices import current_inputs, with_model
from archcheck.frontends.lsp.offers import Offer, all_safe, needs_worker, offers
from archcheck.frontends.lsp.positions import Places, Ruler
from archcheck.frontends.lsp.source_views import Look, look
from archcheck.frontends.lsp.traces import Traced, Tracer, configured_models, place_of, trace
from archcheck.frontends.lsp.views import View
from archcheck.python.syntax.parse import Parses
from archcheck.python.text.document import DocumentError
from archcheck.worker.process.client import Cancelled, Workers

T = TypeVar("T")

# How long the next change is waited for, in seconds: before a document is looked at, before those
# that import it are, before a model is traced again whose trace a change cut short, and before
# memory is tidied.
PAUSE, FURTHER_PAUSE, TRACE_PAUSE, TIDY_PAUSE = 0.05, 0.3, 1.0, 2.0
# After so many looks, memory is tidied whoever types.
_MOST_UNTIDY = 10

_NOTEBOOKS = types.NotebookDocumentSyncOptions(
    notebook_selector=[
        types.NotebookDocumentFilterWithNotebook(
            # Only with a notebook type can some clients read it; the star stands for all.
            notebook="*",
            cells=[types.NotebookCellLanguage(language="python")],
        )
    ],
    save=True,
)


class Server(LanguageServer):
    """Looks at documents and traces models in the background; the newest text wins.

    Attributes:
        paths: Those of the open documents, by URI.
        looks: What was last seen of each open document, by path.
        traces: What traces showed, by target, the newest last.
        asked: The models that the user asked for, by target.
        busy: The models that are being traced, by target.
    """

    def __init__(self) -> None:
        super().__init__(
            "archcheck",
            __version__,
            notebook_document_sync=_NOTEBOOKS,
            protocol_cls=ExactProtocol,
        )
        self.paths: dict[str, str] = {}
        self.looks: dict[str, Look] = {}
        self.traces: dict[str, Traced] = {}
        self.asked: dict[str, Model] = {}
        self.busy: dict[str, Model] = {}
        self.was_shut_down = False
        # One reader: the rules keep a core busy, and the newest text is the one that counts.
        self._reader = ThreadPoolExecutor(1)
        self._parses = Parses()
        self._untidy = 0
        self._tidying: asyncio.TimerHandle | None = None
        self._tracer = Tracer()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._views: dict[str, View] = {}
        self._offers: dict[str, tuple[View, asyncio.Future[tuple[Offer, ...]]]] = {}
        self._jobs: dict[str, list[Future[Any]]] = {}
        self._shown: dict[str, set[str]] = {}
        self._said: set[str] = set()
        self._pages: TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """End all that runs."""
        for task in self._tasks.values():
            task.cancel()
        if self._tidying is not None:
            self._tidying.cancel()
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._tracer.close()
        if self._pages is not None:
            self._pages.cleanup()

    # What is open ----------------------------------------------------------------------------

    @property
    def places(self) -> Places:
        encoding = types.PositionEncodingKind(self.workspace.position_encoding).value
        return Places(self.documents(), Ruler(encoding))

    def documents(self) -> dict[str, OpenDocument]:
        return open_documents(self.workspace)

    def document_at(self, uri: str) -> OpenDocument | None:
        """The open document that a text is, or belongs to."""
        whole = document_uri(uri, self.workspace)
        return next((one for one in self.documents().values() if one.uri == whole), None)

    async def view(self, uri: str) -> View | None:
        """What there is to show of a text as it is now; None where it is none of ours."""
        opened = self.document_at(uri)
        if opened is None:
            return None
        while (task := self._tasks.get(opened.path)) is not None and not task.done():
            await asyncio.wait({task})
        seen = self.looks.get(opened.path)
        return None if seen is None else self._view(seen)

    def _view(self, seen: Look) -> View:
        path = seen.opened.path
        if path not in self._views:
            self._views[path] = View.of(seen, self.traces.values())
        return self._views[path]

    # Looking ---------------------------------------------------------------------------------

    def opened(self, opened: OpenDocument) -> None:
        """A document is there."""
        self.paths[opened.uri] = opened.path
        self._look_soon(opened.path, 0.0)
        if self._configured(opened.path):
            self._tracer.warm()

    def edited(self, opened: OpenDocument) -> None:
        """A document was changed: look again, at others that depend on it too."""
        path = opened.path
        self._look_soon(path, PAUSE)
        for job in self._jobs.get(path, ()):
            self._tracer.cancel(job)
        self._look_at_dependents({path})
        for target, model in list(self.busy.items()):
            known = self.traces.get(target)
            if place_of(model) == path or (known is not None and path in known.files):
                self.trace_soon(model, TRACE_PAUSE)

    def written(self, paths: set[str]) -> None:
        """Files were saved, by this editor or another: trace the models that they belong to."""
        for path in paths & self.documents().keys():
            self._look_soon(path, 0.0)
        self._look_at_dependents(paths)
        models = {model.target: model for path in paths for model in self._configured(path)}
        if any(path.endswith("pyproject.toml") for path in paths):
            # What stands there now goes over what was asked for before.
            self.asked = {key: model for key, model in self.asked.items() if key not in models}
        for model in (models | self.asked).values():
            known = self.traces.get(model.target)
            files = known.files if known is not None else {place_of(model)}
            is_new = model.target in models and (known is None or known.model != model)
            if is_new or paths & files:
                self.trace_soon(model)

    def closed(self, path: str) -> None:
        """A document is gone from the editor: what was asked of its models is over."""
        for store in (self.looks, self._offers):
            store.pop(path, None)
        self._cancel(path)
        for target in {*self.asked, *self.busy, *self.traces}:
            if target.startswith(f"{path}:"):
                self._cancel(f"trace {target}")
                for models in (self.asked, self.busy, self.traces):
                    models.pop(target, None)
        self._views.clear()
        self._publish(path, {}, None)
        self._refresh()

    def _look_at_dependents(self, paths: set[str]) -> None:
        places = {os.path.abspath(path) for path in paths}
        for path, seen in self.looks.items():
            traced = any(path in one.files and paths & one.files for one in self.traces.values())
            consulted = any(places & result.consulted for result in seen.examined.files)
            if path not in paths and (traced or consulted):
                self._look_soon(path, FURTHER_PAUSE)

    def _look_soon(self, path: str, pause: float) -> None:
        self._start(path, self._look(path, pause))

    async def _look(self, path: str, pause: float) -> None:
        await asyncio.sleep(pause)
        documents = self.documents()
        if path not in documents:
            return
        loop = asyncio.get_running_loop()
        try:
            seen = await loop.run_in_executor(self._reader, look, path, documents, self._parses)
        except UsageError as error:
            self.say_once(str(error))
            self._publish(path, {}, documents[path])
        except DocumentError:
            # No text, or too large.
            self._publish(path, {}, documents[path])
        else:
            before = self._views.pop(path, None)
            self.looks[path] = seen
            view = self._show(seen)
            self._tidy_soon()
            if view.standings or (before is not None and before.standings):
                self._refresh()

    def _tidy_soon(self) -> None:
        """Free what earlier looks left, when nobody types. Python would do so at any time: looking
        through all trees takes longer than a look."""
        self._untidy += 1
        if self._tidying is not None:
            self._tidying.cancel()
        pause = TIDY_PAUSE if self._untidy < _MOST_UNTIDY else 0.0
        self._tidying = asyncio.get_running_loop().call_later(pause, self._tidy)

    def _tidy(self) -> None:
        self._untidy = 0
        self._reader.submit(gc.collect)

    def _show(self, seen: Look) -> View:
        view = self._view(seen)
        for defect in view.report.defects:
            self.log(defect)
        own = [one for one in view.report.findings if one.location.path == view.path]
        self._publish(view.path, diagnostics(own, view.report.rules, self.places), seen.opened)
        return view

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

    # Tracing ---------------------------------------------------------------------------------

    def trace_soon(self, model: Model, pause: float = 0.0) -> None:
        """Trace a model; an earlier trace of it that still runs is cut short."""
        if model.target not in self.busy:
            self._refresh()
        self.busy[model.target] = model
        self._start(f"trace {model.target}", self._trace(model, pause))

    def ask_for(self, model: Model) -> None:
        """The user wants this model traced, now and whenever its files are saved."""
        self.asked[model.target] = model
        # Who asks again is told again what is wrong.
        self._said.clear()
        self.trace_soon(model)

    def keep_model(self, traced: Traced, pyproject: Path) -> None:
        """Write a model into the configuration, as it was traced."""
        path = place_of(traced.model)
        target = os.path.relpath(path, pyproject.parent) + traced.target[len(path) :]
        text = pyproject.read_text(encoding="utf-8")
        kept = with_model(text, traced.model, current_inputs(traced), target.replace(os.sep, "/"))
        edit = self.edit({str(pyproject): kept.encode()})
        self.workspace_apply_edit(types.ApplyWorkspaceEditParams(edit, "archcheck"))

    def model_of(self, path: str, name: str) -> Model:
        """A class of a document as a target: as it is configured, or was last asked for."""
        target = f"{path}:{name}"
        known = {model.target: model for model in self._configured(path)} | self.asked
        return known.get(target, Model(target))

    async def _trace(self, model: Model, pause: float) -> None:
        await asyncio.sleep(pause)
        work = self._tracer.submit(partial(trace, model, self.documents()))
        try:
            traced = await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            self._tracer.cancel(work)
            raise
        except Cancelled:
            # By way of another model's trace, just when this one began.
            self.trace_soon(model)
            return
        except UsageError as error:
            self.say_once(str(error))
        except Exception:
            # Such as a WorkerDefect: the model is not traced, and all else goes on.
            self.log(traceback.format_exc())
        else:
            self.traces.pop(model.target, None)
            self.traces[model.target] = traced
        self.busy.pop(model.target, None)
        self._views.clear()
        for seen in self.looks.values():
            self._show(seen)
        self._refresh()

    def _configured(self, path: str) -> tuple[Model, ...]:
        try:
            return configured_models(path)
        except UsageError as error:
            self.say_once(str(error))
            return ()

    # Mending ---------------------------------------------------------------------------------

    async def offers(self, view: View) -> tuple[Offer, ...]:
        """The fixes of a document that hold; tried once for each text."""
        known = self._offers.get(view.path)
        if known is None or known[0] is not view:
            known = view, asyncio.ensure_future(self._work(view, offers))
            self._offers[view.path] = known
        try:
            return await asyncio.shield(known[1])
        except Cancelled:
            self._offers.pop(view.path, None)
            raise

    async def mended(self, view: View) -> Mapping[str, bytes]:
        """What files hold with all safe fixes."""
        return await self._work(view, all_safe)

    def edit(self, files: Mapping[str, bytes]) -> types.WorkspaceEdit:
        """The edits that make files hold these bytes."""
        workspace = self.client_capabilities.workspace
        able = workspace.workspace_edit if workspace else None
        versioned = bool(able and able.document_changes)
        return workspace_edit(files, self.documents(), self.places.ruler, versioned=versioned)

    async def _work(self, view: View, work: Callable[[View, Workers], T]) -> T:
        """Do something that may have to trace; a later change of the document ends it."""
        job = self._tracer.submit(partial(work, view)) if needs_worker(view) else None
        if job is None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reader, work, view, Workers())
        self._jobs.setdefault(view.path, []).append(job)
        try:
            return await asyncio.wrap_future(job)
        finally:
            self._jobs[view.path].remove(job)

    # Telling ---------------------------------------------------------------------------------

    def say_once(self, text: str) -> None:
        """Show what is wrong with the call itself, such as the configuration."""
        if text not in self._said:
            self._said.add(text)
            self.window_show_message(
                types.ShowMessageParams(types.MessageType.Error, f"archcheck: {text}")
            )

    def page(self, name: str, text: str) -> str:
        """The URI of a text to read, which is there as long as the server is."""
        if self._pages is None:
            self._pages = TemporaryDirectory(prefix="archcheck-")
        path = Path(self._pages.name, name)
        path.write_text(text, encoding="utf-8")
        return path.as_uri()

    def log(self, text: str) -> None:
        """Write what is wrong with archcheck itself into the editor's log."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, text))

    def _refresh(self) -> None:
        """Have the editor ask again for what it shows beside the code."""
        workspace = self.client_capabilities.workspace
        if workspace and workspace.inlay_hint and workspace.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)
        if workspace and workspace.code_lens and workspace.code_lens.refresh_support:
            self.workspace_code_lens_refresh(None)

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._cancel(key)
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._report)
        self._tasks[key] = task

    def _cancel(self, key: str) -> None:
        earlier = self._tasks.pop(key, None)
        if earlier is not None:
            earlier.cancel()

    def _report(self, task: asyncio.Task[None]) -> None:
        """What went wrong in archcheck itself goes into the editor's log; all else goes on."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log("".join(traceback.format_exception(error)))


def busy_classes(server: Server, path: str) -> list[str]:
    """The names of the models of a file that are being traced."""
    prefix = f"{path}:"
    return [target.removeprefix(prefix) for target in server.busy if target.startswith(prefix)]
