"""Which configured models a change concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from archcheck.core.config import Config, Model
from archcheck.core.target import UsageError, parse_target
from archcheck.engine.lock import LOCK_NAME
from archcheck.python import Project
from archcheck.python.file import SourceFile
from archcheck.python.file_dependencies import dependencies
from archcheck.python.text.document import DocumentError

# What every model depends on.
_SETTINGS = ("pyproject.toml", LOCK_NAME)


def affected_models(changed: Iterable[str], config: Config, root: Path) -> tuple[Model, ...]:
    """The configured models that are made of files or folders that changed.

    A model is made of the file that defines it and of what that imports from the project. A
    change of the configuration or of the lock file concerns every model, and so does any change
    a model whose file cannot be read: its check will say why.

    Args:
        changed: Paths as seen from the working directory.
        root: The folder that the configuration's paths are relative to.

    Raises:
        UsageError: No model is configured, or something named is no path.
    """
    if not config.models:
        raise UsageError("--affected: [tool.archcheck] of pyproject.toml names no models")
    places = []
    for text in changed:
        if parse_target(text) is not None:
            raise UsageError(f"--affected: {text} is a model; name the files that changed")
        places.append(Path.cwd() / text)
    if any(place == root / name for place in places for name in _SETTINGS):
        return config.models
    project = Project(root, [root / folder for folder in config.source_roots])

    def concerns(model: Model) -> bool:
        try:
            parts = [part for file in _files(model, project) for part in dependencies(file)]
        except (DocumentError, OSError):
            return bool(places)
        return any(part.is_relative_to(place) for part in parts for place in places)

    return tuple(model for model in config.models if concerns(model))


def _files(model: Model, project: Project) -> Iterator[SourceFile]:
    """The file that defines a model, and the one that makes its inputs."""
    for text in filter(None, (model.target, model.input_from)):
        target = parse_target(text)
        assert target is not None, "the configuration has been read"
        if target.is_file:
            yield project.file(project.root / target.place)
        elif (file := project.module(target.place)) is not None:
            yield file
