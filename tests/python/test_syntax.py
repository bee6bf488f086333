# Characters that look like others are what some of these tests are about.
# ruff: noqa: RUF001
from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.core.finding import Location
from archcheck.python.documents.read import read_document
from archcheck.python.syntax.parse import parse
from archcheck.python.syntax.tree import Parsed, syntax_tree
from archcheck.python.text.document import Document, DocumentError
from archcheck.python.text.pragmas import pragmas

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"


def parsed(code: str, name: str = "a.py") -> Parsed:
    return parse(read_document(Path(name), data=code.encode()))


def mended(document: Document, result: Parsed) -> str:
    """The document's text with every fix of the syntax made."""
    text = document.text
    edits = [result.document.to_text(edit) for p in result.problems for edit in p.edits]
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text


def test_what_parses_is_left_alone() -> None:
    document = read_document(Path("a.py"), data=b"x = '\\d'\nreturn await y\n")
    result = parse(document)
    assert result.document is document
    assert (len(result.tree.body), result.problems, result.complete) == (2, (), True)


# What can only be meant one way: the code, the line to blame, words of the message, and the code
# after the fix.
REPAIRED = {
    "a method one column too far right": (
        "class A:\n     def f(self):\n        return 1\n\n    def g(self):\n        return 2\n",
        2,
        "indented 5, the other methods of `A` 4",
        "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n",
    ),
    "a line one column too far left": (
        "def f():\n    x = 1\n    y = 2\n   return x\n",
        4,
        "indented 3, the other lines of its block 4",
        "def f():\n    x = 1\n    y = 2\n    return x\n",
    ),
    "the first line of a block": (
        "def f():\n   x = 1\n    y = 2\n    return x\n",
        2,
        "indented 3",
        "def f():\n    x = 1\n    y = 2\n    return x\n",
    ),
    "the first line of the file": (
        " import a\nimport b\n",
        1,
        "indented 1",
        "import a\nimport b\n",
    ),
    "a top-level line": (
        "import a\n import b\nimport c\n",
        2,
        "indented 1, the other lines of its block 0",
        "import a\nimport b\nimport c\n",
    ),
    "a statement over several lines": (
        "def f(x):\n    y = x\n     z = g(\n      y,\n    )\n    return z\n",
        3,
        "indented 5",
        "def f(x):\n    y = x\n    z = g(\n      y,\n    )\n    return z\n",
    ),
    "full-width punctuation": (
        "def f（x，y）：\n    return 'a，b'  # （c）\n",
        1,
        "`（` is not Python's `(` (and 3 more like it)",
        "def f(x,y):\n    return 'a，b'  # （c）\n",
    ),
    "curly quotes": (
        "print(“it’s, good”)\n",
        1,
        "`“` is not Python's",
        'print("it’s, good")\n',
    ),
    "a space that is none": ("x\u00a0= 1\n", 1, "no-break space (U+00A0)", "x = 1\n"),
    "an invisible character between words": (
        "def\u200bf(x):\n    return\u200b\u2060x\n",
        1,
        "zero width space",
        "def f(x):\n    return x\n",
    ),
    "an invisible character": ("x = f\u200b(1)\n", 1, "zero width space", "x = f(1)\n"),
    "an invisible indentation": ("x = 1\n\ufeffy = 2\n", 2, "(U+FEFF)", "x = 1\ny = 2\n"),
    "a missing colon": (
        "class A:\n    def f(self)  # why: not\n        pass\n",
        2,
        "the colon at the end of this `def` is missing",
        "class A:\n    def f(self):  # why: not\n        pass\n",
    ),
    "a missing colon after several lines": (
        "if (x and\n    y)\n    pass\n",
        2,
        "the colon at the end of this `if`",
        "if (x and\n    y):\n    pass\n",
    ),
    "tabs of eight columns": (
        "def f():\n        x = 1\n\treturn x\n",
        3,
        "tabs and spaces are mixed",
        "def f():\n        x = 1\n        return x\n",
    ),
    "tabs of four columns": (
        'def f():\n    """\tkept"""\n    x = 1\n\treturn x\n',
        4,
        "tabs and spaces are mixed",
        'def f():\n    """\tkept"""\n    x = 1\n    return x\n',
    ),
}


