"""Thin wrappers over the libraries that hold models and lexicons. Heavy imports happen inside functions."""
