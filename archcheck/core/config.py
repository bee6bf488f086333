"""Settings: `[tool.archcheck]` of pyproject.toml, and what the command line says over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from archcheck.core.finding import Severity
from archcheck.core.precisions import precision
from archcheck.core.target import Shape, UsageError, parse_input, parse_target
from archcheck.core.wording import nearest

Mode: TypeAlias = Literal["train", "eval"]

LOSSES = ("cross_entropy", "nll", "bce", "bce_with_logits", "mse")


@dataclass(frozen=True, slots=True)
class Model:
    """A model to trace, with what is asked of it. `inputs` are in the notation of `--input`."""

    target: str
    inputs: tuple[str, ...] = ()
    mode: Mode | None = None  # None: train
    loss: str | None = None
    expect_output: Shape | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_memory: int | None = None
    max_training_memory: int | None = None
    optimizer: str | None = None
    precision: str | None = None
    device: str | None = None
    generate: int | None = None
    probe: bool = False
    timeout: float | None = None  # seconds; None: that of the configuration
    input_from: str | None = None  # `file.py:function` that returns the inputs
    import_whole: bool = False
    weights: str | None = None  # a checkpoint that the model is to load
    allow_missing: tuple[str, ...] = ()  # keys that it may lack, as glob patterns
    symbolic: bool = False  # find every size as a function of the input's


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that decides what a check does. `select` None means the rules on by default."""

    paths: tuple[str, ...] = ()
    models: tuple[Model, ...] = ()
    source_roots: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force_exclude: bool = False  # exclude files that are named, too
    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fail_on: Severity = Severity.WARNING
    timeout: float = 60.0
    memory_limit: int | None = None
    trace: bool = True  # False: no model's code runs
    cache: bool = True
    baseline: str | None = None  # the file of findings that are let stand


