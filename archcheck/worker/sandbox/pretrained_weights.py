"""Trained weights are not fetched: a check looks at what a model is, not at what it has learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys


class Withheld(dict[Any, Any]):
    """In the place of weights: an empty dict, in which everything that is looked up is another."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __missing__(self, _key: Any) -> Withheld:
        return self


class Weights:
    """Answers downloads and missing files of weights with none, and lets models load those.

    It stays in place for as long as the worker process lives: libraries keep the functions that
    they import.
    """

    def __init__(self) -> None:
        self.withheld = False

    def install(self) -> None:
        """Replace what fetches state dicts, and what loads one into a module."""
        load, load_state_dict = torch.load, nn.Module.load_state_dict

        def withhold(url: Any = "", *_arguments: Any, **_keywords: Any) -> Withheld:
            self.withheld = True
            return Withheld(f"{url} is not downloaded")

        def load_what_is_there(f: Any, *arguments: Any, **keywords: Any) -> Any:
            try:
                return load(f, *arguments, **keywords)
            except FileNotFoundError as error:
                self.withheld = True
                return Withheld(str(error))

        def load_unless_withheld(
            module: nn.Module, state_dict: Any, *arguments: Any, **keywords: Any
        ) -> Any:
            if self.withheld:
                return _IncompatibleKeys([], [])
            return load_state_dict(module, state_dict, *arguments, **keywords)

        torch.hub.load_state_dict_from_url = withhold
        torch.load = load_what_is_there
        nn.Module.load_state_dict = load_unless_withheld  # type: ignore[assignment]
