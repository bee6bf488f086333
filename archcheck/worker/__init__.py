"""A target string becomes a live module, in a process of its own.

In: a request. Out: a `Trace`. Imports torch only inside the worker process; may not import the
engine, a front end or a rule.
"""
