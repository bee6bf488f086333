"""Files become documents: Python as it is, Markdown by its code blocks, notebooks by their cells.

In: bytes. Out: a `Document`.
"""
