"""Editing by example: grids of images with one cell to draw, and the control network that sees them."""
