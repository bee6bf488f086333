"""What shapes mean: the arithmetic that rules on shapes, and the annotated source, share."""
