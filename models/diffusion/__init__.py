"""Pipelines of diffusers: images from text, inpainting, SDEdit, latents."""
