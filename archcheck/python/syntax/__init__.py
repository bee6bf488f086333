"""Text becomes a syntax tree, broken code as far as it can be repaired with certainty.

In: a `Document`'s text. Out: a tree, the repairs, and why the rest does not parse.
"""