@pytest.mark.parametrize(("code", "line", "words", "after"), REPAIRED.values(), ids=REPAIRED)
def test_what_is_certain_is_repaired_and_offered_as_a_fix(code, line, words, after) -> None:
    document = read_document(Path("a.py"), data=code.encode())
    result = parse(document)
    (problem,) = result.problems
    assert words in problem.message
    assert problem.repaired
    assert result.complete
    assert result.document.origin(problem.location).line == line
    assert mended(document, result) == after
    assert ast.dump(result.tree) == ast.dump(ast.parse(after))
    assert syntax_tree(result.document.code)


def test_two_independent_slips_of_one_statement_are_two_repairs() -> None:
    code = "class A:\n    def f(self):\n        x = 1\n         y = 2\n        return x\n\n"
    code += "     def g(self):\n        return 1\n"
    result = parsed(code)
    assert [problem.location.line for problem in result.problems] == [4, 7]
    assert result.complete


def test_a_repair_that_could_mean_two_things_is_not_made() -> None:
    # Blocks of two columns: three may be two or four.
    result = parsed("def f():\n  if x:\n    y = 1\n   z = 2\n  return z\n")
    assert not result.problems[0].repaired


def test_the_columns_of_a_repaired_line_are_the_authors() -> None:
    code = "class A:\n     def f(self, x): return x\n    def g(self): return 1\n"
    result = parsed(code)
    function = result.tree.body[0].body[0]
    argument = function.args.args[1]
    place = Location("a.py", 2, argument.col_offset + 1, 2, argument.end_col_offset + 1)
    shown = result.document.origin(place)
    assert code.split("\n")[1][shown.column - 1 : shown.end_column - 1] == "x"


# What is explained only: the code, the line and column, words of the message, and how many
# top-level statements are left.
EXPLAINED = {
    "a bracket": ("x = f(a,\n    b\ny = 3\nz = 4\n", (1, 6), "this `(` is never closed", 2),
    "an inner bracket": ("m = f(\n    g(3, 4,\n    h(),\n)\n", (2, 6), "this `(` is never", 0),
    "a bracket of a class": (
        "class A(B:\n    pass\n\n\ndef f():\n    pass\n",
        (1, 8),
        "this `(` is never closed",
        1,
    ),
    "a bracket too many": ("x = f(a))\ny = 1\n", (1, 9), "this `)` closes nothing", 1),
    "the wrong bracket": ("x = f(a]\ny = 1\n", (1, 8), "this `]` meets the `(` of line 1", 1),
    "a string": ("x = 'abc\ny = 2\n", (1, 5), "not closed on its line", 1),
    "a long string": ('x = """abc\ny = 2\n', (1, 5), "triple-quoted string is never closed", 0),
    "print": ('x = 1\nprint "x", x\n', (2, 1), "`print` is a function in Python 3", 1),
    "except": ("try:\n    x\nexcept A, e:\n    pass\n", (3, 1), "is Python 2", 0),
    "octal": ("import os\nos.chmod(x, 0755)\n", (2, 1), "begins with 0 is Python 2", 1),
    "a dotted import": (
        "from a import b\nfrom torch.nn import torch.functional as F\n",
        (2, 22),
        "the names after `import` have no dots",
        1,
    ),
    "a dotted name": ("import torch as t.t\n", (1, 17), "a name has no dots", 0),
    "a keyword": ("lambda = 0.1\n", (1, 1), "`lambda` is a word of Python's own", 0),
    "a keyword as attribute": ("x = a.class\n", (1, 7), "`class` is a word of Python's own", 0),
    "a comparison": ("if f(a=1) and y = 2:\n    pass\n", (1, 17), "does not compare", 0),
    "else if": ("if x:\n    y\nelse if z:\n    y\n", (3, 1), "Python writes `elif`", 0),
    "an else of its own": ("x = 1\nelse:\n    y\n", (2, 1), "`else` belongs to no `if`", 0),
    "ands": ("if x && y:\n    pass\n", (1, 6), "Python writes `and`", 0),
    "no body": ("def f():\nx = 1\n", (1, 1), "the `def` of line 1 has no body", 1),
    "no body at the end": ("x = 1\ndef f():\n", (2, 1), "the `def` of line 2 has no body", 1),
    "no body of a method": (
        "class A:\n    def f(self):\n    def g(self):\n        pass\n",
        (3, 5),
        "the `def` of line 2 has no body",
        0,
    ),
    "a column of its own": (
        "class A:\n      def f(self):\n     x = 1\n     y = 2\n",
        (3, 6),
        "this line is indented 5, and no block around it is: they are indented 0 and 6",
        0,
    ),
    "an indented line": (
        "def f():\n    x\n      y\n    z\n",
        (3, 7),
        "this line is indented 6, its block 4",
        0,
    ),
    "two expressions": ("f(a b)\n", (1, 3), "perhaps a comma", 0),
    "a strange character": ("x = …\n", (1, 5), "`…` is no part of Python", 0),
    "anything else": ("x = 1\ny = = 2\n", (2, 5), "not valid Python", 1),
    "a conflict": (
        "x = 1\n<<<<<<< HEAD\ny = 2\n=======\ny = 3\n>>>>>>> other\nz = 1\n",
        (2, 1),
        "merge conflict",
        3,
    ),
    "a conflict in a class": (
        "class A:\n<<<<<<< HEAD\n    y = 2\n||||||| base\n    y = 0\n=======\n>>>>>>> other\n",
        (2, 1),
        "merge conflict",
        1,
    ),
}


