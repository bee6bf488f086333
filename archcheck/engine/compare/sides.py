"""The two sides of `archcheck diff`: a lock file, a revision, or the files as they are."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from archcheck.analysis.architectures.difference import (
    Difference,
    ModelDifference,
    compare,
    counterpart,
)
from archcheck.analysis.architectures.read_trace import replayable
from archcheck.core.config import Config, Mode, Model, read_config
from archcheck.core.target import UsageError, parse_target
from archcheck.engine.compare.git_revision import Repository
from archcheck.engine.compare.trace_models import Traced, trace_models
from archcheck.engine.lock import LOCK_NAME
from archcheck.engine.lock.lock_file import Lock, read_lock
from archcheck.evidence.architecture import Architecture
from archcheck.worker.check_target import check_target
from archcheck.worker.sandbox.user_paths import is_users
from archcheck.worker.slicing.module_source import read_source

HERE = "the working tree"


@dataclass(frozen=True, slots=True)
class Side:
    """The files of one side.

    Attributes:
        name: What it is called.
        folder: Where its files are; the targets of its models are relative to it.
        config: Its own.
        tree, original: Of a revision, the folder that it was written into, and the working tree
            of the repository that it is of.
    """

    name: str
    folder: Path
    config: Config
    tree: Path | None = None
    original: Path | None = None

    def traced(self, models: Sequence[Model]) -> Traced:
        """What these models are on this side."""
        if not models:
            return Traced((), {}, ())
        with chdir(self.folder), self._search_path():
            config = replace(self.config, models=tuple(models), trace=True)
            return trace_models((), config, Model(""), Path.cwd(), apart_from=self.original)

    def lacks(self, model: Model) -> bool:
        """Whether a model is not there at all."""
        target = parse_target(model.target)
        if target is None:
            return False
        with chdir(self.folder):
            place = Path(target.place) if target.is_file else _module_file(target.place)
            if place is None:
                return self.tree is not None and not _is_installed(target.place)
            try:
                check_target(target, read_source(place, {}))
            except UsageError:
                return True
        return False

    @contextmanager
    def _search_path(self) -> Iterator[None]:
        """For a worker, what is installed from the working tree is that of this side."""
        known = os.environ.get("PYTHONPATH")
        if self.tree is None or self.original is None:
            yield
            return
        own = [
            str(self.tree / os.path.relpath(entry, self.original))
            for entry in map(os.path.realpath, filter(None, sys.path))
            if Path(entry).is_relative_to(self.original)
        ]
        paths = [*filter(os.path.isdir, own), *([known] if known else [])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        try:
            yield
        finally:
            if known is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = known


def _module_file(name: str) -> Path | None:
    """The file of a module of the project in the working directory, by its dotted name."""
    path = name.replace(".", os.sep)
    places = [
        Path(folder, end) for folder in ("", "src") for end in (f"{path}.py", f"{path}/__init__.py")
    ]
    return next((place for place in places if place.is_file()), None)


def _is_installed(name: str) -> bool:
    """Whether a module is of an installed package, and not of one that a user works at."""
    top = name.partition(".")[0]
    spec = importlib.util.find_spec(top)
    return spec is not None and not is_users(spec.origin or "")


def difference(
    against: str | None, targets: Sequence[str], config: Config, asked: Model, root: Path
) -> Difference:
    """What changed in the models.

    Args:
        against: A lock file, a revision, `old..new`, or `old...new` for what `new` has changed
            since both parted; by default the lock file of the project.
        targets: The models to compare; without any, those of the configuration, and of the lock.
        asked: What the command line asks of each of them.
        root: The folder that the configuration's paths are relative to.

    Raises:
        UsageError: There is no such lock file or revision, or no model.
    """
    if not config.trace:
        raise UsageError("tracing is off in [tool.archcheck]: remove `trace = false`")
    own = Path(os.path.relpath(root / LOCK_NAME))
    models = [_over(asked, one) for one in _chosen(config.models, targets, Lock(own))]
    here = Side(HERE, root, config)
    if against is None or against.endswith(".lock") or Path(against).is_file():
        lock = _existing(Path(against) if against is not None else own)
        if not targets:
            models += _only_locked(lock, models)
        return _against_lock(lock, here, models)
    with _revisions(against, Repository.around(root), here) as (old, new):
        if not targets:
            # What is configured on either side.
            keys = set(map(_key, new.config.models))
            dropped = [model for model in old.config.models if _key(model) not in keys]
            named = [*new.config.models, *dropped]
            if not named and own.is_file():
                named = _only_locked(read_lock(own), [])
            models = [_over(asked, model) for model in named]
        return _between(old, new, models)


def _chosen(configured: Iterable[Model], targets: Sequence[str], base: Lock) -> list[Model]:
    """The models that are named, with what is configured of them, or all that are configured."""
    if not targets:
        return list(configured)
    known = {model.target: model for model in configured}
    names = [base.named(text) for text in targets]
    return [known.get(name, Model(name)) for name in names]


def _over(asked: Model, model: Model) -> Model:
    return replace(
        model,
        inputs=asked.inputs or model.inputs,
        mode=asked.mode or model.mode,
        timeout=asked.timeout or model.timeout,
    )


# Against a lock file ------------------------------------------------------------------------


def _existing(path: Path) -> Lock:
    if not path.is_file():
        raise UsageError(
            f"there is no {path}: write one with `archcheck lock`, or name a revision, as in "
            "`archcheck diff main`"
        )
    return read_lock(path)


def _only_locked(lock: Lock, models: Iterable[Model]) -> list[Model]:
    """The models that were locked by their names alone, traced as they were then."""
    known = {_key(model) for model in models}
    return [_as_locked(one) for one in lock.architectures if (one.target, one.mode) not in known]


def _as_locked(architecture: Architecture) -> Model:
    mode: Mode = "eval" if architecture.mode == "eval" else "train"
    return Model(architecture.target, replayable(architecture.inputs), mode)


def _against_lock(lock: Lock, here: Side, models: Sequence[Model]) -> Difference:
    if not models:
        raise UsageError(f"{lock.path} has no model, and none is configured: name one")
    gone = [model for model in models if _known(lock, model) and here.lacks(model)]
    after = here.traced([model for model in models if model not in gone])
    pairs = [(counterpart(one, lock.architectures), one) for one in after.architectures]
    lost = [entry for model in gone for entry in _known(lock, model)]
    return _of(str(lock.path), here.name, pairs, lost, after.said(here.name), after.usage_errors)


def _known(lock: Lock, model: Model) -> list[Architecture]:
    return [one for one in lock.architectures if (one.target, one.mode) == _key(model)]


# Between two revisions ----------------------------------------------------------------------


@contextmanager
def _revisions(against: str, repository: Repository, here: Side) -> Iterator[tuple[Side, Side]]:
    """Both sides of `old`, `old..new` or `old...new`, as folders."""
    old, dots, new = against.partition("...") if "..." in against else against.partition("..")
    old = old or "HEAD"
    if dots == "...":
        start = repository.merge_base(old, new or "HEAD")
        name = f"{start[:7]}, where {old} and {new or 'HEAD'} part"
    else:
        start, name = repository.commit(old), old
    # Git has `old..` mean `old..HEAD`.
    end = repository.commit(new or "HEAD") if dots else None
    with ExitStack() as stack:
        before = stack.enter_context(_exported(repository, start, name, here))
        after = here
        if end is not None:
            after = stack.enter_context(_exported(repository, end, new or "HEAD", here))
        yield before, after


@contextmanager
def _exported(repository: Repository, commit: str, name: str, here: Side) -> Iterator[Side]:
    with repository.exported(commit) as tree:
        inside = os.path.relpath(os.path.realpath(here.folder), os.path.realpath(repository.top))
        folder = Path(os.path.normpath(tree / inside))
        folder.mkdir(parents=True, exist_ok=True)
        config = _config_in(folder, tree) or here.config
        yield Side(name, folder, config, tree, Path(os.path.realpath(repository.top)))


def _config_in(folder: Path, tree: Path) -> Config | None:
    """The configuration of an older revision; None where it cannot be used any more."""
    try:
        config, place = read_config(folder)
    except UsageError:
        return None
    if place == folder:
        return config
    # What lies above the project is none of its revisions.
    return replace(config, models=()) if place.is_relative_to(tree) else Config()


def _between(old: Side, new: Side, models: Sequence[Model]) -> Difference:
    if not models:
        raise UsageError(
            "no model is named: name one, such as `archcheck diff main model.py:Net`, or list it "
            "under [[tool.archcheck.models]] in pyproject.toml"
        )
    lacking = [model for model in models if old.lacks(model)]
    gone = [model for model in models if model not in lacking and new.lacks(model)]
    after = new.traced([model for model in models if model not in gone])
    before = _traced_alike(old, [one for one in models if one not in lacking], after.architectures)
    lost = [one for one in before.architectures if one.target in {m.target for m in gone}]
    pairs, unknown = [], [*before.said(old.name), *after.said(new.name)]
    absent = {model.target for model in lacking}
    for one in after.architectures:
        was = counterpart(one, before.architectures)
        if was is None and one.target not in absent:
            continue  # it was there and could not be traced, which `before` says
        pairs.append((was, one))
    return _of(
        old.name, new.name, pairs, lost, unknown, (*before.usage_errors, *after.usage_errors)
    )


def _traced_alike(side: Side, models: Sequence[Model], others: Sequence[Architecture]) -> Traced:
    """What models are, with the inputs that their counterparts had if they take those."""
    inputs = {(one.target, one.mode): replayable(one.inputs) for one in others}
    alike = [replace(model, inputs=model.inputs or inputs.get(_key(model), ())) for model in models]
    first = side.traced(alike)
    found = {(one.target, one.mode) for one in first.architectures}
    again = [
        model
        for model, given in zip(models, alike, strict=True)
        if _key(model) not in found and model.inputs != given.inputs
    ]
    if not again:
        return first
    second = side.traced(again)
    retried = {model.target for model in again}
    failed = {name: why for name, why in first.failed.items() if name not in retried}
    return Traced(
        (*first.architectures, *second.architectures), failed | second.failed, second.usage_errors
    )


# Both ---------------------------------------------------------------------------------------


def _key(model: Model) -> tuple[str, str]:
    return model.target, model.mode or "train"


def _of(
    before: str,
    after: str,
    pairs: Iterable[tuple[Architecture | None, Architecture]],
    lost: Iterable[Architecture],
    unknown: Iterable[str],
    usage_errors: Iterable[str],
) -> Difference:
    models = [
        ModelDifference(None, new) if old is None else compare(old, new) for old, new in pairs
    ]
    models += [ModelDifference(old, None) for old in lost]
    # Without torch, each model and each side says the same.
    said = tuple(dict.fromkeys(usage_errors))
    return Difference(before, after, tuple(models), tuple(unknown), said)
