"""A diffusion checkpoint taken apart for training: parts, noise schedule, latents, attention maps."""
