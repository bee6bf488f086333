"""Answers that are kept from one run to the next, and the facts that they hold under.

In: a question and the facts it depends on. Out: an answer that still holds, or none.
"""
