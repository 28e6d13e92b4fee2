"""SGLang gives wrong numbers with status 200, and dies of requests that other servers refuse."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from transformers import ByT5Tokenizer

from reward_client import (
    AuthenticationError,
    BatchError,
    Conversation,
    FormattedText,
    InputError,
    Limits,
    NotARewardError,
    PromptTooLongError,
    ProtocolError,
    ReplicaMismatchError,
    ResponseMismatchError,
    Reward,
    RewardClient,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    ServerUnreachableError,
    TemplateUnavailableError,
    TokenizerMismatchError,
)
from reward_client._server.offset import constant_offset
from reward_client._server.vocabulary import vocabulary_size
from reward_client.cli import main
from reward_client.heads import LinearHead, ObjectiveHead, StepHead
from reward_client.methods import Messages, TokenLogit, Verdict, YesNo
from reward_client.testing import Fault, RewardServer

from .conftest import Connect

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
CHAT = [QUESTION, {"role": "assistant", "content": "37 + 45 = 82."}]
CLOSE = 1e-4
KEY = "sk-secret"

Start = Callable[..., RewardServer]


class Several:
    """The addresses of several servers."""

    def __init__(self, servers: Sequence[RewardServer]) -> None:
        self.url = [server.url for server in servers]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts SGLang servers, which end with the test."""
    with ExitStack() as running:

        def start_server(dialect: str = "0.5.23", **options: Any) -> RewardServer:
            server = RewardServer(engine="sglang", dialect=dialect, **options)
            return running.enter_context(server)

        yield start_server


@pytest.fixture
def expected() -> float:
    """The reward of the conversation, by the model itself."""
    with RewardServer() as vllm:
        ids = _ids(vllm)
        return vllm.reference(list(ids))


def _ids(server: RewardServer) -> tuple[int, ...]:
    with RewardClient(server.url) as client:
        return client.tokenize(CHAT).token_ids


def bodies(server: RewardServer, path: str) -> list[Any]:
    return [each.json for each in server.requests if each.path == path]


# 85: the answer becomes a question


@pytest.mark.parametrize("dialect", ["0.5.23", "0.5.22", "0.4.9"])
@pytest.mark.parametrize("tokenizer", ["server", "local"])
def test_85_the_reward_is_that_of_the_answer(
    connect: Connect, start: Start, expected: float, dialect: str, tokenizer: str
) -> None:
    """By the server's template where it is right, and by that of a folder elsewhere."""
    server = start(dialect)
    options = {"tokenizer": server.checkpoint} if tokenizer == "local" else {}
    client = connect(server, **options)
    if dialect != "0.5.23" and not options:
        with pytest.raises((InputError, RouteNotFoundError), match="tokenizer="):
            client.score(CHAT)
        return
    assert client.score(CHAT).value == pytest.approx(expected, abs=CLOSE)


def test_85_the_request_says_that_no_turn_follows(connect: Connect, start: Start) -> None:
    server = start()
    connect(server).score(CHAT)
    asked = [body for body in bodies(server, "/tokenize") if "messages" in body]
    assert asked
    assert all(body["add_generation_prompt"] is False for body in asked)


def test_85_a_version_that_hides_is_found_out(connect: Connect, start: Start) -> None:
    """The version is hidden, so the newest request is tried, and its answer is not believed."""
    client = connect(start("0.5.22", version=None))
    with pytest.raises(ProtocolError, match="makes a user's turn of the last answer"):
        client.score(CHAT)


