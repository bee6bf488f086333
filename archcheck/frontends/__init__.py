"""Thin shells over one session: command line, Python, pytest, language server.

In: what a person, an editor or a test asks. Out: text, exit codes, protocol messages. Nothing
below may import them.
"""
