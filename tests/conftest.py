"""What all tests share."""

from __future__ import annotations

import os

from archcheck.core.rule import load_rules

# Where an agent runs the tests, the commands that they run are still those of a person.
for _variable in ("AI_AGENT", "CLAUDECODE", "GEMINI_CLI", "CURSOR_AGENT", "CODEX_SANDBOX"):
    os.environ.pop(_variable, None)

# The helpers of a family of rules can be imported once the pack's folders are known.
load_rules()
