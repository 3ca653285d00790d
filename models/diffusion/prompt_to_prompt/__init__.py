"""Prompt-to-prompt over the UNets of diffusers: pairs of images that differ as their captions do."""
