"""`archcheck lsp`: the language server."""

from __future__ import annotations

import typer

from archcheck.core.target import UsageError


def lsp() -> None:
    """Serve an editor on standard input and output (pip install 'archcheck-torch[lsp]')."""
    try:
        from archcheck.frontends.lsp.features import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("archcheck"):
            raise
        raise UsageError(
            f"the language server needs {error.name}: pip install 'archcheck-torch[lsp]'"
        ) from None
    raise typer.Exit(serve())
