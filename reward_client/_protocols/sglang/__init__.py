"""The HTTP API of SGLang. Pure: functions build requests and read responses."""
