"""archcheck: an architecture linter and shape debugger for PyTorch models."""

__version__ = "0.1.0"
