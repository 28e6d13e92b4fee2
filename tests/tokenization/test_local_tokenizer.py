"""Token IDs made on the client: the server's, proven, or an error that shows where they differ."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reward_client.testing
from reward_client import (
    BadRequestError,
    Conversation,
    FormattedText,
    InputError,
    ServerError,
    ServerProfile,
    TemplateUnavailableError,
    TokenizerMismatchError,
)
from reward_client._base.samples import Prompt, parse_sample
from reward_client._base.token_ids import TokenIds
from reward_client._client.config import Config
from reward_client._protocols.http import Request, Response
from reward_client._tokenization import (
    LocalTokenizer,
    PromptRules,
    Tokenized,
    Tokenizer,
    TokenizerChoice,
)
from reward_client.testing._model.chat_tokenizer import ChatTokenizer

from ..support.fake_vllm import FakeVllm

MODEL = Path(reward_client.testing.__file__).parent / "_model" / "checkpoint"
FIRST, EVERY = 8, 64  # how many are compared at first, and each how many-th later


class Server(FakeVllm):
    """The /tokenize of a server with the model's own tokenizer, where a session would stand."""

    url = "http://stub"
    lost_at = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.alter: Callable[[list[int]], list[int]] = lambda ids: ids
        self._tokenizer = ChatTokenizer(MODEL)

    def mark_lost(self, began: float | None = None) -> None:
        raise AssertionError

    async def send(self, request: Request) -> Response:
        assert (request.method, request.path) == ("POST", "/tokenize")
        body = dict(request.body or {})
        self.requests.append((request.path, body))
        await asyncio.sleep(0)
        _, payload = self.true_answer(request.path, body)
        return Response(payload, "POST http://stub/tokenize", "rc-1")

    def ids(self, body: Mapping[str, Any]) -> list[int]:
        if any("tool_calls" in message for message in body.get("messages", ())):
            return [7]  # as from a template that shows them
        return self.alter(self.true_ids(body))

    def true_ids(self, body: Mapping[str, Any]) -> list[int]:
        if "prompt" in body:
            return self._tokenizer.encode(
                body["prompt"], add_special_tokens=body["add_special_tokens"]
            )
        try:
            text = self._tokenizer.render(
                body["messages"],
                add_generation_prompt=body["add_generation_prompt"],
                tools=body.get("tools"),
                variables=body.get("chat_template_kwargs"),
            )
        except ValueError as error:
            raise BadRequestError(str(error), status=400) from error
        return self._tokenizer.encode(text, add_special_tokens=False)


def profile(**changes: Any) -> ServerProfile:
    known = ServerProfile(
        url="http://stub",
        version="0.32.0",
        version_known=True,
        model="judge",
        root=str(MODEL),
        tokenizer_root=str(MODEL),
        max_model_len=1024,
        route="pooling",
        sends="ids",
        task="classify",
        switches={"use_activation": False},
        shape="vector",
        width=1,
        activation="none",
        activation_known_by="request",
        bos_token_id=1,
        recipe=None,
    )
    return known.model_copy(update=changes)


PROFILE = profile()


class Client:
    """A `Tokenizer` on an event loop of its own, from prompts to token IDs."""

    def __init__(self, choice: TokenizerChoice, server: Server, **options: Any) -> None:
        self.server = server
        self.rules = PromptRules(**options)
        self._tokenizer = Tokenizer(choice, "raise")
        self._runner = asyncio.Runner()

    def ids(self, sample: Any, of: ServerProfile = PROFILE) -> tuple[int, ...]:
        return tuple(self._runner.run(self._tokenized(parse_sample(sample), of)).ids)

    def together(self, samples: Sequence[Any]) -> list[Tokenized | BaseException]:
        async def main() -> list[Tokenized | BaseException]:
            work = (self._tokenized(parse_sample(sample), PROFILE) for sample in samples)
            return await asyncio.gather(*work, return_exceptions=True)

        return self._runner.run(main())

    async def _tokenized(self, prompt: Prompt, of: ServerProfile) -> Tokenized:
        rules = replace(self.rules, max_model_len=of.max_model_len)
        (made,) = await self._tokenizer.tokenize_locally(of, rules, [prompt])
        if isinstance(made, InputError):
            raise made
        return made or await self._tokenizer.tokenize(self.server, of, rules, prompt)

    def close(self) -> None:
        self._runner.close()


