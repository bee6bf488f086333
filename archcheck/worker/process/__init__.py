"""The worker process: its pipes, its clock, its memory, its end; and the parent's side.

In: requests. Out: traces, or a report on how the worker ended.
"""
