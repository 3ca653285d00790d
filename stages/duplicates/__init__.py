"""Duplicate images found in parts: near hashes, what links them, and the best row of each cluster."""
