"""The protocol's code actions: fix, fix all, silence, explain, trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from lsprotocol import types

from archcheck.core.finding import Finding
from archcheck.frontends.lsp.diagnostics import SOURCE
from archcheck.frontends.lsp.lenses import TRACE, model_classes
from archcheck.frontends.lsp.offers import Offer, suppression
from archcheck.frontends.lsp.positions import Places
from archcheck.frontends.lsp.views import View

EXPLAIN, FIX_ALL = "archcheck.explain", "archcheck.fixAll"
FIX_ALL_KIND = f"{types.CodeActionKind.SourceFixAll.value}.{SOURCE}"
KINDS = (types.CodeActionKind.QuickFix, types.CodeActionKind.RefactorRewrite, FIX_ALL_KIND)

MakeEdit = Callable[[Mapping[str, bytes]], types.WorkspaceEdit]


@dataclass(frozen=True)
class Asked:
    """What the editor asks actions for."""

    view: View
    params: types.CodeActionParams
    places: Places
    edit: MakeEdit

    @property
    def uri(self) -> str:
        return self.params.text_document.uri

    def wants(self, kind: str) -> bool:
        """Whether actions of this kind are asked for."""
        only = self.params.context.only
        return not only or any(kind == one or kind.startswith(f"{one}.") for one in only)

    def findings(self) -> Iterator[tuple[Finding, types.Range]]:
        """The findings of the text in the range, in positions of the code, and where they are."""
        found = self.view.findings
        for finding, shown in zip(
            found, self.view.origins(one.location for one in found), strict=True
        ):
            place = self.places.place(shown) if shown.path == self.view.path else None
            if place is not None and place.uri == self.uri and self._touches(place.range):
                yield finding, place.range

    def diagnostics(self, code: str, where: types.Range) -> list[types.Diagnostic]:
        """What the editor calls a finding."""
        return [
            one
            for one in self.params.context.diagnostics
            if one.source == SOURCE and one.code == code and one.range == where
        ]

    def _touches(self, other: types.Range) -> bool:
        asked = self.params.range
        return asked.start.line <= other.end.line and other.start.line <= asked.end.line


def actions(asked: Asked, offers: Iterable[Offer]) -> Iterator[types.CodeAction]:
    """What can be done in a range of a text; what is safe comes first."""
    found = list(asked.findings())
    if asked.wants(types.CodeActionKind.QuickFix.value):
        yield from _fixes(asked, found, offers)
        yield from _comments(asked, found)
        for code in dict.fromkeys(finding.code for finding, _ in found):
            command = types.Command(f"Explain {code}", EXPLAIN, arguments=[code])
            yield types.CodeAction(
                command.title, kind=types.CodeActionKind.QuickFix, command=command
            )
    if asked.wants(types.CodeActionKind.RefactorRewrite.value):
        yield from _traces(asked)


def fix_all(asked: Asked, files: Mapping[str, bytes] | None) -> types.CodeAction:
    """All safe fixes of a document: as an edit, or as a command where they were not tried yet."""
    title = "archcheck: fix all that is safe to fix"
    if files is not None:
        return types.CodeAction(title, kind=FIX_ALL_KIND, edit=asked.edit(files))
    command = types.Command(title, FIX_ALL, arguments=[asked.uri])
    return types.CodeAction(title, kind=FIX_ALL_KIND, command=command)


def _fixes(
    asked: Asked, found: list[tuple[Finding, types.Range]], offers: Iterable[Offer]
) -> Iterator[types.CodeAction]:
    ranges = {(one.code, one.location, one.message): where for one, where in found}
    for offer in sorted(offers, key=lambda offer: not offer.is_safe):
        for finding in offer.findings:
            where = ranges.get((finding.code, finding.location, finding.message))
            if where is None:
                continue
            what = finding.help or f"mend {finding.name}"
            safety = "" if offer.is_safe else " (changes the model)"
            yield types.CodeAction(
                f"{finding.code}: {what}{safety}",
                kind=types.CodeActionKind.QuickFix,
                is_preferred=offer.is_safe,
                diagnostics=asked.diagnostics(finding.code, where),
                edit=asked.edit(offer.files),
            )


def _comments(asked: Asked, found: list[tuple[Finding, types.Range]]) -> Iterator[types.CodeAction]:
    done = set()
    for finding, where in found:
        key = finding.code, finding.location.line
        files = suppression(asked.view, finding) if key not in done else None
        if files is not None:
            done.add(key)
            yield types.CodeAction(
                f"Ignore {finding.code} here",
                kind=types.CodeActionKind.QuickFix,
                diagnostics=asked.diagnostics(finding.code, where),
                edit=asked.edit(files),
            )


def _traces(asked: Asked) -> Iterator[types.CodeAction]:
    """To trace the class that the cursor is in."""
    around = None
    for name, where in model_classes(asked.view, asked.places):
        if where.uri == asked.uri and where.range.start.line <= asked.params.range.start.line:
            around = name
    if around is not None:
        title = f"archcheck: trace {around}"
        command = types.Command(title, TRACE, arguments=[asked.uri, around])
        yield types.CodeAction(title, kind=types.CodeActionKind.RefactorRewrite, command=command)
