"""A trace as a graph to draw, and as a small Mermaid diagram.

In: a traced target and its findings. Out: nodes, edges and captions as plain data.
"""
