"""A look at a server: is each step from a conversation to its reward as it should be?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from reward_client.calls import Caller
from reward_client.diagnosis import Diagnosis, Finding
from reward_client.errors import (
    ActivationError,
    AuthenticationError,
    InputError,
    ModelNotFoundError,
    NotARewardError,
    RecipeError,
    ReplicaMismatchError,
    RewardClientError,
    RouteNotFoundError,
    ShapeError,
    TokenizerMismatchError,
    TransportError,
)
from reward_client.heads import StepHead
from reward_client.methods import Pooled
from reward_client.recipes import Recipe, Reference
from reward_client.replicas import Replica, compare
from reward_client.rewards import Reward, TokenizedSample
from reward_client.samples import Conversation, Prompt, parse_sample
from reward_client.server.serving import Serving
from reward_client.server.watch import ServerWatch
from reward_client.tokenizing.local import LocalTokenizer, Proof, is_plain
from reward_client.tokenizing.server import (
    detokenize_call,
    server_ids,
    text_call,
    text_of,
    token_ids,
)

__all__ = ["Doctor", "replica_findings"]

_QUESTION = {"role": "user", "content": "What is 2 + 2?"}
_SAMPLE = Conversation([_QUESTION, {"role": "assistant", "content": "2 + 2 = 4."}])
_SAMPLE_IN_STEPS = Conversation([_QUESTION], steps=["2 + 2 means two and two.", "That makes 4."])

# sigmoid(0) and sigmoid(1): where a sigmoid of a sigmoid lies (reward-hub met it on vLLM 0.13).
_TWICE_SQUASHED = (0.5, 0.7311)
_SHOWN_CHARACTERS = 200

# Which part of the way a failure of the discovery belongs to.
_FAILED_CHECKS: Sequence[tuple[type[RewardClientError], str]] = (
    (TransportError, "reach"),
    (AuthenticationError, "key"),
    (ModelNotFoundError, "model"),
    (RouteNotFoundError, "route"),
    (ActivationError, "activation"),
    (NotARewardError, "head"),
    (ShapeError, "head"),
    (InputError, "head"),
    (RecipeError, "recipe"),
)


class Doctor:
    """Looks at one server.

    Args:
        caller: The way to the server.
        watch: What is known of it.
        method: Scores samples on it.
        identify: Asks who is there.
        keeps_alive: Whether connections can be used again, None where that cannot be seen; blocks.
    """

    def __init__(
        self,
        caller: Caller,
        watch: ServerWatch,
        method: Pooled,
        identify: Callable[[], Awaitable[object]],
        keeps_alive: Callable[[], bool | None],
    ) -> None:
        self._caller = caller
        self._watch = watch
        self._method = method
        self._identify = identify
        self._keeps_alive = keeps_alive
        self._tokens: TokenizedSample | None = None
        self._reward: Reward | None = None

    async def diagnose(self, prompt: Prompt | None) -> Diagnosis:
        """All findings, with `prompt` as the sample, or one of the doctor's own."""
        findings = [finding async for finding in self._findings(prompt)]
        return Diagnosis(
            url=self._caller.url,
            findings=tuple(findings),
            tokens=self._tokens,
            reward=self._reward,
        )

    async def _findings(self, prompt: Prompt | None) -> AsyncIterator[Finding]:
        try:
            await self._identify()
            yield _ok("reach", "The server answers.")
            yield _ok("key", "/v1/models answers: the API key is right, or none is needed.")
            serving = await self._watch.serving()
        except RewardClientError as error:
            yield _failed_discovery(error)
            return
        for finding in _profile_findings(serving):
            yield finding
        if prompt is None:
            prompt = _SAMPLE_IN_STEPS if isinstance(serving.head, StepHead) else _SAMPLE
        try:
            self._tokens = tokens = await self._method.tokenize(prompt)
        except RewardClientError as error:
            yield Finding(check="tokens", verdict="failed", detail=str(error))
            return
        yield _bos(serving, tokens)
        for check in (self._generation_prompt, self._template, self._local_tokenizer):
            yield await check(serving, prompt, tokens)
        yield await self._text_path(serving, tokens)
        yield await self._keep_alive()
        yield await self._sample(prompt)
        async for finding in self._references(serving.recipe):
            yield finding

    async def _generation_prompt(
        self, serving: Serving, prompt: Prompt, tokens: TokenizedSample
    ) -> Finding:
        check = "generation prompt"
        if not isinstance(prompt, Conversation):
            return _not_checked(check, "The sample is no conversation.")
        conversation = serving.rules.with_steps(prompt)
        closed, opened = [
            list(await self._ids(serving, conversation, generation_prompt=wanted))
            for wanted in (False, True)
        ]
        wanted = "with" if serving.rules.generation_prompt else "without"
        if closed == opened:
            return Finding(
                check=check,
                verdict="warning",
                detail="The chat template makes the same tokens with and without it.",
                cure="See in the template whether it always opens another turn after the answer; "
                "a reward model must not see that, unless it was trained so.",
            )
        return _ok(
            check,
            f"Asked {wanted} it; the server's own default would add {len(opened) - len(closed)} "
            "tokens after the answer.",
        )

    async def _template(self, serving: Serving, prompt: Prompt, tokens: TokenizedSample) -> Finding:
        text = await self._text(serving, tokens.token_ids)
        shown = f"{len(tokens.token_ids)} tokens: {_shortened(text)!r}"
        if not isinstance(prompt, Conversation):
            return _ok("template", shown)
        conversation = serving.rules.with_steps(prompt)
        assert isinstance(conversation, Conversation)  # noqa: S101 - steps keep the kind
        contents = [message.get("content") for message in conversation.messages]
        lost = [
            place
            for place, content in enumerate(contents)
            if isinstance(content, str) and content.strip() not in text
        ]
        if lost:
            return Finding(
                check="template",
                verdict="warning",
                detail=f"The text of messages {lost} is not in the prompt. {shown}",
                cure="See whether the chat template drops or rewrites them.",
            )
        return _ok("template", f"Every message is in the prompt. {shown}")

    async def _local_tokenizer(
        self, serving: Serving, prompt: Prompt, tokens: TokenizedSample
    ) -> Finding:
        """The tokenizer of the model's folder, where that lies on this machine."""
        check, root = "local tokenizer", serving.profile.root
        here = root is not None and await asyncio.to_thread(Path(root).is_dir)
        if root is None or not here or not is_plain(prompt):
            return _not_checked(check, "The model's folder is not on this machine.")
        local = LocalTokenizer(root)
        conversation = serving.rules.with_steps(prompt)
        opened = serving.rules.generation_prompt
        try:
            await asyncio.to_thread(local.load)
            assert is_plain(conversation)  # noqa: S101 - steps keep the kind
            mine = local.ids(conversation, generation_prompt=opened)
            theirs = await self._ids(serving, conversation, generation_prompt=opened)
            Proof(local).compare(mine, theirs)
        except TokenizerMismatchError as error:
            return Finding(check=check, verdict="warning", detail=str(error))
        except (ImportError, InputError) as error:
            return _not_checked(check, str(error))
        return _ok(check, f"That of {root} makes the same {len(mine)} tokens as the server.")

    async def _text_path(self, serving: Serving, tokens: TokenizedSample) -> Finding:
        check, model = "text path", serving.profile.model
        text = await self._text(serving, tokens.token_ids)
        plain, special = [
            token_ids(await self._caller.call(text_call(model, text, add_special_tokens=add)))
            for add in (False, True)
        ]
        if plain != list(tokens.token_ids):
            return Finding(
                check=check,
                verdict="warning",
                detail=f"The prompt as text makes {len(plain)} tokens, and other ones than the "
                f"{len(tokens.token_ids)} of the conversation.",
                cure="Score conversations or token IDs, and not their text.",
            )
        added = len(special) - len(plain)
        detail = "The prompt as text makes the same tokens."
        if added:
            detail += f" With special tokens the server would add {added} more: a doubled BOS."
        return _ok(check, detail)

    async def _keep_alive(self) -> Finding:
        kept = await asyncio.to_thread(self._keeps_alive)
        if kept is None:
            return _not_checked("keep-alive", "Connections cannot be looked at from here.")
        if kept:
            return _ok("keep-alive", "Connections can be used again.")
        return Finding(
            check="keep-alive",
            verdict="warning",
            detail="The server closes each connection after one reply: every request pays for a "
            "new one.",
            cure="See whether a proxy before the server does it.",
        )

    async def _sample(self, prompt: Prompt) -> Finding:
        try:
            reward = await self._method.score(prompt)
        except RewardClientError as error:
            return Finding(check="sample", verdict="failed", detail=str(error))
        self._reward = reward
        known = reward.provenance.model_dump(exclude_none=True).items()
        origin = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known)
        return _ok("sample", f"{_numbers(reward)}, from {reward.token_count} tokens; {origin}.")

    async def _references(self, recipe: Recipe | None) -> AsyncIterator[Finding]:
        if recipe is None or not recipe.references:
            known = "no recipe is known" if recipe is None else f"{recipe.name} has none"
            yield _not_checked("reference values", f"There are none to compare with: {known}.")
            return
        for reference in recipe.references:
            yield await self._reference(reference)

    async def _reference(self, reference: Reference) -> Finding:
        check, expected = "reference value", reference.expected
        try:
            reward = await self._method.score(parse_sample(reference.sample))
        except RewardClientError as error:
            return Finding(check=check, verdict="failed", detail=str(error))
        if isinstance(expected, float):
            pairs = [(reward.value, expected)]
        else:
            pairs = list(zip([step.value for step in reward.steps], expected, strict=True))
        off = max(abs(value - wanted) for value, wanted in pairs)
        values = ", ".join(f"{value:.6g}" for value, _ in pairs)
        wanted = ", ".join(f"{value:.6g}" for _, value in pairs)
        detail = f"{values}; published: {wanted} ± {reference.tolerance} ({reference.source})."
        if off <= reference.tolerance:
            return _ok(check, detail)
        return Finding(
            check=check,
            verdict="failed",
            detail=detail,
            cure="The server runs other weights, another chat template or another precision than "
            "the published model.",
        )

    async def _ids(
        self, serving: Serving, prompt: Prompt, *, generation_prompt: bool
    ) -> Sequence[int]:
        profile = serving.profile
        return await server_ids(
            self._caller,
            profile.model,
            profile.version,
            prompt,
            generation_prompt=generation_prompt,
        )

    async def _text(self, serving: Serving, ids: Sequence[int]) -> str:
        return text_of(await self._caller.call(detokenize_call(serving.profile.model, ids)))


