"""The catalogue: one stage a file, named verb_object; modules with a leading underscore help a stage."""
