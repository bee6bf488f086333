"""Files as their authors wrote them: Python, Markdown, notebooks; comments and pragmas.

In: bytes. Out: a `Document` and the Python text in it.
"""
