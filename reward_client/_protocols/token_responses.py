"""The token IDs in a response of ``/tokenize``, of either engine."""

from __future__ import annotations

from reward_client._base.json_values import as_list
from reward_client._base.token_ids import TokenIds, checked
from reward_client._base.wording import describe_type
from reward_client._protocols.http import Response
from reward_client.errors import ProtocolError, ResponseMismatchError


def token_ids(response: Response) -> TokenIds:
    """Read the token IDs of a response of ``/tokenize``.

    Raises:
        ProtocolError: If the response holds no token IDs.
        ResponseMismatchError: If their number is not the one that the response names.
    """
    fields = response.fields()
    tokens = as_list(fields.get("tokens"))
    if not tokens:
        raise response.error(ProtocolError, "The response of /tokenize holds no token IDs.")
    ids = checked(tokens)
    if ids is None:
        raise response.error(ProtocolError, "The response of /tokenize holds invalid token IDs.")
    count = fields.get("count")
    if type(count) is not int or count != len(tokens):
        counted = count if type(count) is int else describe_type(count)
        raise response.error(
            ResponseMismatchError, f"/tokenize counts {counted} tokens and gives {len(tokens)}."
        )
    return ids
