"""Encoders of images and texts: CLIP, SigLIP, open_clip, DINO, tags, and features with gradients for losses."""
