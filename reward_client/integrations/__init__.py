"""Rewards inside other frameworks: one module for each, which imports the framework."""
