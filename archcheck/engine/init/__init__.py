"""A first configuration for a project, from what its source shows.

In: a folder. Out: the text of a `[tool.archcheck]` section.
"""
