"""The language server: findings, shapes and costs in the editor.

In: the protocol's requests. Out: its answers. A thin shell over `Session` and `report`; pygls is
imported nowhere else.
"""
