"""Measurements of the client, beside what people use instead: `python -m benchmarks`."""
