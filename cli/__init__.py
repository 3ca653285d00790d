"""The `editloom` command: build, train, edit and evaluate; what a person sees of them."""
