"""One step (rows in, the stage's function, checks, files out), and the executors that run steps."""
