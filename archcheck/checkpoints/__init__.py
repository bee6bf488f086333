"""Checkpoint files as plain data: one file a format.

In: the path of a file or folder of weights. Of it, headers, directories and opcodes are read.
Out: a frozen `Checkpoint`: names, shapes, dtypes. Nothing that a pickle names is imported or run.
Neither torch nor anything that imports it may be imported here.
"""

from archcheck.checkpoints.read import read_checkpoint
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict, Tensor

__all__ = ["Checkpoint", "CheckpointError", "StateDict", "Tensor", "read_checkpoint"]
