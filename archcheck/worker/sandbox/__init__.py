"""The process as the user's file expects it, and what its code asks the world for.

In: a target. Out: imports, placeholders, and the facts that a trace depends on. No security
boundary: it runs the user's code.
"""