def test_85_another_template_on_the_client_is_found_out(connect: Connect, start: Start) -> None:
    other = "{% for message in messages %}{{ message.content }} {% endfor %}"
    server = start("0.5.22", chat_template=other)
    client = connect(server, tokenizer=server.checkpoint)
    with pytest.raises(TokenizerMismatchError, match="is not the server's: a conversation"):
        client.score(CHAT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{{- '<|' +", "{{- (' ' if message['role'] == 'assistant' else '') + '<|' +"),
        ("{{- '<|' +", "{{- (' ' if message['role'] == 'system' else '') + '<|' +"),
        ("bos_token }}", "bos_token }}{% if messages|length > 1 %}Be kind.{% endif %}"),
        ("bos_token }}", "bos_token }}{% if messages|length > 4 %}Be kind.{% endif %}"),
        (" | trim", ""),
    ],
    ids=["answer", "system", "second turn", "many turns", "spaces"],
)
def test_85_a_template_that_differs_in_one_turn_is_found_out(
    connect: Connect, start: Start, tmp_path: Path, before: str, after: str
) -> None:
    """A question alone has the same tokens."""
    server = start("0.5.22")
    copy = _with_template(server, tmp_path, lambda right: right.replace(before, after))
    with pytest.raises(TokenizerMismatchError, match="is not the server's: a conversation"):
        connect(server, tokenizer=copy).score(CHAT)


def test_85_what_the_template_of_the_server_refuses_is_not_compared(
    connect: Connect, start: Start
) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"
    with RewardServer() as right:
        template = refusing + _template_of(right.checkpoint)
    server = start("0.5.22", chat_template=template)
    assert connect(server, tokenizer=server.checkpoint).score(CHAT).value is not None


def _with_template(server: RewardServer, folder: Path, change: Callable[[str], str]) -> str:
    """Return a copy of the tokenizer with another chat template."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(server.checkpoint) / name, folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    right = settings.pop("chat_template")
    changed = change(right)
    assert changed != right
    path.write_text(json.dumps(settings | ({"chat_template": changed} if changed else {})))
    return str(folder)


def _template_of(folder: str | Path) -> str:
    settings = json.loads((Path(folder) / "tokenizer_config.json").read_text())
    return str(settings["chat_template"])


@pytest.mark.parametrize(
    ("dialect", "options"),
    [("0.5.22", {"version": "0.5.9"}), ("0.4.9", {})],
    ids=["0.5.9", "0.4.9"],
)
def test_85_without_a_proof_there_is_a_warning(
    connect: Connect,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    dialect: str,
    options: dict[str, str],
) -> None:
    """They render no conversations."""
    server = start(dialect, **options)
    client = connect(server, tokenizer=server.checkpoint)
    client.score(CHAT)
    client.servers()
    (warning,) = [each for each in caplog.messages if "nothing proves" in each]
    assert "that the chat template of" in warning


def test_85_another_tokenizer_is_found_out(connect: Connect, start: Start, tmp_path: Path) -> None:
    """Without `/tokenize`, one text is scored as text and by the IDs of the client."""
    ByT5Tokenizer().save_pretrained(tmp_path)
    server = start("0.4.9")
    with pytest.raises(TokenizerMismatchError, match="one sample differs"):
        connect(server, tokenizer=str(tmp_path)).score(FormattedText("37 + 45 = 82."))


@pytest.mark.parametrize("template", ["", "{% if %}"], ids=["none", "broken"])
@pytest.mark.parametrize("dialect", ["0.5.22", "0.4.9"])
def test_85_without_a_template_on_the_client_all_else_is_scored(
    connect: Connect, start: Start, tmp_path: Path, dialect: str, template: str
) -> None:
    """The fault is that of the set-up, and not of the sample."""
    server = start(dialect)
    client = connect(server, tokenizer=_with_template(server, tmp_path, lambda _: template))
    ids = [5, 6, 7]
    assert client.score(ids).value == pytest.approx(server.reference(ids), abs=CLOSE)
    assert client.score(FormattedText("37 + 45 = 82.")).value is not None
    with pytest.raises(TemplateUnavailableError, match="Cannot render the conversation"):
        client.score(CHAT)


def test_85_auto_goes_on_without_a_tokenizer(
    connect: Connect, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The server names a folder that is not here."""
    with RewardServer() as vllm:
        ids = list(_ids(vllm))
    server = start("0.5.22", root="/nowhere/model")
    client = connect(server, tokenizer="auto")
    assert client.score(ids).value == client.score(FormattedText(_text(server, ids))).value
    with pytest.raises(InputError, match=r"turn of its answer\. Give the model's"):
        client.score(CHAT)
    (warning,) = [each for each in caplog.messages if "goes on without" in each]
    assert "'/nowhere/model': there is no such folder here" in warning
    with pytest.raises(RouteNotFoundError, match="the size of the vocabulary"):
        connect(start("0.4.9", root="/nowhere/model"), tokenizer="auto").score(ids)


def test_85_no_conversation_is_sent_to_be_scored(connect: Connect, start: Start) -> None:
    with pytest.raises(InputError, match="no route of SGLang takes conversations rightly"):
        connect(start(), method=Messages()).score(CHAT)


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}]},
        {"calls": True},
    ],
)
def test_85_tools_are_not_sent(connect: Connect, start: Start, extra: dict[str, Any]) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    turns = [*CHAT]
    if "calls" in extra:
        turns[1] = {**CHAT[1], "tool_calls": [call]}
    with pytest.raises(InputError, match="adds keys of its own"):
        connect(start()).score(Conversation(turns, tools=extra.get("tools")))


