"""Images that are in lists of hashes, such as those of a benchmark."""
