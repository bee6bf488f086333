"""The nouns that everything else is written in: finding, rule, report, target, config.

In and out: plain data. May not import any other package of archcheck.
"""
