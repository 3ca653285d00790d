"""The ground under every package: errors, strict JSON, paths and URLs. Imports nothing else of the project."""
