"""InstructGIE: an editor led by an instruction and by an example of it, shown as a grid of images."""
