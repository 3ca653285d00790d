"""The plan of a build, made before any work: manifest, inputs, fingerprints, steps, the type-checked chain."""