@pytest.mark.parametrize("dialect", ["0.5.23", "0.5.22", "0.4.9"])
@pytest.mark.parametrize("is_first", [True, False])
def test_85_replicas_of_two_engines_refuse_alike(
    connect: Connect, start: Start, dialect: str, is_first: bool
) -> None:
    """What SGLang refuses, the vLLM beside it does not score; all else both score."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    with RewardServer() as vllm:
        servers = [start(dialect), vllm]
        options = {"tokenizer": vllm.checkpoint} if dialect != "0.5.23" else {}
        client = connect(Several(servers if is_first else servers[::-1]), **options)
        refused = [Conversation(CHAT, tools=[{**tool, "index": index}]) for index in range(12)]
        outcomes = client.score_many(refused, on_error="return")
        assert {type(each) for each in outcomes} == {InputError}
        samples = [[QUESTION, {"role": "assistant", "content": f"{index}"}] for index in range(12)]
        assert all(client.score_many(samples))
        assert all(bodies(server, "/classify") for server in servers[:1])


def test_85_without_a_template_the_other_samples_are_scored(connect: Connect, start: Start) -> None:
    client = connect(start("0.5.22"))
    samples = [[5, 6, 7], CHAT, [5, 6, 8]]
    first, refused, last = client.score_many(samples, on_error="return")
    assert isinstance(first, Reward)
    assert isinstance(last, Reward)
    assert isinstance(refused, TemplateUnavailableError)
    assert refused.fault == "server"
    with pytest.raises(BatchError) as caught:
        client.score_many([*samples[:1] * 40, CHAT])
    assert isinstance(caught.value.__cause__, TemplateUnavailableError)


@pytest.mark.parametrize("engine", ["vllm", "0.5.23"])
@pytest.mark.parametrize("is_first", [True, False])
def test_85_replicas_without_a_template_refuse_conversations_alike(
    connect: Connect, start: Start, engine: str, is_first: bool
) -> None:
    """Token IDs are scored, whichever is looked at first."""
    with RewardServer() if engine == "vllm" else RewardServer(engine="sglang") as renders:
        servers = [start("0.5.22"), renders]
        client = connect(Several(servers if is_first else servers[::-1]))
        assert client.score([5, 6, 7]).value
        outcomes = client.score_many(
            [[QUESTION, {**CHAT[1], "name": "a"}], CHAT] * 6, on_error="return"
        )
        assert len({f"{type(each)} {each}" for each in outcomes[::2]}) == 1
        assert {type(each) for each in outcomes[1::2]} == {TemplateUnavailableError}


# 86: routes with the same name


def test_86_the_route_of_openai_is_not_asked(
    connect: Connect, start: Start, expected: float
) -> None:
    """`/v1/classify` answers 1.0 to everything, with status 200."""
    server = start()
    assert connect(server).score(CHAT).value == pytest.approx(expected, abs=CLOSE)
    assert not bodies(server, "/v1/classify")
    assert bodies(server, "/classify")


def test_86_several_labels_are_raw(connect: Connect, start: Start) -> None:
    """By `/v1/classify` they would come through a softmax."""
    server = start(head="labels")
    ids = [5, 6, 7, 8]
    labels = server.reference_values(ids).labels
    objectives = connect(server, head=ObjectiveHead(len(labels))).score(ids).objectives
    assert list(objectives.values()) == pytest.approx(labels, abs=CLOSE)
    assert bodies(server, "/classify")


# 87: a random constant


def test_87_an_unknown_constant_is_said(
    connect: Connect, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(start(score_bias=0.0283))
    assert client.score(CHAT).provenance.offset == "unknown"
    assert client.rank([QUESTION], ["82", "83"]).rewards
    (warning,) = [each for each in caplog.messages if "adds a constant" in each]
    assert "their order and margins are right" in warning
    assert "zero-bias" in warning


def test_87_each_warning_is_given_once(
    connect: Connect, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of two servers, and of one that is looked at again."""
    client = connect(Several([start(score_bias=0.0283), start(score_bias=0.0283)]))
    client.score(CHAT)
    for _ in range(2):
        client.servers()
    assert len([each for each in caplog.messages if "adds a constant" in each]) == 1


