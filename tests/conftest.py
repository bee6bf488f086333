"""What all tests share."""

from __future__ import annotations

from archcheck.core.rule import load_rules

# The helpers of a family of rules can be imported once the pack's folders are known.
load_rules()
