"""Segmenters and detectors: masks by phrase, boxes by phrase, masks by box, panoptic maps."""
