"""A whole build: what runs next, what is done already, what went wrong, what may be removed."""
