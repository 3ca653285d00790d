"""Vectors of images, and the nearest of them."""
