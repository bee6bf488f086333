"""The source of forward with the shape of every value beside its line.

In: a traced target and its files. Out: lines with the shapes beside them.
"""