Connect = Callable[..., Client]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    clients: list[Client] = []

    def connected(choice: TokenizerChoice = "local", **options: Any) -> Client:
        clients.append(Client(choice, server, **options))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


def chat(answer: str, *, system: str | None = None) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system is not None else []
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": answer}]
    return [*first, *turns]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "reward_client"]


# The same as the server's

MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=40)}
)


@pytest.mark.parametrize("opened", [False, True])
@given(messages=st.lists(MESSAGE, min_size=1, max_size=5))
def test_the_same_ids_as_the_servers(messages: list[dict[str, str]], opened: bool) -> None:
    server = Server()
    by_server = Client("server", server, generation_prompt=opened)
    by_client = Client(LOADED, server, generation_prompt=opened)
    # Where they differed, this would be a TokenizerMismatchError.
    assert by_client.ids(messages) == by_server.ids(messages)
    assert server.requests[0] == server.requests[1]
    by_server.close()
    by_client.close()


LOADED = LocalTokenizer(MODEL)


@pytest.mark.parametrize(
    "sample",
    [
        chat("4"),
        chat("<think>4</think> literally"),
        chat("¿Qué? 東京 🎉 \n\n  x  ", system=""),
        Conversation(chat("4"), chat_template_kwargs={"enable_thinking": False}),
        FormattedText("<|bos|><|user|>2+2?<|end|>"),
        FormattedText(" 4 "),
    ],
)
@pytest.mark.parametrize("choice", ["local", "auto", MODEL, str(MODEL), LOADED])
def test_each_way_to_name_the_tokenizer(
    choice: TokenizerChoice, sample: Any, connect: Connect, server: Server
) -> None:
    assert connect(choice).ids(sample) == connect("server").ids(sample)
    # The template is asked without a switch, and with another value of it.
    is_switched = isinstance(sample, Conversation) and bool(sample.chat_template_kwargs)
    assert len(server.requests) == (6 if is_switched else 2)


def test_no_more_are_compared_at_once_than_prove_it(connect: Connect, server: Server) -> None:
    """The others wait for them: a /tokenize for each of thousands that begin would take long."""
    samples = [chat(str(number)) for number in range(EVERY - 1)]
    found = connect().together(samples)
    assert len(server.requests) == FIRST
    expected = [connect("server").ids(sample) for sample in samples]
    assert [tuple(made.ids) for made in found if isinstance(made, Tokenized)] == expected


def test_what_fails_to_be_compared_proves_nothing(connect: Connect, server: Server) -> None:
    """Those that wait take its place."""
    failures = iter(range(5))

    def failing(ids: list[int]) -> list[int]:
        if next(failures, None) is not None:
            raise ServerError("busy")
        return ids

    server.alter = failing
    found = connect().together([chat(str(number)) for number in range(EVERY - 1)])
    assert sum(isinstance(each, ServerError) for each in found) == 5
    assert sum(isinstance(each, Tokenized) for each in found) == EVERY - 1 - 5
    assert len(server.requests) == FIRST + 5


def test_the_first_samples_are_compared_and_later_each_64th(
    connect: Connect, server: Server
) -> None:
    client = connect()
    asked: list[int] = []
    for number in range(3 * EVERY):
        before = len(server.requests)
        client.ids(chat(str(number)))
        asked += [number] * (len(server.requests) - before)
    assert asked == [*range(FIRST), EVERY - 1, 2 * EVERY - 1, 3 * EVERY - 1]


def test_each_form_of_prompt_is_proven_by_itself(connect: Connect, server: Server) -> None:
    """A text says nothing of the template, and a chat nothing of its system message."""
    client = connect()
    forms: list[Callable[[str], Any]] = [
        FormattedText,
        chat,
        lambda text: chat(text, system="Judge."),
        lambda text: Conversation(chat(text), chat_template_kwargs={"think": True}),
    ]
    for form in forms:
        before = len(server.requests)
        for number in range(EVERY - 1):
            client.ids(form(str(number)))
        switches = 1 if form is forms[-1] else 0
        assert len(server.requests) == before + FIRST + 2 * switches


