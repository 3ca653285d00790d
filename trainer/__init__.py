"""Trains editing models on the datasets that the pipeline writes: loader, loop, state, one recipe a folder."""
