"""What `pytest --archcheck` runs: a test for each model and each path of `[tool.archcheck]`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archcheck.core.config import Config, read_config
from archcheck.core.report import FindingsError, Report
from archcheck.core.target import UsageError

if TYPE_CHECKING:
    from archcheck.engine.session import Session


class Gate:
    """A plugin for one session; all its tests share one worker process.

    Args:
        file: The pyproject.toml that the tests are collected from.
    """

    def __init__(self, config: Config, file: Path) -> None:
        self.config = config
        self.file = file
        self._session: Session | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> Gate:
        """Read the configuration above the root of the tests, and have its file collected.

        Raises:
            pytest.UsageError: It is wrong, or names nothing to check.
        """
        try:
            settings, root = read_config(config.rootpath)
        except UsageError as error:
            raise pytest.UsageError(f"archcheck: {error}") from None
        if not settings.models and not settings.paths:
            raise pytest.UsageError(
                "--archcheck: no models or paths in [tool.archcheck] of a pyproject.toml in "
                f"{config.rootpath} or above it"
            )
        file = root / "pyproject.toml"
        # A folder that holds it leads to it, and where one of its tests is named, the others are
        # not wanted. pytest 8 drops whatever else is in a folder if a file of it is named too.
        if not any(file.is_relative_to(_path(argument, config)) for argument in config.args):
            config.args.append(str(file))
        return cls(settings, file)

    def check(self, part: Config) -> Report:
        """Check what a part of the configuration names."""
        from archcheck.engine.session import Session

        root = self.file.parent
        if self._session is None:
            self._session = Session.remembering(self.config, root)
        return self._session.reconfigured(part, root).check(None)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Any:
        """Take the configuration for a file of tests."""
        if file_path != self.file:
            return None
        return ConfigurationFile.from_parent(parent, path=file_path, gate=self)

    def pytest_unconfigure(self) -> None:
        """End the worker process, and keep its answers for the next session."""
        if self._session is not None:
            self._session.close()


class ConfigurationFile(pytest.File):
    """pyproject.toml, as a file of tests."""

    def __init__(self, *, gate: Gate, **more: Any) -> None:
        super().__init__(**more)
        self._gate = gate

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each model and each path."""
        for name, part in parts(self._gate.config):
            yield CheckItem.from_parent(self, name=name, gate=self._gate, part=part)


class CheckItem(pytest.Item):
    """A check that is a test; its findings are the text of its failure."""

    def __init__(self, *, gate: Gate, part: Config, **more: Any) -> None:
        super().__init__(**more)
        self._gate = gate
        self._part = part
        # As doctests have it: there are plugins that ask every test for its fixtures.
        self.funcargs: dict[str, object] = {}
        self.add_marker("archcheck")

    def runtest(self) -> None:
        """Fail if there is a finding that fails a check.

        Raises:
            FindingsError: There is one.
            UsageError: It cannot be checked.
        """
        report = self._gate.check(self._part)
        if report.usage_errors:
            raise UsageError("\n".join(report.usage_errors))
        if report.defects:
            raise RuntimeError("\n".join(report.defects))
        report.assert_clean()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings alone: where archcheck raised them is of no interest."""
        if isinstance(excinfo.value, FindingsError | UsageError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test is, and its title."""
        return self.path, None, f"archcheck {self.name}"


def parts(config: Config) -> Iterable[tuple[str, Config]]:
    """The configuration of each test, by the test's name."""
    nothing = replace(config, paths=(), models=())
    named: dict[str, Config] = {path: replace(nothing, paths=(path,)) for path in config.paths}
    for model in config.models:
        name = model.target
        if name in named:
            # The same model with other inputs, or in another mode.
            name = f"{name}[{' '.join((*model.inputs, model.mode or 'train'))}]"
        named[name] = replace(nothing, models=(model,))
    return named.items()


def _path(argument: str, config: pytest.Config) -> Path:
    """The file or folder of an argument, which may name a test in it."""
    place = config.invocation_params.dir / argument.partition("::")[0]
    return Path(os.path.abspath(place))
