"""UIP2P: an instruction editor trained without target images, by cycle consistency."""
