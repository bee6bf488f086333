"""Who feeds whom: the questions that rules on wiring, outputs and losses ask of evidence."""
