"""The source of forward with the shape of every value beside its line."""
