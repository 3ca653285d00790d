"""Calibration of a score: what each threshold keeps, and how well that agrees with labels by people."""
