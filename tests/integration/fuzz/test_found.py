"""What the fuzzing found, each by its smallest example."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    Conversation,
    FormattedText,
    InputError,
    LinearHead,
    ModelNotFoundError,
    NonFiniteRewardError,
    ProtocolError,
    RecipeError,
    ResponseMismatchError,
    RetryPolicy,
    Reward,
    RewardClientError,
    ServerError,
    StatusError,
)
from reward_client._base.samples import (
    parse_sample,
    refuse_single_sample,
    response_texts,
    responses_to,
)
from reward_client._base.token_ids import TokenIds
from reward_client._transport.redaction import redact
from reward_client._transport.status_errors import read_error, retry_after
from reward_client.recipes import load_recipe

from ...support.raw_server import (
    Exchange,
    RawServer,
    answer,
    as_it_is,
    http,
    reward_of,
    then_closed,
    true_reply,
)
from .objects import ODDITIES
from .running import KEY, Running
from .vllm import CASES, PROMPT, Case, Vllm

Change = Callable[[Any], Any]

TURN = {"role": "user", "content": "2+2?"}


def case(version: str | None, kind: str) -> Case:
    return next(each for each in CASES if (each.version, each.kind) == (version, kind))


SCALAR = case("0.32.0", "scalar")


def answering(path: str, answer: httpx.Response | Change, *, first: int = 0) -> Any:
    """Damage to the replies of a path, from one of them on."""

    def damage(asked: str, times: int, payload: Any) -> httpx.Response | None:
        if asked != path or times < first:
            return None
        if isinstance(answer, httpx.Response):
            body = answer.content
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=body, extensions={"body": body}
            )
        changed = answer(copy.deepcopy(payload))
        body = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return httpx.Response(200, content=body, extensions={"body": body})

    return damage


def score(runner: Running, damage: Any, served: Case = SCALAR, **options: Any) -> Any:
    server = Vllm(served, damage)
    return runner.score(server, served.sample, **options)


# Replies


@pytest.mark.parametrize("text", ["é", "AACAé", "\udcff".encode("utf-8", "replace").decode()])
def test_base64_with_letters_outside_ascii(runner: Running, text: str) -> None:
    def change(payload: Any) -> Any:
        payload["data"][0]["embedding"] = text
        return payload

    outcome = score(runner, answering("/v1/embeddings", change), case("0.8.5", "scalar"))
    assert isinstance(outcome, ProtocolError)


def item(number: str) -> Change:
    """The reply to a sample with another number, as it stands in the text."""

    def change(payload: Any) -> bytes:
        payload["data"][0]["data"] = ["@"]
        return json.dumps(payload).replace('"@"', number).encode()

    return change


@pytest.mark.parametrize("number", ["3.5e38", "-1e300", "18446744073709551616e20"])
def test_numbers_beyond_float32(runner: Running, number: str) -> None:
    outcome = score(runner, answering("/pooling", item(number), first=1))
    assert isinstance(outcome, NonFiniteRewardError)


def test_an_integer_beyond_all_floats_beside_nan(runner: Running) -> None:
    outcome = score(runner, answering("/pooling", item(f"{'9' * 400}, NaN"), first=1))
    assert isinstance(outcome, ProtocolError)


@pytest.mark.parametrize("counted", ["x" * 1_000_000, KEY, [[]] * 1000, {"a": PROMPT}, 1e300, True])
def test_what_the_server_counts_instead_of_a_number_is_not_shown(
    runner: Running, counted: Any
) -> None:
    def change(payload: Any) -> Any:
        payload["usage"]["prompt_tokens"] = counted
        return payload

    outcome = score(runner, answering("/pooling", change, first=1))
    assert isinstance(outcome, ResponseMismatchError)
    assert len(str(outcome)) < 400


def test_true_is_not_one_token(runner: Running) -> None:
    def change(payload: Any) -> Any:
        payload["usage"]["prompt_tokens"] = True
        return payload

    server = Vllm(SCALAR, answering("/pooling", change, first=1))
    assert isinstance(runner.score(server, [7]), ResponseMismatchError)


@pytest.mark.parametrize("error", [True, 1, ["quota"], [{"message": "quota"}]])
def test_an_error_of_an_unknown_form_beside_data(runner: Running, error: Any) -> None:
    outcome = score(runner, answering("/pooling", lambda payload: {**payload, "error": error}))
    assert isinstance(outcome, StatusError)


def test_half_a_character_beside_nan_is_no_text(runner: Running) -> None:
    body = b'{"data": [{"id": "judge", "root": "\\ud800", "created": NaN}]}'
    outcome = score(runner, answering("/v1/models", lambda _: body))
    assert isinstance(outcome, ProtocolError)


@pytest.mark.parametrize("status", [100, 101, 199])
def test_a_status_below_200_is_no_success(runner: Running, status: int) -> None:
    def damage(path: str, times: int, payload: Any) -> httpx.Response | None:
        if path != "/pooling":
            return None
        body = json.dumps(payload).encode()
        return httpx.Response(status, content=body, extensions={"body": body})

    outcome = score(runner, damage)
    assert isinstance(outcome, ServerError)
    assert outcome.status == status


# What the server says of itself


@pytest.mark.parametrize("root", [["a"], {"a": 1}, 5, True])
def test_a_root_that_is_no_text(runner: Running, root: Any) -> None:
    def change(payload: Any) -> Any:
        payload["data"][0]["root"] = root
        return payload

    assert isinstance(score(runner, answering("/v1/models", change)), Reward)


@pytest.mark.parametrize(
    "version", ["9" * 5000 + ".1", "1." + "9" * 5000, f"Bearer {KEY}", "0.8.5 " * 100_000, "٣.٣"]
)
def test_a_version_that_is_none(runner: Running, version: str) -> None:
    outcome = score(runner, answering("/version", lambda _: {"version": version}))
    assert isinstance(outcome, Reward)
    assert outcome.provenance.server_version is None


@pytest.mark.parametrize("limit", [0, -1, -(2**63)])
@pytest.mark.parametrize("path", ["/v1/models", "/tokenize"])
def test_a_limit_that_no_sample_keeps(runner: Running, path: str, limit: int) -> None:
    def damage(asked: str, times: int, payload: Any) -> httpx.Response | None:
        if asked not in ("/v1/models", "/tokenize"):
            return None
        payload = copy.deepcopy(payload)
        if asked == "/v1/models":
            payload["data"][0]["max_model_len"] = limit if asked == path else None
        else:
            payload["max_model_len"] = limit if asked == path else None
        body = json.dumps(payload).encode()
        return httpx.Response(200, content=body, extensions={"body": body})

    assert isinstance(score(runner, damage), Reward)


def test_names_without_end(runner: Running) -> None:
    cards = [{"id": "x" * 10_000, "root": str(number)} for number in range(100)]
    outcome = score(runner, answering("/v1/models", lambda _: {"data": cards}))
    assert isinstance(outcome, ModelNotFoundError)
    assert len(str(outcome)) < 3_000


# Errors


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "1 Jan 2147483648",
    ],
)
def test_dates_that_no_calendar_has(date: str) -> None:
    assert retry_after({"retry-after": date}) is None


ECHO = {"messages": [{"role": "user", "content": PROMPT}]}


@pytest.mark.parametrize(
    "said",
    [
        f"1 validation error: too bad [type=x, input_value={ECHO!r}, input_type=dict]",
        f'[{{"msg": "too bad", "input" : {json.dumps(ECHO)}}}]',
        json.dumps([{"msg": "too bad", "input": json.dumps(ECHO)}]),
        {"nested": json.dumps({"msg": "too bad", "input": ECHO})},
    ],
)
def test_more_forms_of_an_echoed_input(said: Any) -> None:
    for payload in ({"error": {"message": said}}, {"detail": said}, {"error": [said]}):
        body = json.dumps(payload).encode()
        error = read_error(body, payload)
        assert error is not None
        assert "too bad" in error.message
        assert PROMPT not in error.message


@pytest.mark.parametrize("end", ["", '", "x": 1e400}', '"}'])
def test_a_text_that_is_cut_off(runner: Running, end: str) -> None:
    """It was shown as a reply that is no JSON, with the prompt in it."""
    served = case("0.10.2", "scalar")
    said = json.dumps({"prompt": f"user: {PROMPT}"})[:-2].encode() + end.encode()

    def damage(path: str, times: int, payload: Any) -> httpx.Response | None:
        if path != "/detokenize":
            return None
        return httpx.Response(404 if end else 200, content=said, extensions={"body": said})

    outcome = runner.score(Vllm(served, damage), served.sample)
    assert isinstance(outcome, RewardClientError)


@pytest.mark.parametrize("secret", ["a'b\\c\"d-0123456789", "back\\slash\\es"])
def test_a_key_with_quotes(secret: str) -> None:
    sent = {"authorization": f"Bearer {secret}"}
    for text in (secret, repr(f"x{secret}"), json.dumps(secret), repr([secret])):
        assert "slash" not in redact(text, sent)
        assert "0123" not in redact(text, sent)


# The wire


@pytest.mark.parametrize("before", range(30, 130, 7))
def test_a_key_at_the_end_of_what_is_shown(runner: Running, before: int) -> None:
    """It was cut in half before it was looked for."""
    bad = then_closed(f"HTTP/1.1 {'x' * before}{KEY}\r\n\r\n".encode())
    with RawServer(answer) as server:

        async def main() -> str:
            async with AsyncRewardClient(server.url, api_key=KEY, retry=ONCE) as client:
                await client.servers()
                server.plan("/pooling", bad, bad)
                with pytest.raises(RewardClientError) as caught:
                    await client.score([10])
                return str(caught.value)

        shown = runner.run(main())
    assert not [KEY[:size] for size in range(6, len(KEY)) if KEY[:size] in shown]


ONCE = RetryPolicy(attempts=1)


def test_a_body_that_is_packed_twice(runner: Running) -> None:
    """Less than a kilobyte unpacked to 128 megabytes at once."""
    body = gzip.compress(gzip.compress(bytes(2**27)))
    headers = {"content-encoding": "gzip, gzip"}
    with RawServer(answer) as server:

        async def main() -> None:
            async with AsyncRewardClient(server.url, retry=ONCE) as client:
                await client.servers()
                packed = then_closed(http(body, 200, headers))
                server.plan("/pooling", packed)
                with pytest.raises(ProtocolError, match="gzip, gzip"):
                    await client.score([10])

        runner.run(main())


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip"])
def test_an_error_that_cannot_be_unpacked_keeps_its_status(runner: Running, encoding: str) -> None:
    headers = {"content-encoding": encoding}
    with RawServer(answer) as server:

        async def main() -> Reward:
            async with AsyncRewardClient(
                server.url, retry=RetryPolicy(attempts=2, max_wait=0.01)
            ) as client:
                await client.servers()
                server.plan("/pooling", then_closed(http(b"busy", 503, headers)))
                return await client.score([10])

        assert runner.run(main()).value == reward_of([10])


@pytest.mark.parametrize("wait", [0.0, 0.15], ids=["during the next", "before the next"])
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_reply_that_comes_twice(runner: Running, attempts: int, wait: float) -> None:
    """aiohttp took the second one for the reply to the next request, and so on."""

    async def twice(exchange: Exchange) -> None:
        data = true_reply(exchange.request)
        await exchange.send(data)
        await asyncio.sleep(0.05)
        await exchange.send(data)

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await as_it_is(exchange)

    samples = [[10, 20, 30], [100, 200, 300], [40, 50, 60], [70, 80, 90]]

    async def main(server: RawServer) -> list[Reward | RewardClientError]:
        policy = RetryPolicy(attempts=attempts, max_wait=0.01)
        async with AsyncRewardClient(server.url, retry=policy) as client:
            await client.servers()
            server.plan("/pooling", twice, slowly)
            outcomes: list[Reward | RewardClientError] = []
            for sample in samples:
                outcomes += await client.score_many([sample], on_error="return")
                await asyncio.sleep(wait)
            return outcomes

    with RawServer(answer) as server:
        outcomes = runner.run(main(server))
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, Reward):
            assert outcome.value == reward_of(sample)
        else:
            assert attempts == 1
            assert isinstance(outcome, ResponseMismatchError)
    assert wait == 0 or all(isinstance(outcome, Reward) for outcome in outcomes)


def test_a_reply_with_the_id_of_another_request(runner: Running) -> None:
    other = f"rc-{'0' * 32}"
    for change in (
        lambda payload: {**payload, "id": f"embd-{other}"},
        lambda payload: {**payload, "id": other},
    ):
        outcome = score(runner, answering("/pooling", change, first=1))
        assert isinstance(outcome, ResponseMismatchError)
        assert other in str(outcome)
    echoed = httpx.Response(200, headers={"x-request-id": other}, json={"version": "0.32.0"})
    outcome = score(runner, answering("/version", echoed))
    assert isinstance(outcome, Reward)  # a version that cannot be had
    assert outcome.provenance.server_version is None


# Samples


@pytest.mark.parametrize("name", sorted(ODDITIES))
def test_odd_objects(name: str) -> None:
    """Each as a sample, in one, and among several: it is read or refused, and that at once."""
    odd = ODDITIES[name]
    attempts: list[Callable[[], Any]] = [
        lambda: parse_sample(odd()),
        lambda: parse_sample([odd()]),
        lambda: parse_sample([1, odd()]),
        lambda: parse_sample([{"role": odd(), "content": "x"}]),
        lambda: parse_sample([{"role": "user", "content": odd()}]),
        lambda: parse_sample([{"role": "user", "content": [odd()]}]),
        lambda: parse_sample([{"role": "user", "content": [{"type": odd(), "text": "x"}]}]),
        lambda: parse_sample([{"role": "user", "content": [{"type": "text", "text": odd()}]}]),
        lambda: parse_sample([{"role": "user", "content": "x", "name": odd()}]),
        lambda: FormattedText(odd()),
        lambda: Conversation(odd()),
        lambda: Conversation([TURN], tools=odd()),
        lambda: Conversation([TURN], tools=[{"x": odd()}]),
        lambda: Conversation([TURN], chat_template_kwargs=odd()),
        lambda: Conversation([TURN], chat_template_kwargs={"x": odd()}),
        lambda: Conversation([TURN], steps=odd()),
        lambda: Conversation([TURN], steps=[odd()]),
        lambda: refuse_single_sample(odd()),
        lambda: refuse_single_sample([odd()]),
        lambda: responses_to("2+2?", response_texts(odd())),
        lambda: responses_to("2+2?", response_texts([odd()])),
        lambda: responses_to(odd(), ["4"]),
    ]
    for attempt in attempts:
        said = ""
        try:
            json.dumps(_written(attempt()), allow_nan=False).encode()
        except InputError as error:
            said = str(error)
        assert PROMPT not in said
        assert len(said) < 500


def _written(read: Any) -> Any:
    """What would be sent of a sample."""
    if isinstance(read, Conversation):
        return [read.messages, read.tools, read.chat_template_kwargs, read.steps]
    if isinstance(read, FormattedText):
        return read.text
    if isinstance(read, TokenIds):
        return list(read)
    return list(map(_written, read)) if isinstance(read, tuple) else read


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Conversation([TURN], chat_template_kwargs=[("a", 1)]),
        lambda: Conversation([TURN], chat_template_kwargs={1: "a"}),
        lambda: Conversation([TURN], chat_template_kwargs={"a": 2**64}),
        lambda: Conversation([TURN], tools="a tool"),
        lambda: Conversation([TURN], tools={"type": "function"}),
        lambda: Conversation([TURN], tools=["a tool"]),
        lambda: Conversation([{**TURN, "content": "\ud800"}]),
        lambda: Conversation([{**TURN, "role": "\ud800"}]),
        lambda: Conversation([{**TURN, 5: "x"}]),
        lambda: Conversation([{"role": "user", "content": [{"type": "text"}]}]),
        lambda: Conversation([{"role": "user", "content": [{"type": "text", "text": 5}]}]),
        lambda: Conversation([TURN], steps=["\ud800"]),
        lambda: FormattedText("\ud800"),
        lambda: parse_sample([10**5000, 1]),
        lambda: parse_sample([1, -(10**5000)]),
        lambda: responses_to("2+2?", ["\ud800"]),
    ],
)
def test_what_failed_only_when_it_was_sent(wrong: Callable[[], Any]) -> None:
    with pytest.raises(InputError):
        wrong()


def test_a_conversation_is_what_it_was_when_it_was_made() -> None:
    turn, tool, steps = dict(TURN), {"type": "function"}, ["a"]
    arguments = {"names": ["x"]}
    messages = [turn]
    conversation = Conversation(messages, [tool], arguments, steps)
    turn["content"] = "another"
    messages.append(turn)
    tool["type"] = "another"
    arguments["names"].append("y")
    steps.append("b")
    assert conversation == Conversation([TURN], [{"type": "function"}], {"names": ["x"]}, ["a"])


# What a reply is believed to be


@pytest.mark.parametrize("model", ["another", None, [], 5])
def test_a_reply_of_another_model(runner: Running, model: Any) -> None:
    """The server was found out anew, was the first one again, and the number was believed."""

    def damage(path: str, times: int, payload: Any) -> httpx.Response | None:
        if path != "/pooling" or times != 1:
            return None
        payload["model"] = model
        payload["data"][0]["data"] = [123.0]
        body = json.dumps(payload).encode()
        return httpx.Response(200, content=body, extensions={"body": body})

    outcome = score(runner, damage)
    assert isinstance(outcome, Reward)
    assert outcome == runner.score(Vllm(SCALAR), SCALAR.sample)


def test_a_model_of_a_thousand_nested_lists(runner: Running) -> None:
    def change(payload: Any) -> bytes:
        payload["model"] = "@"
        return json.dumps(payload).replace('"@"', "[" * 1000 + "]" * 1000).encode()

    outcome = score(runner, answering("/pooling", change))
    assert outcome == runner.score(Vllm(SCALAR), SCALAR.sample)


@pytest.mark.parametrize("counted", ["x" * 1_000_000, KEY, [[]] * 1000])
def test_what_tokenize_counts_instead_of_a_number_is_not_shown(
    runner: Running, counted: Any
) -> None:
    outcome = score(runner, answering("/tokenize", lambda payload: {**payload, "count": counted}))
    assert isinstance(outcome, ResponseMismatchError)
    assert len(str(outcome)) < 400


@pytest.mark.parametrize("row", [[0.2, 7.5], [-0.5, 1.5], [0.9, 0.95], [0.0, 0.0]])
def test_rows_that_are_no_probabilities(runner: Running, row: list[float]) -> None:
    def change(payload: Any) -> Any:
        payload["data"][0]["data"][0] = row
        return payload

    outcome = score(runner, answering("/pooling", change, first=1), case("0.9.2", "steps"))
    assert isinstance(outcome, ProtocolError)


@pytest.mark.parametrize("weight", [[1e300] * 8, [1e300, -1e300] * 4])
def test_sums_beyond_all_floats(runner: Running, weight: list[float]) -> None:
    data = b64encode(struct.pack("<8f", *[3e38] * 8)).decode()

    def change(payload: Any) -> Any:
        payload["data"][0]["embedding"] = data
        return payload

    damage = answering("/v1/embeddings", change, first=4)  # the sample
    outcome = score(runner, damage, case("0.32.0", "states"), head=LinearHead(weight))
    assert isinstance(outcome, NonFiniteRewardError)


@pytest.mark.parametrize(
    ("name", "content"),
    [("deep.toml", "a = " + "[" * 5000), ("deep.toml", "a = " + "{a=" * 5000), ("\0.toml", "")],
)
def test_recipes_that_cannot_be_read(tmp_path: Path, name: str, content: str) -> None:
    if "\0" not in name:
        (tmp_path / name).write_text(content)
    with pytest.raises(RecipeError):
        load_recipe(tmp_path / name)


@pytest.mark.parametrize("field", ["dtype", "shape", "data_offsets"])
def test_a_header_of_a_megabyte(tmp_path: Path, field: str) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], field: ["x" * 1_000_000]}
    header = json.dumps({"w": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(InputError) as caught:
        LinearHead.load(path, "w")
    assert len(str(caught.value)) < 1_000
