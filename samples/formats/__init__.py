"""One module for each format: it measures a file, and strips it of what no pixel needs, before Pillow decodes it."""
