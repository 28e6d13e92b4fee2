"""The shipped reward model in numpy."""
