"""Finished datasets in the layouts that other trainers read: the contract of a format, the formats, the runner."""
