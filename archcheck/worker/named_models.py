"""Models by the names that packages give them, untrained: `timm:…`, `torchvision:…`, `hf:FOLDER`.

A target of such a form is a call of one of these functions; nothing is downloaded.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from archcheck.core.target import UsageError


def timm(name: str, **arguments: Any) -> Any:
    """A model of timm.

    Raises:
        UsageError: timm is not installed, or has no such model.
    """
    package = _package("timm", "timm")
    if not package.is_model(name.partition(".")[0]):
        raise _no_model("timm", name, package.list_models())
    return package.create_model(name, pretrained=False, **arguments)


def torchvision(name: str, **arguments: Any) -> Any:
    """A model of torchvision.

    Raises:
        UsageError: torchvision is not installed, or has no such model.
    """
    package = _package("torchvision.models", "torchvision")
    known = package.list_models()
    if name.lower() not in known:
        raise _no_model("torchvision", name, known)
    return package.get_model(name, weights=None, **arguments)


def hf(folder: str) -> Any:
    """The model that a folder's config.json describes, as its `architectures` has it.

    Raises:
        UsageError: transformers is not installed, or doesn't know the architecture.
    """
    package = _package("transformers", "transformers")
    config = package.AutoConfig.from_pretrained(folder, local_files_only=True)
    names = getattr(config, "architectures", None)
    if not names:
        return package.AutoModel.from_config(config)
    kind = getattr(package, names[0], None)
    if kind is None:
        raise UsageError(
            f"hf:{folder}: transformers {package.__version__} has no {names[0]}, which config.json "
            "names in `architectures`; install a version that has it"
        )
    return kind(config)


def _package(module: str, name: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name:
            raise
        raise UsageError(
            f"{name} is not installed for {sys.executable}: pip install {name}"
        ) from None


def _no_model(package: str, name: str, known: Iterable[str]) -> UsageError:
    near = difflib.get_close_matches(name, list(known), 3)
    hint = f"; did you mean {' or '.join(f'`{package}:{one}`' for one in near)}?" if near else ""
    return UsageError(f"{package} has no model `{name}`{hint}")
