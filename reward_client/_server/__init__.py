"""One server: discovery, state and requests."""
