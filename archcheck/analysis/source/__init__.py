"""Small questions about source files that several rule families ask.

In: a `SourceFile` or a node of it. Out: an answer that is certain, or none.
"""
