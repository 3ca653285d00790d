"""The catalogue: one stage a file, named verb_object; what stages share lies in packages beside them."""
