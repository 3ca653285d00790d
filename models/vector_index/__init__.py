"""FAISS: which index for how many vectors and how much memory, built by shards, exact re-ranking."""
