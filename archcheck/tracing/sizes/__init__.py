"""Which other input sizes a model accepts, by replaying the shape arithmetic of its pass.

In: the records of a pass. Out: conditions on the input's sizes.
"""
