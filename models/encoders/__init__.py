"""Encoders of images and texts: CLIP, SigLIP, open_clip, DINO; tags; features with gradients for losses."""
