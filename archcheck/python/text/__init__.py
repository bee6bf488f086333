"""Text as its author wrote it: documents, their positions, comments and pragmas.

In: a file's text. Out: a `Document`, its comments, edits of it.
"""
