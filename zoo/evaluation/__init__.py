"""How good the miniature models are: each measured on held-out scenes, through the wrappers the pipeline uses."""
