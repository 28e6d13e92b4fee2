"""Rewards from reward models served by vLLM."""
