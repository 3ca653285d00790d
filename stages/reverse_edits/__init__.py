"""Reverse instructions of edits that have captions and an instruction: rules where they are sure, checks of any."""
