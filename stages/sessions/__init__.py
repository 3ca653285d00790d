"""Sessions of several edits: their texts, the drift of their images, and the pairs that come of them."""