def test_87_other_models_have_none(
    connect: Connect, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect(start()).score(CHAT).provenance.offset is None
    assert "adds a constant" not in caplog.text


@pytest.mark.parametrize(("high", "low"), [(0.008, 0.001), (0.11, -0.12)])
def test_87_replicas_with_other_constants_are_refused(
    connect: Connect, start: Start, high: float, low: float
) -> None:
    """Also if they differ by less than rounding may move a reward."""
    first, second = start(score_bias=high), start(score_bias=low)
    client = connect(Several([first, second]))
    with pytest.raises(
        ReplicaMismatchError,
        match=rf"rewards of {first.url} are {high - low:g} higher, as SGLang .*zero-bias",
    ):
        client.score(CHAT)


def test_87_the_doctor_refuses_them(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    servers = start(score_bias=0.008), start(score_bias=0.001)
    assert main(["doctor", "--json", *Several(servers).url]) == 2
    (found,) = json.loads(capsys.readouterr().out)["replicas"]
    assert found["verdict"] == "failed"
    assert " are 0.007 higher, as SGLang adds a constant" in found["detail"]
    assert "zero-bias" in found["cure"]
    equal = start(score_bias=0.008), start(score_bias=0.008)
    assert main(["doctor", *Several(equal).url]) == 1  # for the constant of each
    assert "gives the same tokens and reward as" in capsys.readouterr().out


def test_87_a_constant_is_no_rounding() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(8, 1)).tolist()
    rounded = [[value + 0.004 * rng.normal()] for (value,) in rows]
    assert constant_offset(rows, [[value - 0.01] for (value,) in rows]) == pytest.approx(0.01)
    assert constant_offset(rows, rounded) is None
    assert constant_offset(rows, rows) is None
    two = [[value, value] for (value,) in rows]
    assert constant_offset(two, [[value, value + 0.01] for (value,) in rows]) is not None


# 88: a doubled BOS


def test_88_text_goes_as_token_ids(connect: Connect, start: Start, expected: float) -> None:
    server = start()
    client = connect(server)
    with RewardServer() as vllm:
        ids = list(_ids(vllm))
    text = _text(server, ids)
    reward = client.score(FormattedText(text))
    assert reward.value == pytest.approx(expected, abs=CLOSE)
    assert all("text" not in body for body in bodies(server, "/classify"))


def _text(server: RewardServer, ids: list[int]) -> str:
    reply = httpx.post(
        f"{server.url}/detokenize", json={"tokens": ids, "skip_special_tokens": False}
    )
    return str(reply.json()["text"])


# 89: normalized hidden states


def test_89_hidden_states_of_length_one_are_no_reward(connect: Connect, start: Start) -> None:
    server = start(head="embed")
    with pytest.raises(NotARewardError, match="hidden states and not rewards"):
        connect(server).score(CHAT)
    width = len(server.reference_values([5, 6, 7]).hidden)
    with pytest.raises(RewardClientError, match="no flag turns that off: serve it with vLLM"):
        connect(server, head=LinearHead([1.0] * width)).score(CHAT)


def test_89_process_rewards_are_refused_with_the_reason(connect: Connect, start: Start) -> None:
    head = StepHead(step_token=5, good_label=1, aggregate="min")
    with pytest.raises(RouteNotFoundError, match=r"no class for process reward models.*vLLM"):
        connect(start(), head=head).score([5, 6, 7])


def test_89_a_log_probability_is_no_logit(connect: Connect, start: Start) -> None:
    server = start(logprobs="processed_logprobs")
    with pytest.raises(RouteNotFoundError, match="log-probabilities of tokens, and no logits"):
        connect(server, method=TokenLogit(token=7)).score(CHAT)


def test_89_the_difference_of_two_is(connect: Connect, start: Start) -> None:
    server = start(logprobs="processed_logprobs")
    with RewardServer(logprobs="raw_logits") as vllm:
        method = YesNo(yes="8", no="9")
        there = connect(vllm, method=method).score(CHAT)
        here = connect(server, method=method).score(CHAT)
    assert here.value == pytest.approx(there.value, abs=CLOSE)
    assert here.provenance.route == "generate"


# 90: deaths


@pytest.mark.parametrize("dialect", ["0.5.23", "0.5.22"])
@pytest.mark.parametrize(
    "method", [Verdict(r"(\d)", "{conversation} {response}"), YesNo(yes=20, no=21), TokenLogit(20)]
)
def test_90_a_server_that_embeds_is_not_asked_to_write(
    connect: Connect, start: Start, method: Any, dialect: str
) -> None:
    server = start(dialect)
    client = connect(server, method=method, tokenizer=server.checkpoint)
    with pytest.raises((RouteNotFoundError, NotARewardError)):
        client.score(CHAT)
    assert not bodies(server, "/generate")
    assert connect(server).score([5, 6, 7]).value


@pytest.mark.parametrize("dialect", ["0.5.23", "0.4.9"])
def test_90_an_id_past_the_vocabulary_is_not_sent(
    connect: Connect, start: Start, dialect: str
) -> None:
    server = start(dialect)
    client = connect(server, **({"tokenizer": server.checkpoint} if dialect == "0.4.9" else {}))
    for ids in ([5, 6, 371], [5, 6, 2**31 - 1]):
        with pytest.raises(InputError, match="the vocabulary of the server's tokenizer ends at"):
            client.score(ids)
    for ids in ([5, -1], [], [[]]):
        with pytest.raises(InputError):
            client.score(ids)
    assert client.score([5, 6, 370]).value is not None


def test_90_without_a_vocabulary_nothing_is_sent(connect: Connect, start: Start) -> None:
    server = start("0.4.9")
    with pytest.raises(RouteNotFoundError, match="Cannot find the size of the vocabulary"):
        connect(server).score([5, 6, 7])
    assert not bodies(server, "/classify")


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 371, 32_000, 151_669])
def test_90_the_size_of_the_vocabulary(size: int) -> None:
    async def text(ids: Any) -> str:
        return "x" * sum(token < size for token in ids)

    assert asyncio.run(vocabulary_size(text, min(size - 1, 300))) == size


