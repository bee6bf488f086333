"""What a training step and a generation cost, and whether they fit: computed from plain evidence.

The worker records one training step (`TrainingStep`: every kernel, and the memory that it takes
and gives back); everything here is arithmetic on that record, so another optimizer, device or
batch needs no new trace.

In: a trace with its step, and what was asked about costs.
Out: bytes, FLOPs and seconds, and what would make them fit. Torch is not imported here.
"""
