"""Where weights come from: what a model id names, on this machine or elsewhere, what pins it, its licence."""
