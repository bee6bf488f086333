"""Which snippets of text are meant as Python, and the Python in them.

Documents show more than code: printed models, training logs, shell sessions, signatures, code with
parts left out. A snippet is code where it parses and does something, or where its lines are
plainly Python; everything else is passed over. What a reader would not call broken (a prompt, a
notebook's magics, a part left out with dots) is taken out before it is judged.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from archcheck.python.syntax.python_likeness import is_code, is_python_snippet
from archcheck.python.syntax.segments import segments
from archcheck.python.syntax.tree import syntax_tree
from archcheck.python.text.comments import without_comment


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a snippet, and how many characters were cut from its start."""

    text: str
    cut: int = 0


_PYTHON = re.compile(r"(i?python[\d.]*|i?py[\d.]*|sage|pycon|pytb-?code|torch|pytorch)$")
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)|In ?\[[\d ]*\]: ?| {3,}\.\.\.: ?")
_FIRST_PROMPT = re.compile(r">>>(?: |$)|In ?\[[\d ]*\]: ?")


def is_python(language: str) -> bool:
    """Whether a fence's first word names Python, in any of its spellings."""
    return bool(_PYTHON.match(language))


def language_of(info: str) -> str:
    """The language of a fence's info string.

    It may be dressed up: `Python {.line-numbers}`, `{.py #id}`, `{code-cell} ipython3`, `py:a.py`.
    """
    text = info.strip().lower()
    if text.startswith("{"):
        directive, _, argument = text[1:].partition("}")
        named = directive.strip() in ("code-cell", "code-block", "code", "sourcecode")
        text = argument.strip() if named else directive.strip().lstrip(".=")
    return re.split(r"[\s,{:;(\[=]", text, maxsplit=1)[0] if text else ""


def python_of(lines: Sequence[str], *, fenced_as_python: bool) -> list[Line] | None:
    """The Python in a snippet, line for line; None where it is no code.

    Args:
        fenced_as_python: Its author said so. Otherwise it takes more to believe it.
    """
    code = dedented([Line(line) for line in lines])
    first = next((line.text for line in code if line.text), None)
    if first is None:
        return None
    session = bool(_FIRST_PROMPT.match(first))
    if session:
        code = without_prompts(code)
    for change in (_as_it_is, without_magics, _in_one_margin, completed):
        code = change(code)
        try:
            tree = syntax_tree("\n".join(line.text for line in code))
        except SyntaxError:
            continue
        if change is completed and _is_bare_header(lines):
            return None
        return code if fenced_as_python or session or _does_something(tree) else None
    if session:
        # What was typed ran somewhere; what is left of it without its output need not parse.
        return _only_what_parses(code)
    meant = is_python_snippet([line.text for line in code], named=fenced_as_python)
    return code if meant else None


def _only_what_parses(code: Sequence[Line]) -> list[Line]:
    kept = [Line("") for _ in code]
    texts = [line.text for line in code]
    for statement in segments(texts):
        part = slice(statement.start, statement.stop)
        try:
            syntax_tree("\n".join(texts[part]))
        except SyntaxError:
            continue
        kept[part] = code[part]
    return kept


def _as_it_is(lines: list[Line]) -> list[Line]:
    return lines


def dedented(lines: Sequence[Line]) -> list[Line]:
    """The lines without the indentation that all of their code shares."""
    margin: str | None = None
    for line in [line for line in lines if is_code(line.text)] or lines:
        lead = line.text[: _width(line.text)]
        if not line.text.strip():
            continue
        if margin is None:
            margin = lead
        while not lead.startswith(margin):
            margin = margin[:-1]
        if not margin:
            break
    return _cut(lines, len(margin or ""))


def _cut(lines: Sequence[Line], width: int) -> list[Line]:
    """The lines without so many characters of indentation, or what they have of it."""
    code = []
    for line in lines:
        here = min(width, _width(line.text))
        code.append(Line(line.text[here:], line.cut + here) if line.text.strip() else Line(""))
    return code


def _in_one_margin(lines: list[Line]) -> list[Line]:
    """Excerpts from different depths one below the other, each without its indentation."""
    code: list[Line] = []
    rest = lines
    while rest:
        widths = [(n, _width(line.text)) for n, line in enumerate(rest) if is_code(line.text)]
        # One column too many is a slip and no excerpt.
        if not widths or widths[0][1] < 2:
            break
        end = next((n for n, width in widths if width < widths[0][1]), len(rest))
        code += _cut(rest[:end], widths[0][1])
        rest = rest[end:]
    return code + rest


def without_prompts(lines: Sequence[Line]) -> list[Line]:
    """A console session's input; its output is blanked."""
    code = []
    for line in lines:
        match = _PROMPT.match(line.text)
        if match:
            code.append(Line(line.text[match.end() :], line.cut + match.end()))
        else:
            code.append(Line(""))
    return code


# A cell magic that runs its cell as Python; any other hands it to another program.
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun|memit|mprun|lprun|debug|python3?|pypy)\b")
_MAGIC = re.compile(r"(?P<indent>[ \t]*)(?:%{1,2}[A-Za-z]|!|\?{1,2}[\w.]|[\w.]+\?{1,2}\s*$)")
# Magics of a line that run the statement after them in the notebook itself.
_TIMED = re.compile(r"(?P<indent>[ \t]*)%(?:time|timeit|prun|memit)\s+(?:-\w+(?:\s*\d+)?\s+)*")
_MAGIC_VALUE = re.compile(r"(?P<target>[ \t]*[\w\[(][\w.,\[\]() ]*=[ \t]*)(?:%[A-Za-z]|!)")


