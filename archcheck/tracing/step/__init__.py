"""A live model's training step becomes a `TrainingStep`: what its kernels take, save and free.

In: an attempt's model, and what its forward pass gave.
Out: the record of the step, in plain data.
"""
