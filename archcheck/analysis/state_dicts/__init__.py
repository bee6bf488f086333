"""A model's state dict against a checkpoint: what loads, what doesn't, and why.

In: the entries of a model's `state_dict()` (evidence of its trace), and a `Checkpoint`.
Out: a `Diagnosis`: the keys that match, the causes of those that don't, the code that mends them.
Every mapping is applied to the table of names and shapes before it is offered.
"""