def test_90_single_ids_without_a_text_end_no_vocabulary() -> None:
    async def text(ids: Any) -> str:
        return "x" * sum(token < 5000 and token % 16 == 3 for token in ids)

    assert asyncio.run(vocabulary_size(text, 19)) == 4995 + 1


def test_90_a_dropped_pack_is_sent_to_no_other_server(connect: Connect, start: Start) -> None:
    servers = [start(), start()]
    client = connect(Several(servers))
    client.score(CHAT)
    asked = [len(bodies(server, "/classify")) for server in servers]
    for server in servers:
        server.inject(Fault.reset(), path="/classify", times=3)
    with pytest.raises(ServerUnreachableError, match="one of them may have killed it"):
        client.score([5, 6, 7])
    hit = [
        len(
            [
                body
                for body in bodies(server, "/classify")[before:]
                if [5, 6, 7] in body["input_ids"]
            ]
        )
        for server, before in zip(servers, asked, strict=True)
    ]
    assert 0 in hit


def test_90_a_dropped_pack_is_not_bisected(connect: Connect, start: Start) -> None:
    server = start()
    client = connect(server, limits=Limits(max_batch_items=8))
    client.score(CHAT)
    server.inject(Fault.reset(), path="/classify", times=20)
    before = len(bodies(server, "/classify"))
    packs = [[5, 6, number] for number in range(8, 16)]
    with pytest.raises(RewardClientError):
        client.score_many(packs)
    sizes = {len(body["input_ids"]) for body in bodies(server, "/classify")[before:]}
    assert sizes == {8}


# 91 to 94


def test_91_one_token_less_than_the_context(connect: Connect, start: Start) -> None:
    server = start(max_model_len=64)
    client = connect(server)
    assert client.score([5] * 63).value is not None
    with pytest.raises(PromptTooLongError, match="has 64 tokens, but the server takes 63"):
        client.score([5] * 64)


def test_91_room_for_what_it_writes(connect: Connect, start: Start) -> None:
    server = start(logprobs="processed_logprobs", max_model_len=64)
    client = connect(server, method=YesNo(yes="8", no="9", question=None))
    assert client.servers()[0].max_model_len == 57


def test_92_a_wrong_name_is_refused_by_the_client(connect: Connect, start: Start) -> None:
    """The server answers any name with 200."""
    with pytest.raises(RewardClientError, match="does not serve 'another'"):
        connect(start(), model="another").score(CHAT)


