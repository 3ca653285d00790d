"""The run folder: storage, records, the lock, events, column files."""
