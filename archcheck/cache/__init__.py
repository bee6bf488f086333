"""Answers that are kept from one run to the next, and the facts that they hold under."""
