"""One module for each image format: it measures a file and strips unneeded parts before Pillow decodes it."""
