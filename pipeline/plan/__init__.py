"""What a build is to do, known before any work: manifest, inputs, fingerprints, steps, the type-checked plan."""
