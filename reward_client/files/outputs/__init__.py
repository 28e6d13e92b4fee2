"""The output: the formats of scored files."""
