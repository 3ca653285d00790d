"""Judges of edits: the words that they are asked with, the reading of their replies, and a wrapper for each library."""