@pytest.mark.parametrize(("code", "place", "words", "left"), EXPLAINED.values(), ids=EXPLAINED)
def test_the_rest_is_explained_and_left_out(code, place, words, left) -> None:
    if sys.version_info >= (3, 14) and words == "is Python 2":
        pytest.skip("this Python reads it as two classes of errors")
    result = parsed(code)
    (problem,) = result.problems
    assert words in problem.message
    assert (problem.location.line, problem.location.column) == place
    assert not problem.repaired
    assert not result.complete
    assert len(result.tree.body) == left
    assert len(syntax_tree(result.document.code).body) == left


def test_help_names_the_import_that_was_meant() -> None:
    for wrong, right in {
        "from torch.nn import torch.functional as F": "from torch.nn import functional as F",
        "from torch.nn import nn.functional": "from torch.nn import functional",
        "from models import blocks.Residual": "from models.blocks import Residual",
    }.items():
        assert parsed(wrong).problems[0].help == f"`{right}`"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads it")
@pytest.mark.parametrize("code", ["class A[T]:\n    x: T", "type A = int", "f'{a['b']}'"])
def test_newer_syntax_is_called_newer(code: str) -> None:
    assert "need Python 3.12" in parsed(code).problems[0].message


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("try:\n    pass\nexcept ValueError, TypeError:\n    pass", (3, 14)),
        ('x = t"hello {1}"', (3, 14)),
        ("f(1, Rt'a')", (3, 14)),
        ("lazy import json", (3, 15)),
        ("y = [*a for a in b]", (3, 15)),
        ("y = {**a for a in b}", (3, 15)),
    ],
)
def test_the_newest_syntax_is_called_newer(code: str, needed: tuple[int, int]) -> None:
    if sys.version_info >= needed:
        pytest.skip("this Python reads it")
    assert f"need Python {needed[0]}.{needed[1]}" in parsed(code).problems[0].message


def test_each_broken_statement_is_explained_and_the_others_are_kept() -> None:
    code = "import a\nx = (1\n\n\n@b\nclass C:\n    '''a\nb (\n'''\n    d = [\n1,\n]\n\n\n"
    code += "def f(:\n    pass\n\n\nif x:\n    pass\nelif y:\n    pass\nelse:\n    pass\n"
    result = parsed(code)
    assert [problem.location.line for problem in result.problems] == [2, 15]
    assert [type(s).__name__ for s in result.tree.body] == ["Import", "ClassDef", "If"]


def test_comments_of_what_is_left_out_stay() -> None:
    result = parsed("x = 1\ndef f(:  # archcheck: ignore[AC001]\n    pass\n")
    (pragma,) = pragmas(result.document, result.tree)
    assert pragma.covers(result.problems[0].location)


@pytest.mark.parametrize(
    "code",
    ["(" * 300 + ")" * 300, "x = " + "-" * 50_000 + "1", "x = " + "+".join(["1"] * 30_000)],
    ids=["brackets", "signs", "a sum"],
)
def test_what_is_too_much_for_the_parser_is_a_problem_of_its_own(code: str) -> None:
    result = parsed(f"{code}\ny = 1\n")
    if sys.version_info >= (3, 15) and code.startswith("x = 1+"):
        assert (result.problems, len(result.tree.body)) == ((), 2)  # its parser copes
        return
    assert len(result.problems) == 1
    assert len(result.tree.body) == 1


