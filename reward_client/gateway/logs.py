"""Log records as lines of JSON, without prompts and keys."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from traceback import extract_tb

import orjson

from reward_client._printable import printable

_FACTS = "facts"
_LOGGERS = {"reward_client": logging.DEBUG, "uvicorn.error": logging.WARNING}
"""The loggers that are shown, with the lowest level of each. The gateway's is below the first."""

logger = logging.getLogger("reward_client.gateway")


def note(level: int, event: str, **facts: object) -> None:
    """Log an event with its facts, which become keys of the line.

    Args:
        level: The level of `logging`.
        event: The event in a few words.
        facts: Values that JSON can hold; no prompt, no response, no key.
    """
    logger.log(level, event, extra={_FACTS: facts})


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, event, and the facts of the event."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": printable(record.getMessage()),
            **getattr(record, _FACTS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            # Not its text: that of a foreign exception may show a prompt.
            frames = extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["stack"] = [f"{each.filename}:{each.lineno} {each.name}" for each in frames]
        return orjson.dumps(line, default=str).decode()


def write_lines(level: str) -> None:
    """Write the records of gateway, client and HTTP server to stderr, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, lowest in _LOGGERS.items():
        shown = logging.getLogger(name)
        shown.handlers = [handler]
        shown.setLevel(max(getattr(logging, level.upper()), lowest))
        shown.propagate = False
