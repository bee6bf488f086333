"""A first configuration for a project, from what its source shows."""
