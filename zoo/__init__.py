"""Data made by code, so that every stage can be tried and measured without a download."""