def replica_findings(replicas: Sequence[Replica]) -> list[Finding]:
    """Whether the servers give the same rewards as the first of them."""
    first, *others = replicas
    findings: list[Finding] = []
    for other in others:
        try:
            difference = compare(first, other)
        except ReplicaMismatchError as error:
            findings.append(Finding(check="replicas", verdict="failed", detail=str(error)))
            continue
        if difference is None:
            detail = f"{other.profile.url} gives the same tokens and reward as {first.profile.url}."
            findings.append(_ok("replicas", detail))
        else:
            findings.append(Finding(check="replicas", verdict="warning", detail=difference))
    return findings


def _failed_discovery(error: RewardClientError) -> Finding:
    kinds = (check for kind, check in _FAILED_CHECKS if isinstance(error, kind))
    return Finding(check=next(kinds, "server"), verdict="failed", detail=str(error))


def _profile_findings(serving: Serving) -> list[Finding]:
    profile = serving.profile
    return [
        _version(serving),
        _ok("model", f"{profile.model}, loaded from {profile.root or 'where it does not say'}."),
        _recipe(serving),
        _length(serving),
        _ok("route", _route(serving)),
        _ok("head", serving.provenance.head),
        _activation(serving),
    ]


def _version(serving: Serving) -> Finding:
    profile = serving.profile
    if profile.version_known:
        return _ok("version", f"vLLM {profile.version}.")
    return Finding(
        check="version",
        verdict="warning",
        detail=f"vLLM {profile.version or 'of unknown version'} is not in the version table: the "
        "newest way was tried, and the values proved that they are raw.",
        cure="Use a released vLLM, or a newer reward_client.",
    )