LONG = [" " * 30_000 + "x", "." * 30_000 + "x", "x = " * 5_000, "a," * 5_000 + "= !x", "'" * 30_001]
LONG += ["(" * 3_000 + "\n)" * 3_000, "if " + ": " * 5_000 + "x", "（" * 5_000, ">>> f(\n" * 2_000]


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_no_line_is_too_long(text: str) -> None:
    assert parsed(f"import x\n{text}\ny = 1\n").problems
    parsed(f"```python\nimport x\ndef f(x):\n  if x:\n  {text}\n  y = f(1)\n```\n", "a.md")


def test_a_broken_block_says_so_in_the_documents_columns() -> None:
    text = "* item\n\n  ```python\n  class A:\n       def f(self):\n          return 1\n"
    text += "      def g(self):\n          return 1\n  ```\n"
    result = parsed(text, "a.md")
    (problem,) = result.problems
    assert problem.message == "this line is indented 7, the other methods of `A` 6"
    shown = result.document.origin(problem.location)
    assert (shown.line, shown.column) == (5, 8)
    document = read_document(Path("a.md"), data=text.encode())
    assert mended(document, result) == text.replace("       def f", "      def f")


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the source documents are not here")
@pytest.mark.parametrize(
    ("number", "lines"), [("000", [56]), ("001", [32]), ("002", []), ("003", []), ("004", [38])]
)
def test_the_broken_lines_of_the_source_documents(number: str, lines: list[int]) -> None:
    (path,) = SEEDS.glob(f"{number}_*.md")
    document = read_document(path)
    result = parse(document)
    problems = [result.document.origin(problem.location) for problem in result.problems]
    assert [place.line for place in problems] == lines
    if number == "000":
        assert result.complete
        assert "indented 9, the other methods of `ResNet32` 8" in result.problems[0].message
        text = mended(document, result).split("\n")
        before = document.text.split("\n")
        assert [n for n, (a, b) in enumerate(zip(text, before, strict=True), 1) if a != b] == [56]
        assert " " + text[55] == before[55]


# Nothing crashes.

VALID = [
    *sorted((ROOT / "fixtures").glob("*/*.py"))[::7],
    *sorted((ROOT / "fixtures").glob("*/*.md")),
    *sorted((ROOT / "fixtures").glob("*/*.ipynb")),
    ROOT / "archcheck" / "python" / "documents" / "snippets.py",
]
PIECES = [*"()[]{}:,'\"#\\ \t\n\r=.@;`（）：，“”…\u200b\0", '"""', "'''", "\n\n", "    ", ">>> "]
PIECES += ["```", "def ", "class ", "if x", "else:\n", "import a.b", "print x"]


@st.composite
def mutilated(draw: st.DrawFn) -> tuple[str, str]:
    """A file's name, and its text after some cuts and insertions."""
    path = draw(st.sampled_from(VALID))
    text = path.read_text(encoding="utf-8")
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.sampled_from([0, 0, 1, 1, 3, 40, 400]))
        text = text[:at] + draw(st.sampled_from(["", *PIECES])) + text[at + cut :]
    return path.name, text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutilated())
def test_mutilated_files_are_read_explained_and_mended(file: tuple[str, str]) -> None:
    name, text = file
    try:
        document = read_document(Path(name), data=text.encode("utf-8", "replace"))
    except DocumentError:
        return
    result = parse(document)
    assert len(result.document.lines) == len(document.lines)
    assert ast.dump(syntax_tree(result.document.code)) == ast.dump(result.tree)
    pragmas(result.document, result.tree)
    if document.kind == "python":
        assert result.problems or result.complete
    shown = document.shown_lines
    for problem in result.problems if document.kind != "notebook" else ():
        for location in (problem.location, *(edit.location for edit in problem.edits)):
            origin = result.document.origin(location)
            assert 1 <= origin.line <= len(shown)
            assert 1 <= origin.column <= len(shown[origin.line - 1]) + 1
    if result.problems and all(problem.edits for problem in result.problems):
        again = parse(
            read_document(Path(name), data=mended(document, result).encode("utf-8", "replace"))
        )
        assert again.problems == ()
        assert ast.dump(again.tree) == ast.dump(result.tree)


def test_installed_packages_are_read_without_a_problem() -> None:
    import hypothesis

    folder = Path(hypothesis.__file__).parent
    for path in sorted(folder.rglob("*.py"))[::4]:
        assert parse(read_document(path)).problems == (), path
