"""Raters of how good an image looks: a trained head over CLIP's embedding, and labels with values."""
