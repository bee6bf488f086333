"""Evidence from one traced forward pass, as frozen plain data.

In: nothing but values. Out: `Trace`, its dataflow, its architecture, its summary. May not import
torch, the source model, or anything that reads files.
"""
