"""The `editloom` command: build, train, edit and evaluate, and how their results are shown."""
