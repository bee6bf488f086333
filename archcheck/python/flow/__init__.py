"""What functions do with their values, step by step, and the training loops around them.

In: scopes and classes. Out: flows, chains and loops.
"""
