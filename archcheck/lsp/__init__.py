"""The language server: findings, shapes and costs in the editor.

A thin shell over `Examiner` and `report`, like the command. pygls is imported nowhere else.
"""
