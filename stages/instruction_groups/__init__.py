"""Groups of pairs that follow one instruction: texts that say the same, pairs of one image, splits, examples."""
