"""One step: rows in, the function of the stage, checks, files out; and where steps run."""
