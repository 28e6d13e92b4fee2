"""vLLM's HTTP API as each version of the server speaks it."""
