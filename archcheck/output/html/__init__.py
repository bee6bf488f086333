"""One self-contained page: the graph, the costs and the findings of a report.

In: a `Report`. Out: HTML. The scripts and styles lie in assets/.
"""
