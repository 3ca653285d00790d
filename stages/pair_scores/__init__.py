"""Scores of pairs of images, bounds on them, and the published filters, shared by stages that score or filter."""
