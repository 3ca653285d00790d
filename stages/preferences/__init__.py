"""Pairs of a chosen and a rejected row of one group, for training on preferences."""
