"""Fixes: edits of findings become texts of files, are proven, and only then offered or written.

In: findings with edits. Out: files that were tried, and what was left alone and why.
"""
