"""Runs editors over benchmarks and scores what they made."""
