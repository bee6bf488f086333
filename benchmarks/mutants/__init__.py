"""The defects of AC1 to AC4, as mechanical changes of clean models. See benchmarks/mutations.py."""
