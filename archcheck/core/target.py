"""What the user asks for on the command line: targets and inputs, as text and as data."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from archcheck.core.cost_request import StepRequest
from archcheck.core.probe_request import ProbeRequest


class UsageError(Exception):
    """The call itself is wrong. The text is one line: what is wrong, and how to mend it."""


Shape: TypeAlias = tuple[int, ...]
Size: TypeAlias = int | str  # a letter leaves the size free


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One `--input`: a tensor, or a list or dict of them where forward wants one.

    Attributes:
        shapes: Of the tensor, or of each tensor in the list or dict.
        dtype: Canonical, such as `float32`; None where the user named none.
        name: The parameter of forward that it is for.
        nested: It was written in brackets or braces: a list or a dict of tensors.
        keys: Those of the dict, one for each shape.
        dtypes: One for each shape, where they were given one by one.
    """

    shapes: tuple[tuple[Size, ...], ...]
    dtype: str | None = None
    name: str | None = None
    nested: bool = False
    keys: tuple[str, ...] = ()
    dtypes: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A model to trace: `path/to/file.py:Name(…)`, `notes.md:331:Name`, `package.module:Name`.

    Attributes:
        text: As the user wrote it.
        place: The file's path or the module's dotted name.
        is_file: Which of the two.
        name: The (dotted) name in it.
        call: The source text of the call's arguments, None where the target is no call.
        line: Take the definition at or after this line.
    """

    text: str
    place: str
    is_file: bool
    name: str
    call: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Everything that a worker needs to know to make one `Trace`; plain data, and a cache key.

    Attributes:
        memory_limit: In bytes, beyond what Python and torch take; None for 80 % of what is free.
        import_whole: Import the target's file the ordinary way, not only what the name needs.
        input_from: `file.py:function` that returns the arguments of forward.
        buffers: The bytes of files that are read in the place of the disk's, by absolute path.
        training: Record a training step, too.
        symbolic: Find every size as a function of the input's, too.
        probe: Run the model on real tensors, too.
    """

    target: Target
    inputs: tuple[InputSpec, ...] = ()
    mode: Literal["train", "eval"] = "train"
    timeout: float = 60.0
    memory_limit: int | None = None
    import_whole: bool = False
    find_sizes: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    input_from: Target | None = None
    buffers: Mapping[str, bytes] = field(default_factory=dict)
    training: StepRequest | None = None
    symbolic: bool = False
    probe: ProbeRequest | None = None


