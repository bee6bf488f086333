"""What a model is given: as the user asked, as its file does, or as its first layer wants it.

In: a model and the text of its file. Out: input specifications, in the order to try them.
"""