# The line magics of IPython 9 and of Jupyter's kernel, with the aliases that it has on Unix.
_LINE_MAGICS = frozenset(
    "alias alias_magic autoawait autocall automagic autosave bookmark cat cd clear code_wrap "
    "colors conda config connect_info cp debug dhist dirs doctest_mode ed edit env gui hist "
    "history killbgscripts ldir less lf lk ll load load_ext loadpy logoff logon logstart logstate "
    "logstop ls lsmagic lx macro magic mamba man matplotlib micromamba mkdir more mv notebook "
    "page pastebin pdb pdef pdoc pfile pinfo pinfo2 pip popd pprint precision prun psearch "
    "psource pushd pwd pycat pylab qtconsole quickref recall rehashx reload_ext rep rerun reset "
    "reset_selective rm rmdir run save sc set_env store sx system tb time timeit unalias "
    "unload_ext uv who who_ls whos xdel xmode".split()
)


def is_automagic(cell: Sequence[str], bound: Container[str]) -> bool:
    """Whether IPython takes a cell for a magic without its `%`.

    As it decides itself: the cell is one line (empty ones before it aside), begins with the name of
    a line magic that no variable hides, and assigns nothing.
    """
    lines = list(cell)
    while lines and not lines[0].strip():
        del lines[0]
    if len(lines) > 1 and lines[-1] == "":  # the line break at the end
        lines.pop()
    match = re.match(r"\s*([\w.]+)\s*(.*)", lines[0]) if len(lines) == 1 else None
    if match is None or match[1] not in _LINE_MAGICS or match[1] in bound:
        return False
    return not match[2].startswith(("=", ","))


def _timed(line: Line) -> Line | None:
    """The statement that a magic such as `%time` runs; None of other magics."""
    match = _TIMED.match(line.text)
    if match is None:
        return None
    statement = line.text[match.end() :]
    try:
        syntax_tree(statement)
    except SyntaxError:
        return None
    indent = match["indent"]
    return Line(indent + statement, line.cut + match.end() - len(indent))


def without_magics(lines: Sequence[Line]) -> list[Line]:
    """A notebook's code without its magics, shell lines and questions."""
    code = list(lines)
    first = next((number for number, line in enumerate(code) if line.text.strip()), 0)
    if code and code[first].text.startswith("%%"):
        if not _PYTHON_CELL.match(code[first].text):
            return [Line("") for _ in code]
        code[first] = Line("")
    continued = False
    for number, line in enumerate(code):
        text = line.text
        if continued:
            code[number] = Line("")
        elif (timed := _timed(line)) is not None:
            code[number] = timed
        elif match := _MAGIC.match(text):
            # A body may hold nothing else.
            indent = match["indent"]
            code[number] = Line(f"{indent}pass" if indent else "", line.cut)
        elif match := _MAGIC_VALUE.match(text):
            code[number] = Line(match["target"] + "...", line.cut)
        else:
            continue
        continued = text.endswith("\\")
    return code


_LEFT_OUT = re.compile(r"(?P<indent>[ \t]*)(?:\.\s?\.|…|⋮)[\s.…]*$")
_HEADER = re.compile(
    r"[ \t]*(?:(?:async\s+)?(?:def|for|with)|class|while|if|elif|else|try|except|finally)\b"
    r".*:\s*(?:#.*)?$"
)


def completed(lines: Sequence[Line]) -> list[Line]:
    """A snippet with dots in the place of what its author left out."""
    code = list(lines)
    for number, line in enumerate(code):
        match = _LEFT_OUT.match(line.text)
        if match:
            code[number] = Line(match["indent"] + "...", line.cut)
    for number, line in enumerate(code):
        if _HEADER.match(line.text) and _has_no_body(number, code):
            header = without_comment(line.text).rstrip()
            code[number] = Line(f"{header} ...", line.cut)
    return code


_OUTLINED = re.compile(r"[ \t]*(?:@|(?:async\s+)?def\s|class\s)")


def _has_no_body(header: int, code: Sequence[Line]) -> bool:
    """Whether a body is left out: a comment stands for it, or the next header, or nothing."""
    width = _width(code[header].text)
    outlined = bool(_OUTLINED.match(code[header].text))
    spoken_of = False
    for line in code[header + 1 :]:
        if is_code(line.text):
            left_out = spoken_of or (outlined and _OUTLINED.match(line.text))
            return bool(left_out) and _width(line.text) <= width
        spoken_of |= bool(line.text.strip()) and _width(line.text) > width
    return True


def _width(text: str) -> int:
    return len(text) - len(text.lstrip(" \t"))


def _is_bare_header(lines: Sequence[str]) -> bool:
    """A statement that is only named: `with torch.no_grad():` and nothing below it."""
    return all(_HEADER.match(line) for line in lines if is_code(line))


def _does_something(tree: ast.Module) -> bool:
    """Whether code that nobody said is Python is more than words that happen to parse."""
    return any(
        isinstance(
            statement,
            ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        )
        or (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call))
        for statement in tree.body
    )
