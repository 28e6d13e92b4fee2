"""NeMo Gym, with the gateway as a resources server. Pure.

Source: nemo-gym 0.4.0, ``base_resources_server.py`` and ``responses_api_agents/simple_agent``. An
agent posts the task to ``/seed_session`` and the finished rollout, in the form of OpenAI's
Responses, to ``/verify``. 0.4.0 has no field for a failed sample, so that such a rollout fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Conversation, Message
from reward_client._base.wording import describe_type
from reward_client._integrations.policy_text import PolicyText
from reward_client.errors import InputError
from reward_client.gateway.contracts.contract import (
    DETAIL,
    UNPROCESSABLE,
    Asked,
    Contract,
    Outcome,
    Refusal,
    detail,
    fields_of,
    invalid,
    numbers,
)

_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
_ROLES = {"developer": "system"}
"""The roles of Responses that chat templates do not know, and their own names for them."""


def _read_seed(body: object, _: PolicyText) -> Asked:
    fields_of(body)
    return Asked([], lambda _outcomes: {})  # a reward model keeps nothing for a rollout


def _read_verify(body: object, _: PolicyText) -> Asked:
    fields = fields_of(body)
    asked = as_mapping(fields.get("responses_create_params"))
    response = as_mapping(fields.get("response"))
    if asked is None or response is None:
        raise invalid("'responses_create_params' and 'response' must be objects")
    try:
        sample = _conversation(asked, response)
    except InputError as error:
        raise Refusal(UNPROCESSABLE, type(error).__name__, str(error)) from error
    return Asked([sample], lambda outcomes: _verified(fields, outcomes))


def _verified(fields: Mapping[str, object], outcomes: Sequence[Outcome]) -> object:
    return {**fields, "reward": numbers(outcomes)[0]}


def _conversation(asked: Mapping[str, object], response: Mapping[str, object]) -> Conversation:
    """Return what was asked, and all that was answered, as one conversation.

    Raises:
        InputError: If it holds something else than texts and calls of functions.
    """
    given = asked.get("input")
    before = [{"role": "user", "content": given}] if isinstance(given, str) else as_sequence(given)
    after = as_sequence(response.get("output"))
    if not before or not after:
        raise InputError("Cannot score the rollout: it has no input, or no output.")
    messages: list[Message] = []
    if instructions := asked.get("instructions"):
        messages.append({"role": "system", "content": instructions})
    for item in (*before, *after):
        _add(messages, item)
    tools = [_tool(tool) for tool in as_sequence(asked.get("tools")) or ()]
    return Conversation(messages, tools=cast("Sequence[Mapping[str, object]]", tools) or None)


def _add(messages: list[Message], item: object) -> None:
    """Add an item of Responses to the messages; reasoning, which no answer shows, is left out."""
    fields = as_mapping(item)
    if fields is None:
        raise InputError(f"An item of the rollout is {describe_type(item)}, not an object.")
    match fields.get("type", "message"):
        case "message":
            role = str(fields.get("role"))
            content = _text(fields.get("content"))
            messages.append({"role": _ROLES.get(role, role), "content": content})
        case "reasoning":
            pass
        case "function_call":
            _add_call(messages, fields)
        case "function_call_output":
            content = _text(fields.get("output"))
            call = {"tool_call_id": fields.get("call_id")}
            messages.append({"role": "tool", "content": content, **call})
        case kind:
            raise InputError(
                f"Cannot score an item of the type {str(kind)[:40]!r}: only messages, reasoning "
                "and calls of functions have a place in a conversation."
            )


def _add_call(messages: list[Message], fields: Mapping[str, object]) -> None:
    """Add a call to the assistant's turn, which it begins if there is none."""
    function = {"name": fields.get("name"), "arguments": fields.get("arguments")}
    call = {"id": fields.get("call_id"), "type": "function", "function": function}
    if not messages or messages[-1].get("role") != "assistant":
        messages.append({"role": "assistant", "content": ""})
    last = messages[-1]
    calls = as_sequence(last.get("tool_calls")) or ()
    messages[-1] = {**last, "tool_calls": [*calls, call]}


def _text(content: object) -> str:
    """Return a content of Responses: a text, or parts that are texts."""
    if isinstance(content, str):
        return content
    parts = [as_mapping(part) or {} for part in as_sequence(content) or ()]
    texts = [part.get("text") for part in parts if part.get("type") in _TEXT_PARTS]
    if not parts or len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise InputError("Cannot score a content that is neither a text nor a list of text parts.")
    return "".join(cast("list[str]", texts))


def _tool(given: object) -> Mapping[str, object]:
    """Return a tool of Responses as a tool of a chat."""
    fields = as_mapping(given) or {}
    names = ("name", "description", "parameters", "strict")
    function = {name: fields[name] for name in names if fields.get(name) is not None}
    return {"type": "function", "function": function}


_OBJECT: Mapping[str, object] = {"type": "object"}
_ANSWER: Mapping[str, object] = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "88"}],
}

SEED_SESSION = Contract(
    name="nemo_gym_seed",
    path="/seed_session",
    summary="NeMo Gym: the start of a rollout, which a reward model has no use for",
    read=_read_seed,
    refusal=detail,
    error=DETAIL,
    request=_OBJECT,
    response=_OBJECT,
    example={"responses_create_params": {"input": "What is 45 + 43?"}},
)

VERIFY = Contract(
    name="nemo_gym",
    path="/verify",
    summary="NeMo Gym: the gateway as a resources server",
    read=_read_verify,
    refusal=detail,
    error=DETAIL,
    request={
        "type": "object",
        "required": ["responses_create_params", "response"],
        "properties": {
            "responses_create_params": {**_OBJECT, "description": "The task."},
            "response": {**_OBJECT, "description": "The rollout, as OpenAI's Responses."},
        },
    },
    response={
        "type": "object",
        "required": ["reward"],
        "properties": {"reward": {"type": "number"}},
    },
    example={
        "responses_create_params": {"input": "What is 45 + 43?"},
        "response": {"output": [_ANSWER]},
    },
)
