"""Thin wrappers over the libraries that hold models and lexicons; heavy imports happen inside functions."""
