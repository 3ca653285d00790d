"""The search for good pairs: candidates drawn by chance, scored in waves, until enough of them pass."""
