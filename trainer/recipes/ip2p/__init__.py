"""InstructPix2Pix: an editor that takes the source image and an instruction, and a region if asked to."""
