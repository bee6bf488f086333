"""From a project to a first configuration: find models, try them, write down what ran."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from archcheck.core.config import Config, Model
from archcheck.engine.compare.trace_models import trace_models
from archcheck.engine.init.candidates import candidates, model_files
from archcheck.engine.init.section import ConfigFile, section
from archcheck.evidence.architecture import Architecture

# So many candidates are tried, each for so many seconds at most.
_MOST = 20
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration that is not written yet.

    Attributes:
        path: The file that it belongs into.
        text: That file with it.
        diff: What would change.
        said: Sentences about what is not proposed, and why.
    """

    path: Path
    text: str
    diff: str
    said: tuple[str, ...]


def propose(folder: Path) -> Proposal:
    """A configuration for the project around a folder.

    Raises:
        UsageError: It has one already, or its pyproject.toml cannot be read.
    """
    file = ConfigFile.around(folder)
    root = file.path.parent
    with chdir(root):
        files = model_files(root)
        found = list(candidates(files))
        said = []
        if len(found) > _MOST:
            said.append(f"the {_MOST} largest of {len(found):,} possible models were tried")
            largest = sorted(found, key=lambda one: -one.layers)[:_MOST]
            found = [one for one in found if one in largest]
        models: tuple[Architecture, ...] = ()
        if found:
            targets = [one.target for one in found]
            traced = trace_models(targets, Config(timeout=_SECONDS), Model(""), root)
            models = traced.architectures
            said += [f"{name} is not proposed: {why}" for name, why in traced.failed.items()]
            # Without torch, each of them says the same.
            said += dict.fromkeys(f"not proposed: {one}" for one in traced.usage_errors)
    tops = {file.path.partition("/")[0] if "/" in file.path else "." for file in files}
    paths = ["."] if "." in tops or not tops else sorted(tops)
    text = file.with_section(list(section(paths, models)))
    return Proposal(file.path, text, file.diff(text), tuple(said))
