"""The catalogue: one stage a file, named verb_object. Code that stages share lies in packages next to them."""
