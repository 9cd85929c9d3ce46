"""Learnable prompts of text and image towers."""
