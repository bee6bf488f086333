# Characters that look like others are what some of these tests are about.
# ruff: noqa: RUF001
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcheck.core.finding import Edit, Location
from archcheck.python.documents.read import LARGEST_FILE, read_document
from archcheck.python.syntax.parse import parse
from archcheck.python.text.comments import comments
from archcheck.python.text.document import DocumentError

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
needs_seeds = pytest.mark.skipif(not SEEDS.is_dir(), reason="the source documents are not here")


def read(name: str, text: str | bytes):
    data = text if isinstance(text, bytes) else text.encode()
    return read_document(Path(name), data=data)


def notebook(*cells: str | list[str], **metadata) -> str:
    """A notebook as Jupyter writes it: a string for each line."""
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "source": cell.splitlines(keepends=True) if isinstance(cell, str) else cell,
                }
                for cell in cells
            ],
            "metadata": metadata,
            "nbformat": 4,
        },
        indent=1,
        ensure_ascii=False,
    )


def applied(document, *edits: Edit) -> str:
    """The document's text after these edits."""
    text = document.text
    for edit in sorted(map(document.to_text, edits), key=lambda e: e.start, reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text


def span(line: int, column: int, end_line: int, end_column: int) -> Location:
    return Location("x", line, column, end_line, end_column)


# Python files


def test_a_python_file_is_its_own_code() -> None:
    document = read("a.py", "x = 1\ny = 'é'\n")
    assert document.code == document.text == "x = 1\ny = 'é'\n"
    place = span(2, 5, 2, 8)
    assert document.origin(place) == place
    assert document.lines == ("x = 1", "y = 'é'", "")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_are_kept_in_the_text_and_plain_in_the_code(end: str) -> None:
    document = read("a.py", f"x = 1{end}y = 2{end}")
    assert document.text == f"x = 1{end}y = 2{end}"
    assert document.code == "x = 1\ny = 2\n"
    inserted = applied(document, Edit(span(2, 1, 2, 1), "z = 3\n"))
    assert inserted == f"x = 1{end}z = 3{end}y = 2{end}"


def test_a_form_feed_ends_no_line() -> None:
    document = read("a.py", "x = 1\n\x0cy = 2\n\x0b\nz = 3\n".replace("\x0b", ""))
    assert parse(document).tree.body[1].lineno == 2
    assert document.shown_lines[1] == "\x0cy = 2"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfx = '\xc3\xa9'\n", "x = 'é'\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (b"#!/bin/x\n# vim: set fileencoding=gbk :\nx = '\xc4\xe3'\n", None),
        (b"# coding: utf-8\nx = '\xc3\xa9'\n", "# coding: utf-8\nx = 'é'\n"),
        # Only a comment in the first two lines declares anything.
        (b"x = 1\n# coding: latin-1\ny = '\xc3\xa9'\n", "x = 1\n# coding: latin-1\ny = 'é'\n"),
    ],
)
def test_encodings_are_honoured_and_given_back(data: bytes, text: str | None) -> None:
    document = read("a.py", data)
    assert text is None or document.text == text
    assert document.problems == ()
    assert document.encode(document.text) == data


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"# coding: klingon\nx = 1\n", 1, "`klingon`, which Python does not know"),
        (b"x = 1\ny = '\xe9'\n", 2, "byte 0xe9 is not UTF-8"),
        (b"# coding: ascii\ny = '\xe9'\n", 2, "byte 0xe9 is not ASCII"),
        (b"x = 1\nif x:\0\n    y = 2\n", 2, "null byte"),
    ],
)
def test_what_is_wrong_with_the_bytes_is_a_problem_of_the_code(
    data: bytes, line: int, words: str
) -> None:
    parsed = parse(read("a.py", data))
    (problem,) = parsed.problems
    assert problem.location.line == line
    assert words in problem.message
    assert len(parsed.tree.body) == 1 + (line == 2 and b"coding" not in data)
    assert parsed.document.encode(parsed.document.text) == data


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    unreadable = {
        tmp_path / "none.py": "no such file",
        tmp_path: "is a folder",
        loop: "cannot be read",
    }
    for path, words in unreadable.items():
        with pytest.raises(DocumentError, match=words) as caught:
            read_document(path, shown="shown.py")
        assert str(caught.value).startswith("shown.py: ")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is hidden from this user"
)
def test_a_file_without_permission_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "hidden.py"
    path.write_text("x = 1")
    path.chmod(0)
    with pytest.raises(DocumentError, match="permission denied"):
        read_document(path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.py", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xff\xfe", "not a text file"),
        ("a.md", bytes(range(256)), "not a text file"),
        ("a.py", "x = 1".encode("utf-16"), "UTF-16"),
        ("a.py", b"#" * (LARGEST_FILE + 1), "too many"),
        ("a.ipynb", b'{"cells": [', "not a notebook"),
        ("a.ipynb", b"[]", "not a notebook"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code"}]}', "not a notebook"),
        ("a.ipynb", b"[" * 100_000, "not a notebook"),
    ],
)
def test_files_that_are_no_documents(name: str, data: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        read(name, data)


# Markdown


FENCES = ["python", "py", "Python", "python3", "ipython", "{python}", "{.python .numberLines}"]
FENCES += ["{code-cell} ipython3", "python title='a.py'", "py:a.py", "python=", "Python {1,2}"]


@pytest.mark.parametrize("info", FENCES)
def test_python_is_read_in_every_spelling_of_its_name(info: str) -> None:
    document = read("a.md", f"# Title\n\n``` {info}\nx = 1\n```\n")
    assert document.code == "\n\n\nx = 1\n\n"
    assert document.skipped_blocks == 0


@pytest.mark.parametrize("info", ["bash", "text", "console", "pseudocode", "pythonx", "json"])
def test_other_languages_are_passed_over_and_counted(info: str) -> None:
    document = read("a.md", f"```{info}\nimport torch\nx = torch.ones(2)\n```\n")
    assert not document.code.strip()
    assert document.skipped_blocks == 1


DOCUMENT = """\
Intro

1. In a list

   ```python
   class A:
       def f(self):
           return 1
   ```

   * deeper

     ~~~py
     b = 2
     ~~~

> Quoted
>
> ```python
> c = [
>     3,
> ]
> ```

    import torch
    d = torch.ones(4)

and the end
"""


def test_blocks_in_lists_and_quotes_keep_their_lines_and_columns() -> None:
    document = read("a.md", DOCUMENT)
    shown = DOCUMENT.split("\n")
    assert len(document.lines) == len(shown)
    assert [(b.first_line, b.last_line) for b in document.blocks] == [
        (6, 8),
        (14, 14),
        (20, 22),
        (25, 26),
    ]
    for number, line in enumerate(document.lines, start=1):
        if line:
            origin = document.origin(span(number, 1, number, len(line) + 1))
            assert (origin.line, origin.end_line) == (number, number)
            assert shown[number - 1][origin.column - 1 : origin.end_column - 1] == line
    assert document.skipped_blocks == 0


def test_edits_keep_the_prefix_of_a_block() -> None:
    document = read("a.md", DOCUMENT)
    text = applied(
        document,
        Edit(span(6, 1, 6, 1), "import a\n\n\n"),
        Edit(span(8, 16, 8, 17), "2"),
        Edit(span(21, 6, 21, 7), ",\n    4,"),
    )
    again = read("a.md", text)
    assert text.split("\n")[5:11] == [
        "   import a",
        "   ",
        "   ",
        "   class A:",
        "       def f(self):",
        "           return 2",
    ]
    assert ">     3,\n>     4,\n> ]" in text
    assert [block.last_line - block.first_line for block in again.blocks] == [5, 0, 3, 1]


def test_tabs_that_are_prefix_and_indentation_at_once() -> None:
    text = "\timport torch\n\tclass A:\n\t    x = 1\n    \ty = 2\n"
    document = read("a.md", text)
    assert document.lines[:4] == ("import torch", "class A:", "    x = 1", "\ty = 2")
    assert document.origin(span(3, 5, 3, 10)).column == 6
    # In a list the tab reaches beyond the prefix, and the rest of it is indentation.
    document = read("a.md", "- item\n\n  ```python\n  if x:\n\ty = 2\n  ```\n")
    assert document.lines[4] == "  y = 2"
    assert document.origin(span(5, 3, 5, 8)) == span(5, 2, 5, 7)


NOT_CODE = {
    "a printed model": "Net(\n  (fc): Linear(in_features=4, out_features=2, bias=True)\n)",
    "a log": "Epoch [1/80], Iter [100/500] Loss: 1.5502\nAccuracy of the model: 85 %",
    "a bar": "100%|##########| 10/10 [00:01<00:00,  8.1it/s]",
    "a named statement": "with torch.no_grad():",
    "a signature": "class torch.nn.Linear(in_features, out_features, bias=True)",
    "prose": "First the model is built, then it is trained on the images.",
    "a traceback": 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n'
    "    x = f(1)\nValueError: no",
    "a diff": "- self.fc = nn.Linear(4608, 2)\n+ self.fc = nn.Linear(2048, 2)",
    "shell": "$ python train.py --epochs 3",
    "a tree": "src/\n├── model.py\n└── train.py",
    "another language": "let x = model.forward(input);\nconsole.log(x);",
}


@pytest.mark.parametrize("text", NOT_CODE.values(), ids=NOT_CODE)
@pytest.mark.parametrize("opening", ["```python\n", "```\n"], ids=["python", "unnamed"])
def test_blocks_that_show_something_else_are_passed_over(text: str, opening: str) -> None:
    document = read("a.md", f"{opening}{text}\n```\n")
    assert parse(document).problems == ()
    assert document.blocks == ()
    assert document.skipped_blocks == 1


def test_an_indented_or_unnamed_block_must_plainly_be_python() -> None:
    code = "import torch\nnet = torch.nn.Linear(4, 2)"
    for text in (f"```\n{code}\n```\n", "    " + code.replace("\n", "\n    ") + "\n"):
        assert len(read("a.md", text).blocks) == 1
    for words in ("some words", "key: value", "loss = 0.25", "torch.Size([2, 3])", "[1, 2]"):
        for text in (f"```\n{words}\n```\n", f"    {words}\n"):
            document = read("a.md", text)
            assert (document.blocks, document.skipped_blocks) == ((), 1), words


def test_a_session_is_read_without_its_prompts_and_output() -> None:
    text = "```pycon\n>>> import torch\n>>> for i in range(2):\n...     print(i)\n0\n1\n```\n"
    document = read("a.md", text)
    assert document.lines[1:6] == ("import torch", "for i in range(2):", "    print(i)", "", "")
    assert document.origin(span(4, 5, 4, 10)).column == 9


def test_magics_and_parts_left_out_are_no_broken_code() -> None:
    text = "```python\n%matplotlib inline\n!pip install torch\ndef f(x):\n    ......\n\n"
    document = read("a.md", text + "def g(x):\n```\n")
    parsed = parse(document)
    assert parsed.problems == ()
    assert [type(s).__name__ for s in parsed.tree.body] == ["FunctionDef", "FunctionDef"]


# What IPython 9.18 does with a cell: its transformations, and then, of one line, the prefilter.
AUTOMAGIC = {
    "pip install torch": True, "  pip install torch\n": True, "\n\npip install torch": True,
    "cd data": True, "cd data; ls": True, "ls -la": True, "time model(x)": True,
    "env X=1": True, "matplotlib inline": True, "rm a b": True, "uv pip install torch": True,
    "echo hello": False, "git clone x": False, "pip install torch\nimport torch": False,
    "# first\npip install torch": False, "import torch\npip install torch": False,
}  # fmt: skip


@pytest.mark.parametrize(("cell", "is_magic"), AUTOMAGIC.items())
def test_a_line_alone_in_its_cell_may_be_a_magic_without_its_sign(cell, is_magic) -> None:
    parsed = parse(read("a.ipynb", notebook("x = 1", cell, "y = 2")))
    assert (parsed.problems == ()) is is_magic


def test_the_statement_that_a_magic_times_is_read_where_it_stands() -> None:
    text = notebook("x = 1", "if x:\n    %timeit -n 10 -r 3 f(x)\n%time model.eval()", "%time")
    document = read("a.ipynb", text)
    assert document.lines[1:4] == ("if x:", "    f(x)", "model.eval()")
    assert document.origin(span(3, 5, 3, 9)).column == 24
    assert document.origin(span(4, 1, 4, 13)).column == 7


def test_a_variable_hides_the_magic_of_its_name() -> None:
    for before, is_magic in (("import time", False), ("import times", True)):
        parsed = parse(read("a.ipynb", notebook(before, "time model(x)")))
        assert (parsed.problems == ()) is is_magic


def test_what_is_left_out_within_a_line_is_passed_over_in_silence() -> None:
    text = (
        "```python\nx = build(1)\nfor i in <your data>:\n    f(i)\ny = f(x, ..., k=…)\nz = 2\n```\n"
    )
    parsed = parse(read("a.md", text))
    assert parsed.problems == ()
    assert [statement.lineno for statement in parsed.tree.body] == [2, 6]
    assert not parsed.complete


EXCERPTS = {
    "methods of a class": ("    def f(self):\n        return 1\n\n    def g(self): pass", 2),
    "comments further left": ("# in __init__\n    self.fc = f(1)\n# in forward\n    x = f(x)", 2),
    "pieces of different depths": ("        x = f(x)\n        return x\n\n    y = 1\nz = 2", 4),
    "the middle of an if": ("x = 1\nelif kind == 'b':\n    y = 2\nz = 3", 1),
    "signatures": ("def f(x, y=1) -> int\n\nclass A(\n    B,\n)\nx = f(1)\ny = f(2)", 2),
    "an outline": ("class A:\n    def f(self):\n    def g(self):\n\n    @p\n    def h(self):", 1),
    "comments for bodies": ("with f(1) as x:\n    # work\ny = f(2)", 2),
    "pseudocode": ("x = f(1)\nfor each batch in data:\n    train the model\ny = f(2)", 2),
    "mathematics": ("x = f(1)\ny ≈ f(x) → z\nz = f(2)", 2),
    "what to fill in": ("x = f(1)\ny = load(<YOUR MODEL>)\nz = {..., 'a': 1}", 1),
    "output below": ("x = f(1)\nprint(x)\nloss 0.15, acc 0.9\n结果：5\nTest: 98% (9800/10000)", 3),
    "prompts further down": ("x = f(1)\n>>> print(x)\n3 items left", 1),
    "a session of long ago": (">>> print 'x'\nx\n>>> f(\n    1)\n>>> y = 1", 1),
    "a newer Python": ("x = f(1)\ntype A = int\ny = f(2)", 2 + (sys.version_info >= (3, 12))),
}


@pytest.mark.parametrize(("text", "statements"), EXCERPTS.values(), ids=EXCERPTS)
def test_what_is_not_all_code_is_used_as_far_as_it_goes(text: str, statements: int) -> None:
    parsed = parse(read("a.md", f"```python\n{text}\n```\n"))
    assert parsed.problems == ()
    assert len(parsed.tree.body) == statements


BROKEN = {
    "a typo": ("def f(x):\n    retrun x", "`retrun` is no word of Python's; `return` is"),
    "a capital": ("Import torch\nx = f(1)", "`Import` is no word of Python's; `import` is"),
    "a bracket": ("import torch\nx = f(1, g(2)\n", "never closed"),
    "a comma": ("import torch\nx = f(1, a=2\n      b=3)", "perhaps a comma"),
    "Python 2": ("import torch\nprint 'x', 1", "`print` is a function in Python 3"),
    "a body at the margin": ("import torch\ndef f(x):\nreturn x", "has no body"),
    "a slip": ("import torch\n y = f(1)\nz = 2", "indented 1, the other lines of its block 0"),
    "full width": ("import torch\nx = f（1）", "is not Python's"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_code_in_a_document_is_called_so(text: str, words: str) -> None:
    (problem,) = parse(read("a.md", f"```python\n{text}\n```\n")).problems
    assert words in problem.message


def test_each_block_stands_alone() -> None:
    text = "```python\nclass A:\n    x = (1\n    def f(self): pass\n```\n\n```python\ny = 2\n```\n"
    parsed = parse(read("a.md", text))
    assert [problem.location.line for problem in parsed.problems] == [3]
    assert [statement.lineno for statement in parsed.tree.body] == [8]


def test_bare_statements_on_self_stay_in() -> None:
    parsed = parse(read("a.md", "```python\nself.fc = nn.Linear(4, 2)\n```\n"))
    assert len(parsed.tree.body) == 1


# Notebooks


def test_cells_follow_one_another_and_positions_count_in_their_cell() -> None:
    document = read(
        "a.ipynb", notebook("%matplotlib inline\nimport torch", "x = 1", "", "y = (2\n  + 3)")
    )
    assert document.code == "\nimport torch\nx = 1\ny = (2\n  + 3)"
    assert [(b.first_line, b.last_line, b.cell) for b in document.blocks] == [
        (1, 2, 1),
        (3, 3, 2),
        (4, 5, 4),
    ]
    origin = document.origin(span(5, 3, 5, 6))
    assert (origin.cell, origin.line, origin.column, origin.end_line) == (4, 2, 3, 2)
    assert document.code_line(2, cell=4) == 5


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("%%time\nx = 1", "\nx = 1"),
        ("for i in y:\n    !ls", "for i in y:\n    pass"),
        ("x = !ls\ny = %time f()", "x = ...\ny = ..."),
        ("f?\n?f\nx = 1\nf??", "\n\nx = 1\n"),
        ("!pip install \\\n  torch\nx = 1", "\n\nx = 1"),
        ("x = (7\n% 2)", "x = (7\n% 2)"),
        ("    x = 1\n    y = 2", "x = 1\ny = 2"),
        ("await f()", "await f()"),
    ],
)
def test_what_only_a_notebook_understands_is_blanked(cell: str, code: str) -> None:
    assert read("a.ipynb", notebook(cell)).code == code


@pytest.mark.parametrize("cell", ["%%bash\nls -l", "%%html\n<p>", "%%file a\nx = 1", "!ls"])
def test_cells_for_other_programs_are_passed_over(cell: str) -> None:
    document = read("a.ipynb", notebook(cell, "x = 1"))
    assert document.code == "x = 1"
    assert document.skipped_blocks == 1
    assert document.origin(span(1, 1, 1, 2)).cell == 2


def test_a_notebook_in_another_language_has_no_code() -> None:
    document = read("a.ipynb", notebook("x = 1", language_info={"name": "julia"}))
    assert document.blocks == ()


def test_a_broken_cell_leaves_the_others() -> None:
    parsed = parse(read("a.ipynb", notebook("import torch", "def f(:\n    pass", "y = 2")))
    (problem,) = parsed.problems
    origin = parsed.document.origin(problem.location)
    assert (origin.cell, origin.line, origin.column) == (2, 1, 6)
    assert len(parsed.tree.body) == 2


def test_the_third_version_of_the_format_is_read_too() -> None:
    cell = {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "language": "python"}
    book = {"worksheets": [{"cells": [cell]}], "metadata": {}, "nbformat": 3}
    assert read("a.ipynb", json.dumps(book)).code == "x = 1\ny = 2"


@pytest.mark.parametrize("as_one_string", [False, True])
def test_edits_reach_the_notebooks_own_text(as_one_string: bool) -> None:
    cell = 'a = "\\t\\"é😀"\nb = 2\nc = 3'
    text = notebook([cell] if as_one_string else cell)
    if as_one_string:
        book = json.loads(text)
        book["cells"][0]["source"] = cell
        text = json.dumps(book)
    document = read("a.ipynb", text)
    assert document.code == cell
    end = len('a = "\\t\\"é😀"') + 1
    changed = applied(
        document,
        Edit(span(1, end, 1, end), " + 'ü'"),
        Edit(span(2, 1, 2, 1), "# new\nd = 4\n"),
        Edit(span(2, 5, 2, 6), "5"),
        Edit(span(3, 1, 3, 6), ""),
    )
    source = json.loads(changed)["cells"][0]["source"]
    joined = source if as_one_string else "".join(source)
    assert joined == 'a = "\\t\\"é😀" + \'ü\'\n# new\nd = 4\nb = 5\n'
    if not as_one_string:
        assert source[1:3] == ["# new\n", "d = 4\n"]


def test_lines_of_a_notebook_end_as_pythons_do() -> None:
    document = read("a.ipynb", notebook(["a = 1\r\nb = 2\rc ", "= 3\n", "\n", "d = 4"]))
    assert document.code == "a = 1\nb = 2\nc = 3\n\nd = 4"
    edits = [Edit(span(line, 5, line, 6), "9") for line in (1, 2, 3, 5)]
    source = json.loads(applied(document, *edits))["cells"][0]["source"]
    assert "".join(source) == "a = 9\r\nb = 9\rc = 9\n\nd = 9"


def test_deleting_a_line_of_a_notebook_joins_its_strings() -> None:
    document = read("a.ipynb", notebook("a = 1\nb = 2\nc = 3"))
    source = json.loads(applied(document, Edit(span(2, 1, 3, 1), "")))["cells"][0]["source"]
    assert source == ["a = 1\n", "c = 3"]


def test_half_a_character_in_a_notebook_is_no_obstacle() -> None:
    parsed = parse(read("a.ipynb", notebook("x = 'A'").replace("A", "\\ud800")))
    assert len(parsed.tree.body) == 1 or parsed.problems


# All kinds


@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.md", "a.ipynb"]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    try:
        document = read(name, data)
    except DocumentError as error:
        assert "\n" not in str(error)
        return
    parsed = parse(document)
    assert len(parsed.document.lines) == len(document.lines)


@given(st.text(max_size=200), st.sampled_from(["a.py", "a.md"]))
def test_text_is_given_back_byte_for_byte(text: str, name: str) -> None:
    data = text.encode("utf-8", "replace")
    try:
        document = read(name, data)
    except DocumentError:
        return
    assert document.encode(document.text) == data


WORDS = st.sampled_from(["x = 1", "    y", "\tz", "", "> ", "- ", "```python", "```", "if a:", "é"])


@given(st.lists(WORDS, max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_code_is_found_again_in_the_text(words: list[str], end: str) -> None:
    document = read("a.md", end.join(words))
    for number, line in enumerate(document.lines, start=1):
        origin = document.origins.get(number)
        if line and (origin is None or origin.shift >= 0):
            edit = document.to_text(Edit(span(number, 1, number, len(line) + 1), line))
            # A header at the end of a block gets a body in memory.
            assert document.text[edit.start : edit.end] == line.removesuffix(" ...")


def test_comments_are_told_from_strings() -> None:
    code = 'a = \'# no\'  # one\n# two\n"""\n# no\n"""  # three\nb = \'it\\\'s # no\'\n'
    found = comments(read("a.py", code))
    assert [(c.line, c.column, c.text, c.own_line) for c in found] == [
        (1, 13, "# one", False),
        (2, 1, "# two", True),
        (5, 6, "# three", False),
    ]


def test_comments_survive_broken_code() -> None:
    found = comments(read("a.py", 'x = (  # one\ny = \'open # no\n# two\n"""open\n# no\n'))
    assert [c.text for c in found] == ["# one", "# two"]


@needs_seeds
@pytest.mark.parametrize(
    ("number", "blocks", "skipped"),
    [
        ("000", [(29, 100), (124, 132), (142, 150)], 1),
        ("001", [(6, 14), (25, 34), (51, 123)], 0),
        ("002", [(46, 74), (80, 92), (98, 123), (129, 132), (147, 149)], 0),
        ("003", [(5, 155)], 2),
    ],
)
def test_the_blocks_of_the_source_documents(number, blocks, skipped) -> None:
    (path,) = SEEDS.glob(f"{number}_*.md")
    document = read_document(path)
    assert [(block.first_line, block.last_line) for block in document.blocks] == blocks
    assert document.skipped_blocks == skipped


@needs_seeds
def test_printed_models_and_bare_headers_of_a_source_document_are_passed_over() -> None:
    (path,) = SEEDS.glob("004_*.md")
    document = read_document(path)
    first_lines = {block.first_line for block in document.blocks}
    assert first_lines >= {36, 43, 76, 103, 424, 451, 488, 507, 701}
    assert not first_lines & {83, 127, 162, 194, 241, 655, 746}
    assert document.skipped_blocks == 7


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="the system shows no pipes as files")
def test_a_pipe_is_read_to_its_end() -> None:
    outgoing, incoming = os.pipe()
    os.write(incoming, b"import torch\nx = 1\n")
    os.close(incoming)
    try:
        document = read_document(Path(f"/dev/fd/{outgoing}"), shown="piped.py")
    finally:
        os.close(outgoing)
    assert document.code == "import torch\nx = 1\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    try:
        with pytest.raises(DocumentError, match="is no ordinary file"):
            read_document(pipe)
    finally:
        # Other programs that walk the temporary folder must not wait for it.
        pipe.unlink()
