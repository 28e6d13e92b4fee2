"""The agreement of all workers of a Ray job: one model, and the parts of its rewards.

Ray keeps it in the store of the cluster, by the job and the options of the client. It survives the
node of the worker that came first.
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter

from reward_client._base.results import Settings
from reward_client._integrations.batches import Parts
from reward_client._integrations.clients import refuse_other_model
from reward_client._integrations.environment import Options

_NAMESPACE = b"reward_client"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PARTS = TypeAdapter(Parts)


class Agreement:
    """The agreement of the workers with equal options. Outside of Ray, one worker is alone.

    Args:
        options: The options of the client.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._settings: Settings | None = None
        self._parts: Parts | None = None

    def check(self, settings: Settings) -> None:
        """Compare the model with that of the first worker.

        Raises:
            ModelChangedError: If it is another one.
        """
        if self._settings is None:
            content = self._agreed("settings", settings.model_dump_json().encode())
            self._settings = Settings.model_validate_json(content)
        refuse_other_model(self._settings, settings)

    def parts(self, found: Parts | None) -> Parts | None:
        """Return the parts of rewards; None if no worker has a reward so far.

        Args:
            found: The parts of a batch; None if it has no reward.
        """
        if self._parts is None:
            content = self._agreed("parts", None if found is None else _PARTS.dump_json(found))
            self._parts = None if content is None else _PARTS.validate_json(content)
        return self._parts

    def _agreed(self, name: str, proposal: bytes | None) -> Any:
        """Return what the first worker has proposed; None if there is no proposal."""
        store = _store()
        if store is None:
            return proposal
        key = f"{_job()}/{self._key}/{name}".encode()
        if proposal is not None:
            store._internal_kv_put(key, proposal, overwrite=False, namespace=_NAMESPACE)  # noqa: SLF001 - has no public name
        return store._internal_kv_get(key, namespace=_NAMESPACE)  # noqa: SLF001 - likewise

    @property
    def _key(self) -> str:
        """The digest of the options, which is the same in every process."""
        client = sorted((name, repr(value)) for name, value in self._options.client.items())
        return hashlib.sha256(_ADDRESS.sub("", repr(client)).encode()).hexdigest()


def _store() -> Any:
    """Return the module of the cluster's store; None outside of Ray."""
    if "ray" not in sys.modules:
        return None
    store = import_module("ray.experimental.internal_kv")
    return store if store._internal_kv_initialized() else None  # noqa: SLF001 - likewise


def _job() -> str:
    return str(import_module("ray").get_runtime_context().get_job_id())
