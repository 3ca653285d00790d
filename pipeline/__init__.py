"""The engine: plans, runs, resumes and accounts for a chain of stages, of any format and any model."""
