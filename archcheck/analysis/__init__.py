"""What two or more rule families ask of evidence.

In: source files and traces. Out: answers as plain data; no findings. May not import torch, the
worker, the tracing package, the engine or a rule.
"""
