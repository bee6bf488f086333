"""What a call asks for: which files are read, and which models are traced."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from archcheck.core.config import Config, Model
from archcheck.core.discovery import source_files
from archcheck.core.target import Target, UsageError, parse_target


class Plan(NamedTuple):
    """Files to read, models to trace; both as seen from the working directory.

    Attributes:
        complaints: What is wrong with single targets.
        untraced: The models that are not traced, because no code may run.
        folders: The folders that are named: absolute imports in them may start there.
        named: The files that are named themselves.
    """

    files: tuple[Path, ...]
    models: tuple[tuple[Target, Model], ...]
    usage_errors: tuple[str, ...] = ()
    untraced: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        targets: Sequence[str] | None,
        config: Config,
        asked: Model,
        *,
        root: Path,
        buffers: Sequence[Path] = (),
    ) -> Plan:
        """What these targets stand for; without any, what the configuration names.

        Args:
            asked: What the command line asks of each model; it goes over the configuration.
            root: The folder that the configuration's paths are relative to.
            buffers: Files that are checked too, whatever the targets are.

        Raises:
            UsageError: There is nothing to check.
        """
        usage_errors: list[str] = []
        configured = [_from_here(model, root) for model in config.models]
        if targets or buffers:
            paths, models = _named(targets or (), configured, asked, usage_errors)
        else:
            paths = [_place_from_here(path, root) for path in config.paths]
            models = [_asked_over(asked, model) for model in configured]
            if not paths and not models:
                raise UsageError(
                    "nothing to check: name a target, such as `archcheck src/` or "
                    "`archcheck model.py:Net`, or set paths in [tool.archcheck] of pyproject.toml"
                )
        pairs: list[tuple[Target, Model]] = []
        for model in models:
            target = parse_target(model.target)
            assert target is not None, "a model's target has a name"
            pairs.append((target, model))
            # That the file is missing is for whoever loads it to say, once.
            if target.is_file and Path(target.place).is_file():
                paths.append(target.place)
        files = list(buffers)
        for path in paths:
            try:
                files += source_files(
                    [Path(path)], config.exclude, root, force=config.force_exclude
                )
            except UsageError as error:
                usage_errors.append(f"{error}{_said_apart(path, files)}")
        if targets and not pairs and not usage_errors:
            _refuse_what_only_models_take(asked, files)
        folders = tuple(os.path.abspath(path) for path in paths if os.path.isdir(path))
        plan = cls(
            tuple(dict.fromkeys(files)),
            tuple(pairs),
            tuple(usage_errors),
            folders=folders,
            named=frozenset(str(Path(path)) for path in [*map(str, buffers), *map(str, paths)]),
        )
        return plan if config.trace else plan._without_traces()

    def _without_traces(self) -> Plan:
        untraced = tuple(target.text for target, _ in self.models)
        return self._replace(models=(), untraced=untraced)


def _named(
    targets: Sequence[str], configured: Sequence[Model], asked: Model, usage_errors: list[str]
) -> tuple[list[str], list[Model]]:
    """The paths and the models among targets; a model that is configured, with what that says."""
    known = {model.target: model for model in configured}
    paths: list[str] = []
    models: list[Model] = []
    for text in targets:
        try:
            target = parse_target(text)
        except UsageError as error:
            usage_errors.append(str(error))
            continue
        if target is None:
            paths.append(text)
        else:
            models.append(_asked_over(asked, known.get(text, Model(text))))
    return paths, models


# What the command line asks of models alone, by the options that ask it.
_OF_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "inputs": "--input",
        "input_from": "--input-from",
        "expect_output": "--expect-output",
        "max_params": "--max-params",
        "max_macs": "--max-macs",
        "max_memory": "--max-memory",
        "weights": "--weights",
        "allow_missing": "--allow-missing",
        "max_training_memory": "--max-training-memory",
        "optimizer": "--optimizer",
        "precision": "--precision",
        "device": "--device",
        "generate": "--generate",
        "probe": "--probe",
        "symbolic": "--symbolic",
    }
)


def _refuse_what_only_models_take(asked: Model, files: Sequence[Path]) -> None:
    """Refuse a question about a model where none is named: nobody would answer it.

    Raises:
        UsageError: An option is given that a check from source does not look at.
    """
    said = next((option for name, option in _OF_MODELS.items() if getattr(asked, name)), None)
    if said is not None:
        file = files[0].as_posix() if len(files) == 1 else "model.py"
        raise UsageError(
            f"{said} is for a model, and none is named: write `{file}:Name`, with the model's name"
        )


def _said_apart(path: str, files: Sequence[Path]) -> str:
    """What to say where the name of a model stands behind a file as a target of its own."""
    if not path.isidentifier() or not files:
        return ""
    return f"; a model is written with its file, `{files[-1].as_posix()}:{path}`"


def _asked_over(asked: Model, model: Model) -> Model:
    """The model, but for what the command line says."""
    said = {
        field.name: getattr(asked, field.name)
        for field in fields(Model)
        if field.name != "target" and getattr(asked, field.name) != field.default
    }
    return replace(model, **said)


def _from_here(model: Model, root: Path) -> Model:
    """A model of the configuration with its files relative to the working directory."""
    source = model.input_from
    return replace(
        model,
        target=_target_from_here(model.target, root),
        input_from=source and _target_from_here(source, root),
        weights=model.weights and _place_from_here(model.weights, root),
    )


def _target_from_here(text: str, root: Path) -> str:
    target = parse_target(text)
    if target is None or not target.is_file:
        return text
    return _place_from_here(target.place, root) + text[len(target.place) :]


def _place_from_here(place: str, root: Path) -> str:
    if root == Path.cwd():
        return place
    return os.path.relpath(root / place).replace(os.sep, "/")
