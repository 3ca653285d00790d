"""Edits of captions by a language model: the prompt, the schema of the answer, its checks, repair, rounds of asking."""
