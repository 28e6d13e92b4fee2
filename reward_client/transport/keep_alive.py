"""Whether a server lets a connection be used twice: the doctor's only look below the HTTP API."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

__all__ = ["keeps_alive"]

_SECONDS = 10


def keeps_alive(url: str) -> bool | None:
    """Whether two requests can share a connection; None where that cannot be seen from here."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/version")
        reply = connection.getresponse()
        reply.read()
    except (OSError, HTTPException):
        return None
    else:
        return not reply.will_close
    finally:
        connection.close()
