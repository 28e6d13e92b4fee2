"""The key of a gateway, which its callers send."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from hashlib import sha256

# Trainers that send no headers of their own take http://any:KEY@host:port/… as the URL.
CHALLENGE = 'Bearer, Basic realm="reward-client gateway"'


class Key:
    """A key, of which only the digest is kept.

    Args:
        key: The key.
    """

    def __init__(self, key: str) -> None:
        self._digest = _digest(key.encode())

    def is_in(self, header: str | None) -> bool:
        """Return True if an ``Authorization`` header holds the key.

        It comes as a bearer token, or as the password of basic authentication. The comparison
        takes as long for a key that is nearly right as for any other.
        """
        given = b"" if header is None else _key_in(header.encode("latin-1"))
        return hmac.compare_digest(_digest(given), self._digest)


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


def _key_in(header: bytes) -> bytes:
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(rest.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
