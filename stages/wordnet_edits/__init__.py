"""Edits of captions by rule: which word is replaced by which, and how the instruction says it."""
