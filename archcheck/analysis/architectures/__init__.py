"""Two architectures compared: which layer is which, what changed, and how that is said.

In: two `Architecture`s. Out: a `Difference`, and its words.
"""
