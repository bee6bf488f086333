"""Models against what they were: in the lock file, or at another revision.

In: models as they are, and a side to compare them with. Out: what differs, or a new lock file.
Opens sessions; no session imports it.
"""
