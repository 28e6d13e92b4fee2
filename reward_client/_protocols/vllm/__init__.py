"""The HTTP API of vLLM. Pure: functions build requests and read responses."""
