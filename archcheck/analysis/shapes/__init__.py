"""The arithmetic of shapes, failed operators, and shapes stated in comments.

In: shapes and traces. Out: sizes, reasons and readings as plain data.
"""
