"""Source rules on a text, and the text with the edits of their fixes: for the tests of rules."""

from __future__ import annotations

import textwrap
from pathlib import Path

from archcheck.core.config import Config
from archcheck.core.finding import Finding
from archcheck.core.rule import load_rules
from archcheck.engine.fix.apply_edits import applied, compatible, patches
from archcheck.engine.merge import merged
from archcheck.engine.run_rules import read_file
from archcheck.engine.selection import Selection
from archcheck.python import Project

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"


class Source:
    """Files of a project, checked from source by the rules of these codes.

    `findings` are those of the file `model.py`, whose text is `text` below the usual imports.
    """

    def __init__(self, folder: Path, text: str, *codes: str, **others: str) -> None:
        self.project = Project(folder)
        for name, other in others.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(other), encoding="utf-8")
        self.path = folder / "model.py"
        self.path.write_text(HEAD + textwrap.dedent(text), encoding="utf-8")
        selection = Selection.of(load_rules(), Config(select=codes))
        result = read_file(self.path, self.project, selection)
        assert result.defects == ()
        self.findings: list[Finding] = merged(result.found)

    @property
    def only(self) -> Finding:
        (finding,) = self.findings
        return finding

    def underlined(self, finding: Finding) -> str:
        at = finding.location
        lines = Path(at.path).read_text(encoding="utf-8").splitlines()
        return lines[at.line - 1][at.column - 1 : at.end_column - 1]

    def fixed(self) -> str:
        """The text below the imports once every fix that goes together is made."""
        group, _ = compatible(patches(self.findings, self.project))
        changed = applied(group, self.project)
        text = next(iter(changed.values())).decode() if changed else self.path.read_text()
        return text.removeprefix(HEAD)