def test_93_an_exchanged_order_is_found_out(connect: Connect, start: Start) -> None:
    """The samples are then scored one by one."""
    server = start()
    client = connect(server)
    samples = [[5, 6, 7], [8, 9, 10], [11, 12, 13]]
    right = [client.score(ids).value for ids in samples]
    server.inject(Fault.shuffled_index(), path="/classify", times=100)
    assert [reward.value for reward in client.score_many(samples)] == pytest.approx(right)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.doubled_index(), "somebody has exchanged the samples"),
        (Fault.missing_item(), "the response is a list of 2"),
        (Fault.wrong_usage(), "3 token IDs were sent in place 0, but the server scored 4"),
    ],
)
def test_93_answers_are_bound_by_their_ids(
    connect: Connect, start: Start, fault: Fault, said: str
) -> None:
    """No index and no usage: `rid` and the tokens of each sample tell them apart."""
    server = start()
    client = connect(server)
    client.score(CHAT)
    server.inject(fault, path="/classify", times=100)
    with pytest.raises(BatchError) as caught:
        client.score_many([[5, 6, 7], [8, 9, 10], [11, 12, 13]])
    assert isinstance(caught.value.__cause__, ResponseMismatchError)
    assert said in str(caught.value)


def test_93_each_attempt_has_its_own_ids(connect: Connect, start: Start) -> None:
    """Two requests of one `rid` hang on 0.4.9, and one `rid` for several samples is an error."""
    server = start()
    client = connect(server)
    client.score_many([[5, 6, number] for number in range(8, 40)])
    named = [name for body in bodies(server, "/classify") for name in body["rid"]]
    assert (
        len(named)
        == len({*named})
        == sum(len(body["input_ids"]) for body in bodies(server, "/classify"))
    )


def test_94_every_form_of_error_has_its_message(connect: Connect, start: Start) -> None:
    server = start(api_key=KEY)
    with pytest.raises(AuthenticationError, match="Unauthorized"):
        connect(server).score(CHAT)
    assert connect(server, api_key=KEY).score(CHAT).value is not None
    writer = start(logprobs="processed_logprobs")
    for route in ("auto", "embeddings"):  # of two forms
        with pytest.raises(RouteNotFoundError) as caught:
            connect(writer, route=route).score(CHAT)
        assert "does not appear to be an embedding model" in caught.value.server_message


def test_an_empty_refusal_is_an_error(connect: Connect, start: Start) -> None:
    server = start()
    client = connect(server)
    client.score(CHAT)
    server.inject(Fault.status(500), path="/classify", times=100)
    with pytest.raises(ServerError, match="HTTP 500"):
        client.score([5, 6, 7])


def test_one_sample_that_is_refused_fails_alone(connect: Connect, start: Start) -> None:
    """The server refuses the pack, and does not say whose fault it is."""
    server = start(max_model_len=64)
    client = connect(server)
    outcomes = client.score_many([[5, 6], [5] * 64, [7, 8]], on_error="return")
    assert [isinstance(outcome, RewardClientError) for outcome in outcomes] == [False, True, False]


@pytest.mark.parametrize(
    ("method", "cure"),
    [(TokenLogit(token=7), "YesNo"), (YesNo(yes=20, no=21), "without --is-embedding")],
)
def test_a_classifier_gets_the_advice_of_its_engine(
    connect: Connect, start: Start, method: TokenLogit | YesNo, cure: str
) -> None:
    with pytest.raises(NotARewardError, match=cure) as caught:
        connect(start(), method=method).score(CHAT)
    assert "export" not in str(caught.value)


def test_a_version_without_tokenize_hides_nothing(connect: Connect, start: Start) -> None:
    server = start("0.4.9", logprobs="processed_logprobs")
    with pytest.raises(RouteNotFoundError, match="--is-embedding") as caught:
        connect(server, tokenizer=server.checkpoint).score(CHAT)
    assert "gateway" not in str(caught.value)


# 95: a router


def test_95_the_engine_is_known_behind_a_router(connect: Connect, start: Start) -> None:
    client = connect(start(owned_by="local"))
    assert client.score(CHAT).provenance.engine == "sglang"
    with pytest.raises(InputError, match="vocabulary"):
        client.score([5, 6, 70_000])


def test_95_a_router_may_refuse_the_ids_of_samples(
    connect: Connect, start: Start, expected: float
) -> None:
    """Its form of the request has one `rid`, as text (sglang-router 0.3.2)."""
    server = start()
    words = b"rid: invalid type: sequence, expected a string at line 1 column 7"
    server.inject(Fault.status(422, body=words), path="/classify", times=1)
    assert connect(server).score(CHAT).value == pytest.approx(expected, abs=CLOSE)
    first, *others = bodies(server, "/classify")
    assert "rid" in first
    assert not any("rid" in body for body in others)
