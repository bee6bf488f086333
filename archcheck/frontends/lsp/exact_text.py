"""pygls' texts, but for where lines end: a form feed ends one for `str.splitlines`, and for no
editor, so that every change behind it would be made in the wrong place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from lsprotocol import types
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method
from pygls.workspace import TextDocument, Workspace

from archcheck.frontends.lsp.documents import LINE


class ExactText(TextDocument):
    """A text with the lines of the protocol."""

    @property
    def lines(self) -> Sequence[str]:
        return LINE.findall(self.source)


class ExactWorkspace(Workspace):
    """What is open, in such texts."""

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> TextDocument:
        codec = self.position_codec
        return ExactText(doc_uri, source, version, language_id, position_codec=codec)


class ExactProtocol(LanguageServerProtocol):
    """pygls' protocol with such a workspace."""

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(
        self, params: types.InitializeParams
    ) -> Generator[Any, Any, types.InitializeResult]:
        result = yield from super().lsp_initialize(params)
        before = self.workspace
        self._workspace = ExactWorkspace(
            before.root_uri,
            workspace_folders=tuple(before.folders.values()),
            position_encoding=before.position_encoding,
        )
        return result
