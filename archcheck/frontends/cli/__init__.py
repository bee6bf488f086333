"""The command line: one file for each command.

In: arguments. Out: text on standard output, messages on standard error, an exit code.
"""
