"""pytest: the `archcheck` fixture, and `pytest --archcheck`.

pytest imports this file in every run of everyone who has archcheck installed: at module level it
imports nothing but pytest itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from archcheck.core.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that makes tests of what is configured."""
    parser.getgroup("archcheck").addoption(
        "--archcheck",
        action="store_true",
        help="check the models and paths of [tool.archcheck] as tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect what is configured, if that is asked for."""
    config.addinivalue_line("markers", "archcheck: what `pytest --archcheck` collects")
    if config.getoption("archcheck"):
        from archcheck.frontends.pytest.items import Gate

        config.pluginmanager.register(Gate.of(config), "archcheck_gate")


@pytest.fixture(scope="session")
def archcheck() -> Callable[..., Report]:
    """`archcheck(Net(), input=(8, 3, 224, 224)).assert_clean(ignore=["AC306"])`.

    Takes what `archcheck.check` takes.
    """
    from archcheck import check

    return check
