"""The examination of one server, check by check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

from reward_client._base.results import Reward
from reward_client._base.samples import Prompt, parse_sample
from reward_client._doctor import reward_checks, server_checks
from reward_client._doctor.address_check import one_server
from reward_client._doctor.error_findings import (
    discovery_finding,
    error_finding,
    identity_findings,
    tokens_finding,
)
from reward_client._doctor.report import (
    KEY_FITS,
    Check,
    Diagnosis,
    Examination,
    Finding,
    not_checked,
    ok,
    reached,
    warning,
)
from reward_client._doctor.token_checks import TokenChecks, built_in
from reward_client._protocols.http import Transport
from reward_client._replicas.comparison import Fingerprint
from reward_client._replicas.monitor import ServerMonitor
from reward_client._scoring.base import Scorer
from reward_client._server.identity import Identity, identify
from reward_client._server.state import DiscoveryOptions, ServerState
from reward_client._server.texts import ServerTexts, server_texts
from reward_client._tokenization import PromptRules
from reward_client.errors import ServerUnreachableError
from reward_client.recipes import PromptTable, Recipe, Reference

T = TypeVar("T")
_NamedCheck = tuple[Check, Callable[[], Awaitable[Finding]]]


class Doctor:
    """Examines one server, once. An error in a check becomes a finding; later checks still run.

    Args:
        transport: The connection to the server.
        monitor: The discovery of the server.
        scorer: The scorer of samples on it.
        options: The caller's options for the discovery.
        keeps_alive: Returns True if connections are reusable, None if that cannot be observed.
    """

    def __init__(
        self,
        transport: Transport,
        monitor: ServerMonitor,
        scorer: Scorer,
        options: DiscoveryOptions,
        keeps_alive: Callable[[], Awaitable[bool | None]],
    ) -> None:
        self._transport = transport
        self._monitor = monitor
        self._scorer = scorer
        self._options = options
        self._keeps_alive = keeps_alive
        self._state: ServerState | None = None
        self._problem: Finding | None = None
        self._token_checks: TokenChecks | None = None
        self._prompt: Prompt | None = None
        self._reward: Reward | None = None

    async def examine(self, prompt: Prompt | None) -> Examination:
        """Run all checks with this sample, or with the built-in sample for None."""
        findings = [finding async for finding in self._findings(prompt)]
        state, reward = self._state, self._reward
        tokens = self._token_checks.tokens if self._token_checks is not None else None
        diagnosis = Diagnosis(
            url=self._transport.url,
            findings=tuple(findings),
            profile=state.profile if state is not None else None,
            tokens=tokens,
            reward=reward,
        )
        if state is None or tokens is None or reward is None:
            return Examination(diagnosis, None)
        fingerprint = Fingerprint(state.profile, tokens, reward, state.template, state.rows)
        return Examination(diagnosis, fingerprint)

    async def _findings(self, prompt: Prompt | None) -> AsyncIterator[Finding]:
        identity = await _outcome(identify(self._transport, self._options.model))
        if isinstance(identity, Exception):
            for finding in identity_findings(identity, self._transport.proxy):
                yield finding
            return
        yield reached(self._transport.proxy)
        yield KEY_FITS
        state = await _outcome(self._monitor.state())
        if isinstance(state, Exception):
            for finding in self._of_undiscovered(identity, state):
                yield finding
            if isinstance(state, ServerUnreachableError):
                return
        else:
            self._state, identity = state, state.identity
            for finding in self._of_server(state):
                yield finding
        async for finding in self._of_sample(identity, prompt):
            yield finding

    def _of_server(self, state: ServerState) -> Iterator[Finding]:
        identity, recipe = state.identity, state.recipe
        yield server_checks.version(identity, discovered=True)
        yield server_checks.model(identity)
        yield server_checks.recipe(recipe, identity, self._options)
        yield server_checks.length_limit(state.max_model_len, recipe, identity.engine)
        yield server_checks.route(state, self._options.route)
        yield server_checks.head(state)
        yield server_checks.activation(state)
        if state.offset is not None:
            yield server_checks.offset(state.engine)
        if state.template.day is not None:
            yield server_checks.date(state.template)

    def _of_undiscovered(self, identity: Identity, error: Exception) -> Iterator[Finding]:
        recipe = self._recipe(identity)
        named = recipe is not None or self._options.head is not None
        hint = identity.engine.range_of(identity.version).hint
        self._problem = problem = discovery_finding(error, head_named=named, hint=hint)
        known = (
            server_checks.version(identity, discovered=False),
            server_checks.model(identity),
            server_checks.recipe(recipe, identity, self._options),
            server_checks.length_limit(identity.max_model_len, recipe, identity.engine),
        )
        yield from (finding for finding in known if finding.check != problem.check)
        yield problem

    async def _of_sample(self, identity: Identity, prompt: Prompt | None) -> AsyncIterator[Finding]:
        """Follow a sample to its reward until a step fails."""
        checks: list[_NamedCheck] = [("keep-alive", self._keep_alive), ("sample", self._sample)]
        tokenized = await _outcome(self._tokenized(identity, prompt))
        if isinstance(tokenized, Exception):
            problem = tokens_finding(tokenized)
            if self._problem is None or self._problem.check != problem.check:
                yield problem
            if isinstance(tokenized, ServerUnreachableError):
                return
        elif tokenized is None:
            yield not_checked("tokens", "The tokenizer on this machine makes all token IDs.")
        else:
            for finding in tokenized.tokenized():
                yield finding
            checks = [
                ("generation prompt", tokenized.generation_prompt),
                ("template", tokenized.template),
                ("text path", tokenized.text_path),
                ("local tokenizer", tokenized.local_tokenizer),
                *checks,
            ]
        if self._state is not None:
            checks.append(("one server", partial(self._one_server, self._state)))
            checks += self._reference_checks(self._state)
        for name, check in checks:
            found = await _outcome(check())
            yield error_finding(name, found) if isinstance(found, Exception) else found
            if isinstance(found, ServerUnreachableError):
                return

    async def _tokenized(self, identity: Identity, given: Prompt | None) -> TokenChecks | None:
        """Tokenize the sample; None if the server makes no token IDs, but this machine does."""
        rules = self._state.rules if self._state is not None else await self._rules(identity)
        prompt = built_in(rules) if given is None else given
        if rules.server_tokenizes or self._options.local_tokenizer(identity) is None:
            self._token_checks = await TokenChecks.begin(
                self._transport, identity, rules, prompt, is_callers=given is not None
            )
        self._prompt = prompt
        return self._token_checks

    async def _rules(self, identity: Identity) -> PromptRules:
        """Return the rules of prompts for a server without a discovered state."""
        recipe, options = self._recipe(identity), self._options
        table = recipe.prompt if recipe is not None else PromptTable()
        texts = await server_texts(self._transport, identity.served)
        bos = (await texts.probe())[1] if isinstance(texts, ServerTexts) else None
        return PromptRules(
            generation_prompt=table.generation_prompt,
            bos=table.bos if options.bos is None else options.bos,
            bos_token_id=bos,
            append=table.append_tokens,
            max_model_len=identity.max_model_len,
        )

    def _recipe(self, identity: Identity) -> Recipe | None:
        if self._options.recipe != "auto":
            return self._options.recipe
        return identity.recipe

    async def _keep_alive(self) -> Finding:
        kept = await self._keeps_alive()
        if kept is None:
            return not_checked("keep-alive", "The client cannot observe these connections.")
        if kept:
            return ok("keep-alive", "The server keeps connections open between requests.")
        return warning(
            "keep-alive",
            "The server closes each connection after one response, so that every request opens a "
            "new one.",
            "Check whether a proxy in front of the server closes them.",
        )

    async def _sample(self) -> Finding:
        if self._state is None or self._prompt is None:
            return not_checked("sample", "It cannot be scored, as reported above.")
        if self._scorer.compares:
            return not_checked("sample", "This judge compares two answers: use rank().")
        self._reward = await self._scorer.score_one(self._prompt)
        return reward_checks.sample(self._reward)

    async def _one_server(self, state: ServerState) -> Finding:
        if self._reward is None and not self._scorer.compares:
            return not_checked("one server", "No sample can be scored, as reported above.")
        return await one_server(self._transport, state)

    def _reference_checks(self, state: ServerState) -> list[_NamedCheck]:
        references = state.recipe.references if state.recipe is not None else ()
        if server_checks.is_proven(state):
            further = [reference for reference in references if reference.token_ids is None]
            return [
                ("reference value", partial(self._proven, state)),
                *(("reference value", partial(self._reference, known)) for known in further),
            ]
        if references:
            return [("reference value", partial(self._reference, known)) for known in references]
        return [("reference value", self._no_reference)]

    async def _proven(self, state: ServerState) -> Finding:
        return server_checks.references(state)

    async def _reference(self, reference: Reference) -> Finding:
        reward = await self._scorer.score_one(parse_sample(reference.sample))
        return reward_checks.reference(reference, reward)

    async def _no_reference(self) -> Finding:
        return not_checked("reference value", "No published value is known for this model.")


async def _outcome(check: Awaitable[T]) -> T | Exception:
    try:
        return await check
    except Exception as error:  # noqa: BLE001 - every error becomes a finding
        return error
