"""Samples apart from any stage: the images that they may hold, and how these are decoded."""