def _recipe(serving: Serving) -> Finding:
    if serving.recipe is None:
        return _not_checked("recipe", f"None is known for {serving.profile.root}.")
    return _ok("recipe", f"{serving.recipe.name}, {serving.recipe.digest[:12]}.")


def _length(serving: Serving) -> Finding:
    limit = serving.profile.max_model_len
    trained = serving.recipe.prompt.max_tokens if serving.recipe else None
    if limit is None:
        return Finding(
            check="length limit",
            verdict="warning",
            detail="The server does not say how many tokens it takes.",
        )
    if trained is not None and limit > trained:
        return Finding(
            check="length limit",
            verdict="warning",
            detail=f"The server takes {limit} tokens, and the model was trained on {trained}.",
            cure=f"Start it with --max-model-len {trained}, so that longer samples are refused.",
        )
    return _ok("length limit", f"{limit} tokens.")


def _route(serving: Serving) -> str:
    ask = serving.ask
    sent = [f"task {ask.task}"] if ask.task else []
    sent += [f"{key}: {str(value).lower()}" for key, value in ask.switches.items()]
    asked = f" with {', '.join(sent)}" if sent else ""
    return (
        f"{ask.path}{asked}, sent {ask.sends}: the first way of this version whose answer the head "
        f"can read ({serving.layout.kind}, width {serving.layout.width})."
    )


