"""What the dimensions of a pass's values are made of, and where the samples of a batch meet.

In: traces. Out: for each value the input dimensions that its own ones hold, the ops at which
places along them meet, and what says which of them is the batch. Torch may not be imported here.
"""
