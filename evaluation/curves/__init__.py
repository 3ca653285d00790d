"""Trade-off curves: one setting of an editor is swept, and each value gives a point."""
