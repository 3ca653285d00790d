"""The engine: plans, runs, resumes and accounts for a chain of stages. It depends on no image format and no model."""
