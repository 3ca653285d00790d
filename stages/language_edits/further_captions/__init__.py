"""Further captions to which the instruction of an edit applies too, each with the caption after the edit."""
