"""Scopes: which names they bind, what a name means, and which constant it holds.

In: a syntax tree. Out: `Scope`, `Function`, `Call`, folded constants.
"""
