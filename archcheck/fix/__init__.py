"""Fixes: edits of findings become texts of files, are proven, and only then offered or written."""
