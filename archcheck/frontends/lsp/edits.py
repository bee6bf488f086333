"""From what a file is to hold to the protocol's edits of what the editor has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path

from lsprotocol import types

from archcheck.frontends.lsp.documents import LINE, OpenDocument, Part, uri_of
from archcheck.frontends.lsp.drift import equal_ends
from archcheck.frontends.lsp.positions import Ruler
from archcheck.python.documents.read import read_document


def workspace_edit(
    files: Mapping[str, bytes],
    documents: Mapping[str, OpenDocument],
    ruler: Ruler,
    *,
    versioned: bool,
) -> types.WorkspaceEdit:
    """The edits that make files hold these bytes.

    Args:
        documents: What is open, by path.
        versioned: Whether the client can be told which version of a text is meant.
    """
    found = [
        (part, edits)
        for path, data in files.items()
        for part, new in _parts(path, data, documents.get(path))
        if (edits := list(_edits(part.text, new, ruler)))
    ]
    if not versioned:
        return types.WorkspaceEdit(changes={part.uri: edits for part, edits in found})
    return types.WorkspaceEdit(
        document_changes=[
            types.TextDocumentEdit(
                types.OptionalVersionedTextDocumentIdentifier(part.uri, part.version), edits
            )
            for part, edits in found
        ]
    )


def _parts(path: str, data: bytes, opened: OpenDocument | None) -> Iterator[tuple[Part, str]]:
    """The texts of a document as they are, and as they are to be."""
    if opened is None:
        before = read_document(Path(path), shown=path)
        yield Part(uri_of(path), before.text), data.decode(before.encoding)
        return
    for part in opened.parts:
        if part.cell is not None:
            yield part, json.loads(data)["cells"][part.cell - 1]["source"]
        else:
            document = read_document(Path(path), shown=path, data=opened.data)
            yield part, data.decode(document.encoding)


def _edits(before: str, after: str, ruler: Ruler) -> Iterator[types.TextEdit]:
    """Edits of single lines, and in them of what differs only."""
    old, new = LINE.findall(before), LINE.findall(after)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        was, becomes = "".join(old[a:b]), "".join(new[c:d])
        head, tail = equal_ends(was, becomes)
        where = ruler.offsets(before, starts[a] + head, starts[b] - tail)
        yield types.TextEdit(where, becomes[head : len(becomes) - tail])