def _activation(serving: Serving) -> Finding:
    activation, scores = serving.activation, serving.scores
    how = f"{activation.name}, known by the {activation.known_by}."
    low, high = _TWICE_SQUASHED
    scalar = serving.layout.width == 1
    if scalar and all(low <= score <= high for score in scores):
        return Finding(
            check="activation",
            verdict="failed",
            detail=f"{how} But all probes lie in [{low}, {high}], as after a sigmoid of a sigmoid.",
            cure="See whether the model's own code applies one (config.json, a plugin).",
        )
    if scalar and activation.known_by != "caller" and all(0 <= score <= 1 for score in scores):
        return Finding(
            check="activation",
            verdict="warning",
            detail=f"{how} But all {len(scores)} probes lie in [0, 1], as after a sigmoid.",
            cure="Compare a reward with one from the model's own code.",
        )
    if serving.ask.route == "embeddings" and activation.known_by == "task":
        return Finding(
            check="activation",
            verdict="warning",
            detail=f"{how} The head seems to lie in Dense modules of an exported checkpoint, and "
            "nothing proves that the server loaded all of them.",
            cure="Compare a reward with one from the model's own code.",
        )
    if activation.name != "none":
        return Finding(check="activation", verdict="warning", detail=how)
    return _ok("activation", how)


def _bos(serving: Serving, tokens: TokenizedSample) -> Finding:
    bos, count = serving.profile.bos_token_id, tokens.bos_count
    if bos is None:
        return _ok("BOS", "The tokenizer adds none to a text.")
    if count == 1:
        return _ok("BOS", f"The prompt starts with one (ID {bos}).")
    demanded = serving.rules.bos is not None
    if count == 0:
        if demanded:
            return _ok("BOS", "None, as the recipe or bos=False demands.")
        return Finding(
            check="BOS",
            verdict="warning",
            detail=f"The tokenizer has a BOS (ID {bos}), and the chat template writes none.",
            cure="If the model was trained with one, say bos=True.",
        )
    return Finding(
        check="BOS",
        verdict="failed",
        detail=f"The prompt starts with {count} of them (ID {bos}).",
        cure="Correct the chat template: a model sees one in training.",
    )


def _ok(check: str, detail: str) -> Finding:
    return Finding(check=check, verdict="ok", detail=detail)


def _not_checked(check: str, detail: str) -> Finding:
    return Finding(check=check, verdict="not checked", detail=detail)


def _numbers(reward: Reward) -> str:
    parts = [] if reward.scalar is None else [f"reward {reward.value:.6g}"]
    parts += [f"{name} {value:.6g}" for name, value in reward.objectives.items()]
    if reward.steps:
        parts.append(f"steps {[round(step.value, 4) for step in reward.steps]}")
    return ", ".join(parts)


def _shortened(text: str) -> str:
    half = _SHOWN_CHARACTERS // 2
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:half]} … {text[-half:]}"
