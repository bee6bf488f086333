"""One pass under all its watchers: values, operators, module calls, lines.

In: a model and its inputs. Out: the records that a `Trace` is made of.
"""
