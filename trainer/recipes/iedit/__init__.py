"""iEdit: fine-tuning Stable Diffusion on retrieved pairs, weakly supervised."""
