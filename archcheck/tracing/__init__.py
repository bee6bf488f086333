"""A live module becomes a `Trace`.

In: a module or its factory, and inputs. Out: a `Trace`. Imports torch; may not import the source
model, the worker or anything above.
"""
