"""Licences of data and models: a table of ids with their classes, and the verdict over all that a dataset holds."""
