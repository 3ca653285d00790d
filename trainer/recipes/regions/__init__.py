"""Beyond Editing Pairs: a head that predicts the region of an instruction, trained without edited images."""
