"""The engine: plans, runs, resumes and accounts for a chain of stages. It knows no image and no model."""
