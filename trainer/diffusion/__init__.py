"""A diffusion checkpoint taken apart for training: parts, kinds of editors, noise schedule, dropout, attention maps."""
