"""Training scripts: the questions that rules on training ask of their source."""
