"""What a model depends on: the statements of its module that it needs, and no others.

In: a module's text and a name. Out: a module in which only those statements ran.
"""
