"""Builds, and the commands on a run folder: status, verify, explain, retry, report, clean, probe."""
