"""The order in which a server is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

from reward_client._base.results import Reward
from reward_client._base.samples import Prompt, parse_sample
from reward_client._doctor import reward_checks as scores
from reward_client._doctor import server_checks as profile
from reward_client._doctor.error_findings import (
    discovery_failure,
    failure,
    first_failures,
    tokens_failure,
)
from reward_client._doctor.findings import KEY_FITS, REACHED, not_checked, ok, warning
from reward_client._doctor.report import Check, Diagnosis, Finding
from reward_client._doctor.token_checks import ServerTokenizer, TokenChecks
from reward_client._protocols.http import Transport
from reward_client._replicas.monitor import ServerMonitor
from reward_client._scoring.base import Scorer
from reward_client._server.identity import Identity, identify
from reward_client._server.probes import tokenized_probes
from reward_client._server.state import DiscoveryOptions, ServerState
from reward_client._tokenization import PromptRules
from reward_client.errors import ServerUnreachableError
from reward_client.recipes import PromptTable, Recipe, Reference, find_recipe

T = TypeVar("T")
Look = tuple[Check, Callable[[], Awaitable[Finding]]]


class Doctor:
    """Looks at one server, once.

    Whatever a check meets becomes a finding, and the next ones go on as far as they can.

    Args:
        transport: The way to the server.
        watch: What is known of it.
        method: Scores samples on it.
        options: What its caller said about it.
        keeps_alive: Whether connections can be used again, None where that cannot be seen.
    """

    def __init__(
        self,
        transport: Transport,
        watch: ServerMonitor,
        method: Scorer,
        options: DiscoveryOptions,
        keeps_alive: Callable[[], Awaitable[bool | None]],
    ) -> None:
        self._caller = transport
        self._watch = watch
        self._method = method
        self._wishes = options
        self._keeps_alive = keeps_alive
        self._serving: ServerState | None = None
        self._problem: Finding | None = None
        self._checks: TokenChecks | None = None
        self._reward: Reward | None = None

    async def diagnose(self, prompt: Prompt | None) -> Diagnosis:
        """All findings, with `prompt` as the sample, or one of the doctor's own."""
        findings = [finding async for finding in self._findings(prompt)]
        return Diagnosis(
            url=self._caller.url,
            findings=tuple(findings),
            profile=self._serving.profile if self._serving is not None else None,
            tokens=self._checks.tokens if self._checks is not None else None,
            reward=self._reward,
        )

    async def _findings(self, prompt: Prompt | None) -> AsyncIterator[Finding]:
        identity = await _outcome(identify(self._caller, self._wishes.model))
        if isinstance(identity, Exception):
            for finding in first_failures(identity):
                yield finding
            return
        yield REACHED
        yield KEY_FITS
        serving = await _outcome(self._watch.serving())
        if isinstance(serving, Exception):
            for finding in self._without_a_way(identity, serving):
                yield finding
            if isinstance(serving, ServerUnreachableError):
                return
        else:
            self._serving, identity = serving, serving.identity
            for finding in self._of_the_server(serving):
                yield finding
        async for finding in self._of_the_sample(identity, prompt):
            yield finding

    def _of_the_server(self, serving: ServerState) -> Iterator[Finding]:
        identity, recipe = serving.identity, serving.recipe
        yield profile.version(identity, way_found=True)
        yield profile.model(identity)
        yield profile.recipe_known(recipe, identity)
        yield profile.length_limit(serving.profile.max_model_len, recipe)
        yield profile.route(serving, self._wishes.route)
        yield profile.head(serving)
        yield profile.activation(serving)

    def _without_a_way(self, identity: Identity, error: Exception) -> Iterator[Finding]:
        recipe = self._recipe(identity)
        named = recipe is not None or self._wishes.head is not None
        self._problem = problem = discovery_failure(error, head_named=named)
        known = (
            profile.version(identity, way_found=False),
            profile.model(identity),
            profile.recipe_known(recipe, identity),
            profile.length_limit(identity.max_model_len, recipe),
        )
        yield from (finding for finding in known if finding.check != problem.check)
        yield problem

    async def _of_the_sample(
        self, identity: Identity, prompt: Prompt | None
    ) -> AsyncIterator[Finding]:
        """The way of a sample to its reward, as far as there is one."""
        looks: list[Look] = [("keep-alive", self._keep_alive), ("sample", self._sample)]
        checks = await _outcome(self._tokenized(identity, prompt))
        if isinstance(checks, Exception):
            failed = tokens_failure(checks)
            if self._problem is None or self._problem.check != failed.check:
                yield failed
            if isinstance(checks, ServerUnreachableError):
                return
        else:
            self._checks = checks
            for finding in checks.tokenized():
                yield finding
            looks = [
                ("generation prompt", checks.generation_prompt),
                ("template", checks.template),
                ("text path", checks.text_path),
                ("local tokenizer", checks.local_tokenizer),
                *looks,
            ]
        if self._serving is not None:
            looks += self._reference_looks(self._serving)
        for check, look in looks:
            seen = await _outcome(look())
            yield failure(check, seen) if isinstance(seen, Exception) else seen
            if isinstance(seen, ServerUnreachableError):
                return

    async def _tokenized(self, identity: Identity, given: Prompt | None) -> TokenChecks:
        if self._serving is not None:
            limit, rules = self._serving.profile.max_model_len, self._serving.rules
        else:
            limit, rules = identity.max_model_len, await self._rules(identity)
        return await TokenChecks.begin(ServerTokenizer(self._caller, identity, rules, limit), given)

    async def _rules(self, identity: Identity) -> PromptRules:
        """What is known of the model's prompts where no way to its rewards was found."""
        recipe, options = self._recipe(identity), self._wishes
        notes = recipe.prompt if recipe is not None else PromptTable()
        return PromptRules(
            generation_prompt=notes.generation_prompt,
            bos=notes.bos if options.bos is None else options.bos,
            bos_token_id=(await tokenized_probes(self._caller, identity.model, None)).bos,
            append=notes.append_tokens,
        )

    def _recipe(self, identity: Identity) -> Recipe | None:
        if self._wishes.recipe != "auto":
            return self._wishes.recipe
        return find_recipe(identity.root) if identity.root else None

    async def _keep_alive(self) -> Finding:
        kept = await self._keeps_alive()
        if kept is None:
            return not_checked("keep-alive", "These connections are not to be looked at from here.")
        if kept:
            return ok("keep-alive", "Connections can be used again.")
        return warning(
            "keep-alive",
            "The server closes each connection after one reply: every request pays for a new one.",
            "See whether a proxy before the server does it.",
        )

    async def _sample(self) -> Finding:
        if self._serving is None or self._checks is None:
            return not_checked("sample", "There is no way to score it, as said above.")
        if self._method.compares:
            return not_checked("sample", "This judge compares two answers: rank() asks it.")
        self._reward = await self._method.score(self._checks.sample)
        return scores.sample(self._reward)

    def _reference_looks(self, serving: ServerState) -> list[Look]:
        references = serving.recipe.references if serving.recipe is not None else ()
        if profile.is_proven(serving):
            further = [each for each in references if each.token_ids is None]
            return [
                ("reference value", partial(self._proven, serving)),
                *(("reference value", partial(self._reference, each)) for each in further),
            ]
        if references:
            return [("reference value", partial(self._reference, each)) for each in references]
        return [("reference value", self._no_reference)]

    async def _proven(self, serving: ServerState) -> Finding:
        return profile.references(serving)

    async def _reference(self, reference: Reference) -> Finding:
        return scores.reference(reference, await self._method.score(parse_sample(reference.sample)))

    async def _no_reference(self) -> Finding:
        return not_checked("reference value", "No published value is known to compare with.")


async def _outcome(look: Awaitable[T]) -> T | Exception:
    try:
        return await look
    except Exception as error:  # noqa: BLE001 - whatever a check meets is a finding
        return error
