"""A difference of architectures becomes text, one file for each format.

In: a `Difference`. Out: text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from archcheck.output import Options, page_width

if TYPE_CHECKING:
    from archcheck.analysis.architectures.difference import Difference

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "text": "archcheck.output.diff.text:render",
        "markdown": "archcheck.output.diff.markdown:render",
        "json": "archcheck.output.diff.json:render",
        "html": "archcheck.output.diff.html:render",
    }
)


def render(
    difference: Difference, format: str, *, color: bool = False, width: int | None = None
) -> str:
    """The difference in one of `FORMATS`, ending in a newline.

    Raises:
        KeyError: There is no such format.
    """
    module, _, function = FORMATS[format].partition(":")
    write = cast(Callable[["Difference", Options], str], getattr(import_module(module), function))
    return write(difference, Options(color=color, width=page_width(width)))
