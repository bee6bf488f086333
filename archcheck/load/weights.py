"""Trained weights are not fetched: a check looks at what a model is, not at what it has learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys


class Weights:
    """Answers downloads of weights with none, and lets models load those.

    It stays in place for as long as the worker process lives: libraries keep the functions that
    they import.
    """

    def __init__(self) -> None:
        self.withheld = False

    def install(self) -> None:
        """Replace torch's download of state dicts, and what loads one into a module."""
        load_state_dict = nn.Module.load_state_dict

        def withhold(*_arguments: Any, **_keywords: Any) -> dict[str, Any]:
            self.withheld = True
            return {}

        def load_unless_withheld(
            module: nn.Module, state_dict: Any, *arguments: Any, **keywords: Any
        ) -> Any:
            if self.withheld:
                return _IncompatibleKeys([], [])
            return load_state_dict(module, state_dict, *arguments, **keywords)

        torch.hub.load_state_dict_from_url = withhold
        nn.Module.load_state_dict = load_unless_withheld  # type: ignore[assignment]
