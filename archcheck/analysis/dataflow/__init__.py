"""Which operation a prediction comes out of, and which values are dropped.

In: a function's flow, or a trace. Out: the final operation; `…_in_source` and `…_in_trace` name
their evidence.
"""
