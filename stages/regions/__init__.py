"""Regions of images: boxes of named things, outlines, hulls, and the vocabulary of things."""
