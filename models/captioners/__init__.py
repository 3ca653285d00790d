"""Captioners: BLIP, BLIP-2, chat models, and servers with OpenAI's chat interface."""
