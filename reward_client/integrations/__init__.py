"""Rewards inside of other frameworks, with one module for each. None is imported until it is used."""
