"""A judge of edits by rules on the pixels of the miniature world."""
