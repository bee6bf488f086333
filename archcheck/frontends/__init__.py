"""Thin shells over `check()`."""
