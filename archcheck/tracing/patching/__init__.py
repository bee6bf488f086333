"""Parts of torch that a pass must replace, and what it puts back whatever happens.

In: a `with` block. Out: nothing; afterwards everything is as it was.
"""
