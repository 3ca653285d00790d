"""Edits as they are put to a judge, and the replies that are kept or asked for."""
