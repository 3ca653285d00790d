"""Classifiers of images: trained ones, and encoders of images and texts that take any label."""
