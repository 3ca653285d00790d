"""Trains editing models on the datasets that the pipeline writes: loader, loop, losses, one recipe a file."""