# File name endings that make a place a file even where it is a dotted name too.
_FILE_ENDINGS = (".py", ".pyi", ".pyw", ".md", ".markdown", ".mdx", ".rst", ".ipynb", ".txt")
_IDENTIFIER = r"[^\W\d]\w*"
_NAMED = re.compile(
    rf"(?P<place>.+?):(?:(?P<line>\d+):)?(?P<name>{_IDENTIFIER}(?:\.{_IDENTIFIER})*)"
    r"\s*(?:\((?P<call>.*)\))?",
    re.DOTALL,
)
_MODULE = re.compile(rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*")
# What stands before a colon that no drive letter owns: `net.py:…`.
_FILE_AND_REST = re.compile(
    rf"(?P<place>.+?(?:{'|'.join(map(re.escape, _FILE_ENDINGS))})):(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)


NAMED_MODELS = "archcheck.worker.named_models"
_PACKAGES = ("timm", "torchvision", "hf")
_MODEL_NAME = re.compile(r"(?P<name>[\w./-]+?)\s*(?:\((?P<call>.*)\))?", re.DOTALL)


def _named_model(text: str) -> Target | None:
    """`timm:resnet50`, `torchvision:vit_b_16`, `hf:FOLDER`: a call of the worker's functions.

    Raises:
        UsageError: There is no config.json in the folder, or the arguments are no literals.
    """
    package, colon, rest = text.partition(":")
    if not colon or not rest or package not in _PACKAGES or Path(text).exists():
        return None
    if package == "hf":
        if not (Path(rest) / "config.json").is_file():
            raise UsageError(
                f"`{text}`: there is no {(Path(rest) / 'config.json').as_posix()}; name the folder "
                "of a model, as in `hf:path/to/model`"
            )
        return Target(text, NAMED_MODELS, False, package, repr(Path(rest).resolve().as_posix()))
    match = _MODEL_NAME.fullmatch(rest)
    if match is None or match["name"] in ("create_model", "get_model"):
        return None
    arguments = f", {match['call']}" if match["call"] else ""
    call = repr(match["name"]) + arguments
    check_arguments(text, package, call)
    return Target(text, NAMED_MODELS, False, package, call)


def parse_target(text: str) -> Target | None:
    """Read a target that names a model; None for a plain path, which is checked from source.

    Raises:
        UsageError: It names a file and no model in it, or its arguments are no literals.
    """
    named = _named_model(text)
    if named is not None:
        return named
    match = _NAMED.fullmatch(text)
    if match is None:
        broken = _FILE_AND_REST.fullmatch(text)
        if broken is not None and not Path(text).exists():
            raise _broken_target(text, broken["place"], broken["rest"])
        return None
    place, name, call = match["place"], match["name"], match["call"]
    if place.endswith(":"):
        raise UsageError(f"`{text}`: one colon stands before the name: `{text.replace('::', ':')}`")
    is_file = (
        place.lower().endswith(_FILE_ENDINGS)
        or _MODULE.fullmatch(place) is None
        or Path(place).is_file()
    )
    if call is not None:
        call = call.strip()
        check_arguments(text, name, call)
    return Target(
        text=text,
        place=place,
        is_file=is_file,
        name=name,
        call=call,
        line=int(match["line"]) if match["line"] else None,
    )


def _broken_target(text: str, place: str, rest: str) -> UsageError:
    if not rest or rest.isdigit():
        return UsageError(f"`{text}` names no model: write `{place}:Name`, with the model's name")
    if rest.count("(") != rest.count(")"):
        return UsageError(f"`{text}`: a bracket is not closed; quote the target in the shell")
    return UsageError(
        f"`{text}`: after the colon comes a name, perhaps called with literal arguments, "
        f"such as `{place}:Net(num_classes=10)`"
    )


def check_arguments(text: str, name: str, call: str) -> ast.Call:
    """The call of a target, if its arguments are literals, names, attributes and calls of those.

    Raises:
        UsageError: They are anything else, or do not parse.
    """
    try:
        # In brackets, so that line feeds in the text mean nothing.
        expression = ast.parse(f"({name}({call}\n))", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        expression = None
    if not isinstance(expression, ast.Call) or ast.unparse(expression.func) != name:
        raise UsageError(f"`{text}`: the arguments do not parse: `({call})`")
    unusual = unusual_part(expression)
    if unusual is not None:
        raise UsageError(
            f"`{text}`: `{ast.unparse(unusual)}` is no literal; arguments are numbers, strings, "
            "lists, dicts, names of the file, and calls of those"
        )
    return expression


def unusual_part(node: ast.expr) -> ast.expr | None:
    """The first part of an argument that is neither a literal nor a name, attribute or call."""
    parts: list[ast.expr | None]
    match node:
        case ast.Constant() | ast.Name():
            return None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return None
        case ast.Attribute(value=value, attr=attribute):
            if attribute.startswith("_"):
                return node
            parts = [value]
        case ast.Call(func=function, args=arguments, keywords=keywords):
            if any(keyword.arg is None for keyword in keywords):
                return node
            parts = [function, *arguments, *(keyword.value for keyword in keywords)]
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            parts = list(elements)
        case ast.Dict(keys=keys, values=values):
            if None in keys:
                return node
            parts = [*keys, *values]
        case _:
            return node
    return next((found for part in parts if part and (found := unusual_part(part))), None)


_DTYPE_NAMES = (
    *("float16", "bfloat16", "float32", "float64"),
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("bool", "complex32", "complex64", "complex128"),
)
_DTYPES = dict(zip(_DTYPE_NAMES, _DTYPE_NAMES, strict=True)) | {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "byte": "uint8",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
}
_FORM = "write sizes such as `8,3,224,224`, `ids=8,128:int64` or `B,3,H,W`"


def parse_input(text: str) -> InputSpec:
    """Read an `--input`: `8,3,224,224`, `ids=8,128:int64`, `images=[3,800,800;3,600,900]`.

    Raises:
        UsageError: A size is missing, no positive whole number and no letter, or the dtype is
            unknown.
    """
    name, equals, body = text.partition("=")
    if "{" in name or not equals:
        name, body = "", text
    name = name.strip()
    if equals and body is not text and not name.isidentifier():
        raise UsageError(f"--input {text}: `{name}` is no parameter's name; {_FORM}")
    body = body.strip()
    bracketed = re.fullmatch(r"([\[{])(.*)([\]}])\s*(?::([^:\]}]*))?", body, re.DOTALL)
    if bracketed is None:
        shape, dtype = _tensor(text, body)
        return InputSpec((shape,), dtype, name or None)
    opening, inside, closing, suffix = bracketed.groups()
    if opening + closing not in ("[]", "{}"):
        raise UsageError(f"--input {text}: `{opening}` is not closed; {_FORM}")
    keys: list[str] = []
    tensors: list[tuple[tuple[Size, ...], str | None]] = []
    for part in inside.split(";"):
        if opening == "{":
            key, has_key, part = part.partition("=")
            keys.append(key.strip().strip("'\""))
            if not has_key or not keys[-1]:
                raise UsageError(
                    f"--input {text}: a dict of tensors is written "
                    "`batch={image=8,3,224,224;mask=8,224,224:bool}`"
                )
        tensors.append(_tensor(text, part.strip()))
    dtypes = tuple(dtype for _, dtype in tensors)
    return InputSpec(
        tuple(shape for shape, _ in tensors),
        None if suffix is None else _dtype(text, suffix),
        name or None,
        nested=True,
        keys=tuple(keys),
        dtypes=dtypes if any(dtypes) else (),
    )


def _tensor(text: str, body: str) -> tuple[tuple[Size, ...], str | None]:
    sizes, colon, dtype = body.partition(":")
    sizes = sizes.strip()
    if colon and not sizes:
        # `t=:int64`: a tensor without dimensions.
        return (), _dtype(text, dtype)
    if sizes.startswith("(") and sizes.endswith(")"):
        sizes = sizes[1:-1].strip()
        if not sizes:
            return (), _dtype(text, dtype) if colon else None
        sizes = sizes.removesuffix(",")
    shape = tuple(_size(text, size.strip()) for size in sizes.split(","))
    return shape, _dtype(text, dtype) if colon else None


def _size(text: str, size: str) -> Size:
    if re.fullmatch(r"[0-9]+", size) and 0 < int(size) < 2**63:
        return int(size)
    if re.fullmatch(r"[^\W\d_][0-9]?", size):
        return size
    if not size:
        raise UsageError(f"--input {text}: a size is missing; {_FORM}")
    if letter := re.fullmatch(r"[\s\d()+*/-]*([^\W\d_])[\s\d()+*/-]*", size):
        right = text.replace(size, letter[1])
        raise UsageError(
            f"--input {text}: `{size}` is arithmetic, and a size is a number or one letter that "
            f"leaves it free: `{right}`"
        )
    if re.fullmatch(r"\d+([xX*×]\d+)+", size):
        commas = re.sub(r"[xX*×]", ",", size)
        raise UsageError(f"--input {text}: sizes are separated by commas: `{commas}`")
    raise UsageError(
        f"--input {text}: `{size}` is no size; sizes are positive whole numbers, "
        "or a letter for one that is left free"
    )


def _dtype(text: str, name: str) -> str:
    known = _DTYPES.get(name.strip().lower().removeprefix("torch."))
    if known is None:
        raise UsageError(
            f"--input {text}: `{name.strip()}` is no dtype; "
            "known are float32, float16, bfloat16, float64, int64, int32, uint8, bool, complex64"
        )
    return known
