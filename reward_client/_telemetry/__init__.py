"""The counts and durations of a client: samples and requests."""
