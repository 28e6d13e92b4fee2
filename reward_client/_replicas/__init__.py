"""The servers behind a client."""