def read_config(start: Path) -> tuple[Config, Path]:
    """The settings that hold in a folder, from the nearest pyproject.toml that has some.

    Returns:
        The settings, and the folder that their paths are relative to.

    Raises:
        UsageError: The file does not parse, or says something that archcheck does not know.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        shown = os.path.relpath(path)
        import tomllib

        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{shown} cannot be read: {error}") from error
        tools = document.get("tool")
        if isinstance(tools, dict) and "archcheck" in tools:
            return _config(tools["archcheck"], shown), folder
    return Config(), start


def _config(table: Any, file: str) -> Config:
    section = "[tool.archcheck]"
    values = _read(table, CONFIG_KEYS, file, section)
    if "models" in values:
        values["models"] = tuple(
            _model(entry, file, f"[[tool.archcheck.models]] number {number}")
            for number, entry in enumerate(values["models"], start=1)
        )
    config = Config(**values)
    for key, codes in (
        ("select", config.select or ()),
        ("extend-select", config.extend_select),
        ("ignore", config.ignore),
        *((f'per-file-ignores "{name}"', own) for name, own in config.per_file_ignores.items()),
    ):
        if codes:
            _require_known(codes, f"{file}: {section} {key}")
    return config


def _require_known(codes: Iterable[str], where: str) -> None:
    # Only whoever names codes needs the rules.
    from archcheck.core.codes import require_known
    from archcheck.core.rule import load_rules

    try:
        require_known(codes, load_rules())
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _model(table: Any, file: str, section: str) -> Model:
    values = _read(table, MODEL_KEYS, file, section)
    if "target" not in values:
        raise UsageError(f'{file}: {section} has no target; say target = "file.py:Name"')
    return Model(**values)


Reader: TypeAlias = Callable[[Any], Any]


def _read(
    table: Any, keys: Mapping[str, tuple[str, Reader]], file: str, section: str
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"{file}: {section} must be a table")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            raise UsageError(f"{file}: {section} has no key {key!r}{nearest(key, keys)}")
        attribute, reader = keys[key]
        try:
            values[attribute] = reader(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{file}: {section} {key}: {error}") from error
    return values


def parse_count(text: str | int) -> int:
    """`25M`, `4G`, `1_000`, 250: a number of things, with decimal suffixes.

    Raises:
        ValueError: It is no such number.
    """
    return _scaled(
        text, {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}, "25M"
    )


def parse_bytes(text: str | int) -> int:
    """`8GiB`, `500MB`, 1024: a number of bytes, with decimal or binary suffixes.

    Raises:
        ValueError: It is no such number.
    """
    units = {"": 1, "B": 1}
    for power, letter in enumerate("KMGT", start=1):
        units |= {f"{letter}B": 1000**power, f"{letter}IB": 1024**power, letter: 1024**power}
    return _scaled(text, units, "8GiB")


def _scaled(text: str | int, units: Mapping[str, int], example: str) -> int:
    problem = ValueError(f"{text!r} is no positive number such as {example}")
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise problem
    digits = str(text).strip().replace("_", "").upper()
    number = digits.rstrip("BIKMGT")
    try:
        value = float(number) * units[digits[len(number) :].strip()]
    except (KeyError, ValueError):
        raise problem from None
    if not 0 < value < float("inf"):
        raise problem
    return round(value)


def parse_shape(text: str) -> Shape:
    """`8,10`: the sizes of a tensor.

    Raises:
        ValueError: It is no such list of sizes.
    """
    try:
        shape = tuple(int(size) for size in text.split(","))
    except (AttributeError, ValueError):
        shape = ()
    if not shape or min(shape) < 0:
        raise ValueError(f"{text!r} is no shape such as 8,10")
    return shape


def parse_severity(text: str) -> Severity:
    """The severity of this name.

    Raises:
        ValueError: There is none.
    """
    try:
        return Severity(text)
    except ValueError:
        raise ValueError(f"{text!r} is not one of error, warning, note") from None


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("must be a list of strings")
    return tuple(value)


def _named(kind: str) -> Reader:
    def read(value: Any) -> str:
        text = _string(value)
        try:
            target = parse_target(text)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if target is None:
            raise ValueError(f"{text!r} names no {kind}: write `{text}:name`, with its name")
        return text

    return read


def _inputs(value: Any) -> tuple[str, ...]:
    for text in _strings(value):
        try:
            parse_input(text)
        except UsageError as error:
            raise ValueError(str(error).removeprefix("--input ")) from None
    return _strings(value)


def _one_of(*choices: str) -> Reader:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return read


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be a string")
    return value


def _precision(value: Any) -> str:
    text = _string(value)
    precision(text)
    return text


def _tokens(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError("must be a positive number of tokens")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise TypeError("must be a positive number of seconds")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _whole(value: Any) -> bool:
    return bool(_one_of("slice", "whole")(value) == "whole")


def _tables(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("must be an array of tables, [[tool.archcheck.models]]")
    return value


def _ignores(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise TypeError('must be a table such as { "tests/**" = ["AC5"] }')
    return {pattern: _strings(codes) for pattern, codes in value.items()}


CONFIG_KEYS: Mapping[str, tuple[str, Reader]] = {
    "paths": ("paths", _strings),
    "models": ("models", _tables),
    "source-roots": ("source_roots", _strings),
    "exclude": ("exclude", _strings),
    "force-exclude": ("force_exclude", _truth),
    "select": ("select", _strings),
    "extend-select": ("extend_select", _strings),
    "ignore": ("ignore", _strings),
    "per-file-ignores": ("per_file_ignores", _ignores),
    "fail-on": ("fail_on", parse_severity),
    "timeout": ("timeout", _seconds),
    "memory-limit": ("memory_limit", parse_bytes),
    "trace": ("trace", _truth),
    "cache": ("cache", _truth),
    "baseline": ("baseline", _string),
}
MODEL_KEYS: Mapping[str, tuple[str, Reader]] = {
    "target": ("target", _named("model")),
    "input": ("inputs", _inputs),
    "mode": ("mode", _one_of("train", "eval")),
    "loss": ("loss", _one_of(*LOSSES)),
    "expect-output": ("expect_output", parse_shape),
    "max-params": ("max_params", parse_count),
    "max-macs": ("max_macs", parse_count),
    "max-memory": ("max_memory", parse_bytes),
    "max-training-memory": ("max_training_memory", parse_bytes),
    "optimizer": ("optimizer", _string),
    "precision": ("precision", _precision),
    "device": ("device", _string),
    "generate": ("generate", _tokens),
    "probe": ("probe", _truth),
    "symbolic": ("symbolic", _truth),
    "timeout": ("timeout", _seconds),
    "input-from": ("input_from", _named("function")),
    "import": ("import_whole", _whole),
    "weights": ("weights", _string),
    "allow-missing": ("allow_missing", _strings),
}
