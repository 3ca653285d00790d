"""Scores of single images by which datasets are filtered: both images of a row, each once."""