def test_another_chat_template_is_seen_after_texts_agreed(connect: Connect, tmp_path: Path) -> None:
    """Its files are the model's, and its template is not the one that the server was given."""
    folder = altered(tmp_path, chat_template="{{ messages[-1]['content'] }}")
    client = connect(folder)
    for number in range(2 * FIRST):
        client.ids(FormattedText(f"text {number}"))
    with pytest.raises(TokenizerMismatchError):
        client.ids(chat("4"))


def altered(tmp_path: Path, **changes: Any) -> Path:
    """The model's tokenizer with other settings; None removes one."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    shutil.copy(MODEL / "tokenizer.json", folder)
    settings_of: dict[str, Any] = json.loads((MODEL / "tokenizer_config.json").read_text())
    settings_of |= changes
    kept = {name: value for name, value in settings_of.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept))
    return folder


def text_ids(text: str) -> tuple[int, ...]:
    return tuple(LOADED.ids(FormattedText(text), generation_prompt=False))


def test_template_arguments_reach_the_template(connect: Connect, tmp_path: Path) -> None:
    template = "{{ messages[-1]['content'] }} {{ date }} {{ add_generation_prompt }}"
    client = connect(altered(tmp_path, chat_template=template), generation_prompt=True)

    def shown(body: Mapping[str, Any]) -> list[int]:
        date = body.get("chat_template_kwargs", {}).get("date", "")
        return list(text_ids(f"4 {date} True"))

    client.server.ids = shown  # type: ignore[method-assign]
    given_prompt = Conversation(chat("4"), chat_template_kwargs={"date": "today"})
    assert client.ids(given_prompt) == text_ids("4 today True")


PREPARED = [
    Conversation(chat("4"), tools=[{"type": "function", "function": {"name": "add"}}]),
    Conversation([{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]),
    Conversation([{"role": "user", "content": "2+2?", "name": "Ann"}]),
    Conversation([{"role": "assistant", "tool_calls": [{"function": {"name": "add"}}]}]),
]


@pytest.mark.parametrize("prompt", PREPARED)
def test_what_the_server_prepares_itself_is_left_to_it(
    prompt: Conversation, connect: Connect, server: Server
) -> None:
    client = connect(MODEL / "no such folder")
    for _ in range(EVERY):
        assert client.ids(prompt)
    # Once the server is asked whether its template shows the tools, the calls or the name.
    parts = bool(prompt.tools) + len(prompt.messages[-1].keys() & {"tool_calls", "name"})
    assert len(server.requests) == EVERY + parts


def test_token_ids_are_nobodys_to_make(connect: Connect, server: Server) -> None:
    assert connect(MODEL / "no such folder").ids([5, 6]) == (5, 6)
    assert server.requests == []


# Other than the server's


def later(ids: list[int]) -> list[int]:
    return [*ids[:4], 30, *ids[5:]]


def test_a_difference_is_shown_where_it_begins(connect: Connect, server: Server) -> None:
    ids = connect("server").ids(chat("4"))
    server.alter = later
    with pytest.raises(TokenizerMismatchError) as caught:
        connect().ids(chat("4"))
    message = str(caught.value)
    here, there = (LOADED.text(row[3:10]) for row in (list(ids), later(list(ids))))
    assert "first at position 4" in message
    assert f"{here!r} here, {there!r} there" in message
    assert here != there
    assert str(MODEL) in message
    assert 'tokenizer="server"' in message
    assert "may have been scored" not in message


@pytest.mark.parametrize(
    ("alter", "position"),
    [
        (lambda ids: ids[:-1], 9),
        (lambda ids: [*ids, 5], 10),
        (lambda ids: ids[1:], 0),
        (lambda ids: [*ids[:9], 2**31 - 1], 9),  # an ID that the local vocabulary lacks
    ],
)
def test_where_ids_differ(
    alter: Callable[[list[int]], list[int]], position: int, connect: Connect, server: Server
) -> None:
    assert len(connect("server").ids(chat("4"))) == 10
    server.alter = alter
    with pytest.raises(TokenizerMismatchError, match=f"first at position {position}:"):
        connect().ids(chat("4"))


def test_a_long_prompt_is_not_shown(connect: Connect, server: Server) -> None:
    server.alter = lambda ids: [*ids[:-2], 30, 31]
    with pytest.raises(TokenizerMismatchError) as caught:
        connect().ids(chat("the secret " * 100))
    assert str(caught.value).count("secret") <= 4


@pytest.mark.parametrize("choice", ["local", MODEL, LOADED])
def test_a_named_tokenizer_that_differs_is_refused_for_good(
    choice: TokenizerChoice, connect: Connect, server: Server
) -> None:
    client = connect(choice)
    server.alter = later
    errors: list[TokenizerMismatchError] = []
    for _ in range(3):
        with pytest.raises(TokenizerMismatchError) as caught:
            client.ids(chat("4"))
        errors.append(caught.value)
    assert len(server.requests) == 1
    assert len(set(map(str, errors))) == 1
    assert len(set(map(id, errors))) == 3
    assert client.ids([5, 6]) == (5, 6)


def test_auto_falls_back_to_the_server_with_one_warning(
    connect: Connect, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect("auto")
    server.alter = later
    samples = [chat(f"the secret {number}") for number in range(30)]
    found = client.together(samples)
    expected = [connect("server").ids(sample) for sample in samples]
    assert [tuple(made.ids) for made in found if isinstance(made, Tokenized)] == expected
    assert client.ids(samples[0]) == expected[0]
    assert len(warnings_of(caplog)) == 1
    assert "TokenizerMismatchError" in warnings_of(caplog)[0]
    assert "secret" not in caplog.text


def test_auto_falls_back_on_a_form_that_is_new(
    connect: Connect, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of that form has been scored yet, and what was scored of others agreed."""
    client = connect("auto")
    for number in range(FIRST):
        client.ids(FormattedText(f"text {number}"))
    server.alter = later
    assert client.ids(chat("4")) == connect("server").ids(chat("4"))
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("choice", ["auto", "local"])
def test_a_difference_that_comes_later_is_an_error(
    choice: str, connect: Connect, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Samples since the last comparison may have been scored with wrong token IDs: that is said."""
    client = connect(choice)
    for number in range(FIRST):
        client.ids(chat(str(number)))
    server.alter = later
    for number in range(FIRST, EVERY - 1):
        client.ids(chat(str(number)))
    with pytest.raises(TokenizerMismatchError, match="may have been scored with wrong token IDs"):
        client.ids(chat("4"))
    if choice == "auto":
        assert client.ids(chat("4")) == connect("server").ids(chat("4"))
    else:
        with pytest.raises(TokenizerMismatchError):
            client.ids(chat("4"))
    assert warnings_of(caplog) == []


def test_another_server_is_proven_anew(connect: Connect, server: Server) -> None:
    client = connect("auto")
    for number in range(2 * FIRST):
        client.ids(chat(str(number)))
    assert len(server.requests) == FIRST
    server.alter = later
    another = profile(version="0.31.0")
    assert client.ids(chat("4"), another) == connect("server").ids(chat("4"))
    # And a third: what failed there is no failure here.
    server.alter = lambda ids: ids
    server.requests.clear()
    third = profile(version="0.30.0")
    for number in range(2 * FIRST):
        client.ids(chat(str(number)), third)
    assert len(server.requests) == FIRST


def test_local_follows_the_servers_model(connect: Connect, tmp_path: Path) -> None:
    client = connect()
    client.ids(chat("4"))
    with pytest.raises(InputError, match="nowhere"):
        client.ids(chat("4"), profile(tokenizer_root=str(tmp_path / "nowhere")))


# Tokenizers that cannot be had


def without_root(tmp_path: Path) -> tuple[TokenizerChoice, ServerProfile]:
    return "local", profile(tokenizer_root=None)


def without_folder(tmp_path: Path) -> tuple[TokenizerChoice, ServerProfile]:
    return tmp_path / "nowhere", PROFILE


def without_files(tmp_path: Path) -> tuple[TokenizerChoice, ServerProfile]:
    return "local", profile(tokenizer_root=str(tmp_path))


CANNOT_BE_HAD = [
    (without_root, "hides the source of its model"),
    (without_folder, "nowhere.*there is no such folder here"),
    (without_files, "Cannot load the tokenizer"),
]


@pytest.mark.parametrize(("case", "hint"), CANNOT_BE_HAD)
def test_no_tokenizer(
    case: Any, hint: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once for a server: with a hub that does not answer, each try takes long."""
    choice, of = case(tmp_path)
    loads = count_loads(monkeypatch)
    client = connect(choice)
    for _ in range(3):
        with pytest.raises(InputError, match=hint):
            client.ids(chat("4"), of)
    assert loads == [1]
    assert client.server.requests == []


@pytest.mark.parametrize("root", [None, "nowhere", "."])
def test_auto_does_without(
    root: str | None,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loads = count_loads(monkeypatch)
    of = profile(tokenizer_root=root and str(tmp_path / root))
    client = connect("auto")
    for _ in range(3):
        assert client.ids(chat("4"), of) == connect("server").ids(chat("4"), of)
    assert loads == [1]
    assert len(warnings_of(caplog)) == 1


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    loads = [0]
    load = LocalTokenizer.load

    def counted(self: LocalTokenizer) -> None:
        loads[0] += 1
        load(self)

    monkeypatch.setattr(LocalTokenizer, "load", counted)
    return loads


def test_without_transformers(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"reward-client\[local\]"):
        connect().ids(chat("4"))
    assert connect("auto").ids(chat("4")) == connect("server").ids(chat("4"))
    assert "reward-client[local]" in warnings_of(caplog)[0]


@pytest.mark.parametrize(
    "template", [None, "{{ raise_exception('No roles here.') }}", "{{ 1 / 0 }}"]
)
def test_a_conversation_that_the_local_template_does_not_take(
    template: str | None, connect: Connect, tmp_path: Path
) -> None:
    folder = altered(tmp_path, chat_template=template)
    client = connect(folder)
    text = FormattedText("<|bos|>4")
    assert client.ids(text) == connect("server").ids(text)
    with pytest.raises(InputError, match="template"):
        client.ids(chat("4"))
    automatic = connect("auto")
    assert automatic.ids(chat("4"), profile(tokenizer_root=str(folder))) == connect("server").ids(
        chat("4")
    )


def test_a_conversation_that_no_template_takes(connect: Connect) -> None:
    stranger = [{"role": "stranger", "content": "4"}]
    with pytest.raises(InputError, match="Unknown role: stranger"):
        connect().ids(stranger)
    with pytest.raises(BadRequestError, match="Unknown role: stranger"):
        connect("auto").ids(stranger)


def test_a_tokenizer_without_a_template(connect: Connect, tmp_path: Path) -> None:
    client = connect(altered(tmp_path, chat_template=None))
    with pytest.raises(TemplateUnavailableError, match="has no chat template") as caught:
        client.ids(chat("4"))
    assert caught.value.fault == "server"
    assert client.ids(FormattedText("4")) == text_ids("4")


def test_arguments_of_the_call_itself_are_no_template_arguments(connect: Connect) -> None:
    for name in ("tokenize", "conversation"):
        prompt = Conversation(chat("4"), chat_template_kwargs={name: True})
        with pytest.raises(InputError, match=name):
            connect().ids(prompt)


@pytest.mark.parametrize("source", ["", Path()])
def test_a_source_that_is_none(source: Any, connect: Connect) -> None:
    with pytest.raises(InputError):
        connect(LocalTokenizer(source)).ids(chat("4"))


# What comes with a tokenizer

CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import PreTrainedTokenizerFast
class Custom(PreTrainedTokenizerFast):
    pass
"""

LOAD = """
import sys
from reward_client import InputError
from reward_client.tokenizing import LocalTokenizer
trusted, *folders = sys.argv[1:]
for folder in folders:
    try:
        LocalTokenizer(folder, trust_remote_code=trusted == "True").load()
    except InputError as error:
        print(error)
"""
CLASSES = {"known": "PreTrainedTokenizerFast", "own": "Custom"}


@pytest.mark.parametrize("trusted", [False, True])
def test_code_of_a_tokenizer_runs_only_where_it_is_trusted(trusted: bool, tmp_path: Path) -> None:
    """In a process of its own: transformers keeps such code in a cache and in sys.modules."""
    folders = {}
    for kind, name in CLASSES.items():
        auto_map = {"AutoTokenizer": [None, f"{kind}.Custom"]}
        (tmp_path / kind).mkdir()
        folders[kind] = altered(tmp_path / kind, tokenizer_class=name, auto_map=auto_map)
        (folders[kind] / f"{kind}.py").write_text(CODE.format(marker=str(tmp_path / f"{kind} ran")))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(trusted), *map(str, folders.values())],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        cwd=Path(reward_client.__file__).parents[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    for kind in CLASSES:
        assert (tmp_path / f"{kind} ran").exists() == trusted
    if trusted:
        assert done.stdout == ""


def test_a_tokenizer_that_says_to_truncate_does_not(connect: Connect, tmp_path: Path) -> None:
    """Nor to pad; and many threads may use it at a time."""
    folder = altered(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 5,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 2000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|pad|>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = LocalTokenizer(folder)
    tokenizer.load()
    # Switching it off later, under another thread's feet, is "Already borrowed" in transformers 4.
    assert tokenizer._tokenizer.backend_tokenizer.truncation is None
    assert tokenizer._tokenizer.backend_tokenizer.padding is None
    sample = Conversation(chat("one two three " * 50))
    expected = connect("server").ids(sample)
    assert 100 < len(expected) < 2000
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(tokenizer.ids, sample, generation_prompt=False) for _ in range(64)]
        assert all(done.result() == expected for done in work)


def test_a_tokenizer_in_python(tmp_path: Path) -> None:
    """Some have no backend of the package tokenizers."""
    from transformers import ByT5Tokenizer

    ByT5Tokenizer().save_pretrained(tmp_path)
    tokenizer = LocalTokenizer(tmp_path)
    tokenizer.load()
    text = "2 + 2 = 4, ¿no?"
    ids = tokenizer.ids(FormattedText(text), generation_prompt=False)
    assert list(ids) == [byte + 3 for byte in text.encode()]  # after three special tokens


def test_it_pickles_as_where_it_is_from() -> None:
    """To the workers of Ray and multiprocessing, which load it themselves."""
    tokenizer = LocalTokenizer(MODEL, trust_remote_code=True)
    before = pickle.dumps(tokenizer)
    tokenizer.load()
    assert pickle.dumps(tokenizer) == before
    twin = pickle.loads(before)
    assert (twin.source, twin.trust_remote_code) == (str(MODEL), True)
    twin.load()
    assert twin.ids(FormattedText("4"), generation_prompt=False) == tokenizer.ids(
        FormattedText("4"), generation_prompt=False
    )
    assert repr(tokenizer) == f"LocalTokenizer({str(MODEL)!r})"
    config = pickle.loads(pickle.dumps(Config(base_url="http://host", tokenizer=tokenizer)))
    assert config.tokenizer.source == str(MODEL)


# Too long


def too_long(choice: TokenizerChoice, sample: Any, limit: int, server: Server) -> Tokenized:
    tokenizer = Tokenizer(choice, "drop_turns")
    rules = PromptRules(bos_token_id=1, append=(7,), max_model_len=limit)
    return asyncio.run(tokenizer.tokenize(server, profile(), rules, parse_sample(sample)))


@pytest.mark.parametrize("choice", ["server", "local"])
def test_old_turns_go_until_the_rest_fits(choice: str, server: Server) -> None:
    turns = [turn for number in range(20) for turn in chat(str(number))]
    whole = too_long(choice, turns, 1024, server)
    assert not whole.truncated
    for limit in (len(whole.ids) - 1, len(whole.ids) // 2, 20):
        server.requests.clear()
        kept = too_long(choice, turns, limit, server)
        assert kept.truncated
        assert len(kept.ids) <= limit < len(kept.ids) + 12  # an exchange has 9 to 12
        assert kept.ids[-9:] == whole.ids[-9:]
        assert kept.ids[-1] == 7
        assert kept.bos_count == 1
        assert kept.max_model_len == limit
        assert len(server.requests) <= 7
        assert kept.fits


@pytest.mark.parametrize(
    "sample", [chat("one two three " * 50), FormattedText("4" * 100), [5] * 100]
)
def test_what_nothing_can_be_dropped_from_stays_too_long(sample: Any, server: Server) -> None:
    kept = too_long("server", sample, 50, server)
    assert not kept.truncated
    assert not kept.fits
    assert f"{len(kept.ids)} tokens, but the server" in str(kept.too_long("--max-model-len"))


def test_a_limit_that_nobody_names_is_none(server: Server) -> None:
    tokenizer = Tokenizer("server", "drop_turns")
    ids = TokenIds.of([5] * 10_000)
    kept = asyncio.run(tokenizer.tokenize(server, profile(), PromptRules(), ids))
    assert len(kept.ids) == 10_000
    assert kept.fits
