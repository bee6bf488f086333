"""A model is run on small real tensors, and what its numbers show becomes a `Probe`.

In: a way to build the model, its inputs, and the trace of its pass.
Out: gradients, non-finite numbers, dead units, signal and leaks, in plain data.
"""
