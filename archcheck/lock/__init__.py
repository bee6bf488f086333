"""The architecture lock: what a model was when its team last agreed to it, and what changed."""

LOCK_NAME = "archcheck.lock"
