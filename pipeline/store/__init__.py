"""The run folder: files that appear whole or not at all, records, the lock, events, column files."""
