"""Markdown documents: the Python in their code blocks, at the lines where it stands."""

from __future__ import annotations

from archcheck.python.documents.snippets import is_python, language_of, python_of
from archcheck.python.text.document import Block, Document, LineOrigin


def read_markdown(path: str, text: str, encoding: str) -> Document:
    """The document whose `code` has the text's lines, blank where they are not Python.

    Fenced blocks that say Python, in any spelling, are code unless they plainly show something
    else. Indented blocks and fences that name no language are code where they plainly are Python.
    """
    # Only Markdown needs it, and it takes as long to import as a file to check.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable("inline")
    shown = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    code = [""] * len(shown)
    origins: dict[int, LineOrigin] = {}
    blocks: list[Block] = []
    skipped = 0
    for token in parser.parse(text):
        if token.type not in ("fence", "code_block") or token.map is None:
            continue
        content = token.content.removesuffix("\n").split("\n")
        if not any(line.strip() for line in content):
            continue
        language = language_of(token.info)
        named = is_python(language)
        python = None
        if named or not language:
            python = python_of(content, fenced_as_python=named)
        if python is None:
            skipped += 1
            continue
        # Lines count from 1, the parser's from 0; a fence's own line comes first.
        first = token.map[0] + (2 if token.type == "fence" else 1)
        for number, (raw, line) in enumerate(zip(content, python, strict=True), start=first):
            code[number - 1] = line.text
            # Below zero where a tab is part prefix and part indentation.
            shift = len(shown[number - 1]) - len(raw) + line.cut
            if shift and line.text:
                origins[number] = LineOrigin(number, max(0, shift), shift)
        blocks.append(Block(first, first + len(content) - 1))
    return Document(
        path,
        "markdown",
        text,
        "\n".join(code),
        tuple(blocks),
        skipped,
        encoding,
        origins,
    )
