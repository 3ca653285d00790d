"""The parts of a sample: its columns, its members in a tar, its images, and the datasets that hold it."""
