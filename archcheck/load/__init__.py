"""A target string becomes a live module. Imports torch only inside the worker process."""
