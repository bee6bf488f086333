"""How modules are defined: the questions that rules on classes and what they hold ask."""
