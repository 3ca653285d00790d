"""Regions of edits by instruction: the trained head, the segmenter and the editor over it, and pictures of regions."""
