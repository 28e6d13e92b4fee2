"""Prompts in, rewards out."""
