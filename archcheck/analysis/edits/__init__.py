"""Edits of source text, and where in the source the number to edit stands.

In: nodes of a syntax tree, or a module of a trace. Out: `Edit`s.
"""
