"""MACs as fvcore counts them, FLOPs as torch counts them, and the memory of activations.

In: operators with their shapes. Out: counts, in operations and bytes.
"""
