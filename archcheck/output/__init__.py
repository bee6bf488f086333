"""A report becomes text, one file for each format."""
