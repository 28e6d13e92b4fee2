"""Trying the ways of a version until one answers with what the head reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reward_client._base.options import RouteChoice
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.vllm import Layout, PooledOutput, find_layout
from reward_client._protocols.vllm.versions import Kind, Strategy, VersionRange
from reward_client._server.manifest_checks import wrong_width
from reward_client._server.outputs import outputs_of
from reward_client._server.probes import Probes, text_probes
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client.errors import ProtocolError, RouteNotFoundError, ShapeError
from reward_client.heads import Head, LinearHead, ScalarHead, StepHead
from reward_client.recipes import ExportTable

_FOR_STEPS = """--pooler-config '{"task": "token_embed"}'"""

_FOR_LOGIT = (
    "For a token's logit serve the language model with `vllm serve MODEL --logprobs-mode "
    "raw_logits` (vLLM 0.10.0 and later), or, of a Llama, with the token's row as its score head: "
    """`vllm serve MODEL --runner pooling --convert classify --hf-overrides '{"architectures": """
    """["LlamaForSequenceClassification"], "classifier_from_token": ["TOKEN"], "method": """
    """"no_post_processing"}'`."""
)


_FOR_DIFFERENCE = (
    "For yes or no serve the language model with `vllm serve MODEL`, or, of a Llama, with the "
    """tokens' rows as its score head: `vllm serve MODEL --runner pooling --convert classify """
    """--hf-overrides '{"architectures": ["LlamaForSequenceClassification"], """
    """"classifier_from_token": ["No", "Yes"], "method": "from_2_way_softmax"}'`."""
)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A way that the server answers, and what it answered to the probes.

    Attributes:
        way: How it was asked.
        head: What reads the answer.
        layout: The shape of the answer.
        ids: The token lists of the probes.
        outputs: The answers, one for each probe.
        response: The reply that held them.
    """

    way: Strategy
    head: Head
    layout: Layout
    ids: Sequence[Sequence[int]]
    outputs: Sequence[PooledOutput]
    response: Response

    def rows(self) -> list[Sequence[float]]:
        """The rows of all answers."""
        return [row for output in self.outputs for row in self.layout.rows(output)]


def ways_for(
    era: VersionRange,
    head: Head | None,
    route: RouteChoice,
    export: ExportTable | None = None,
    tokens: Sequence[int] = (),
    *,
    writes: bool = False,
) -> list[Strategy]:
    """The ways to try, the likeliest first, each once: kinds of models may share one.

    Args:
        era: The version's row.
        head: What reads the answer, if it is known.
        route: The route that the caller named.
        export: That of a manifest: then no other way is tried than those of exported heads.
        tokens: The token whose logit is the reward, or two of which the difference is.
        writes: Whether the server only has to write.
    """
    ways: list[Strategy] = []
    kinds = _exported_kinds(head) if export is not None else _kinds(head, tokens)
    for kind in ("text",) if writes else kinds:
        first = era.ways.get(kind)
        known = [way for way in (first, first and first.otherwise) if way]
        if route != "auto":
            named = [*known, *era.by_name.get(kind, ())]
            known = [way for way in named if way.ask.route == route]
        if kind in ("logit", "difference"):
            known = [replace(way, ask=replace(way.ask, tokens=tuple(tokens))) for way in known]
        ways += [way for way in known if way.ask not in [earlier.ask for earlier in ways]]
    return ways


def _kinds(head: Head | None, tokens: Sequence[int]) -> tuple[Kind, ...]:
    """The kinds of models whose output a head reads, or which give the logits of tokens."""
    if tokens:
        return ("sequence", "exported", "logit" if len(tokens) == 1 else "difference")
    if isinstance(head, StepHead):
        return ("steps", "exported steps")
    if isinstance(head, LinearHead):
        return ("hidden",)
    return ("sequence", "token", "exported")


def _exported_kinds(head: Head | None) -> tuple[Kind, ...]:
    return ("exported steps",) if isinstance(head, StepHead) else ("exported",)


def advice_for(
    era: VersionRange,
    head: Head | None,
    route: RouteChoice,
    export: ExportTable | None = None,
    tokens: Sequence[int] = (),
    *,
    writes: bool = False,
) -> str:
    """What to do where no way works: how the kind of model is served that the head is for."""
    if writes:
        return "This server does not write: serve the language model with `vllm serve MODEL`."
    if export is not None:
        per_token = f" {_FOR_STEPS}" if isinstance(head, StepHead) else ""
        return (
            "Serve the exported folder, which its manifest lies in, with "
            f"`vllm serve FOLDER --runner pooling{per_token}`."
        )
    if tokens:
        return _FOR_LOGIT if len(tokens) == 1 else _FOR_DIFFERENCE
    if not ways_for(era, head, route):
        return era.advice
    if isinstance(head, LinearHead):
        return (
            "LinearHead reads hidden states: serve the backbone with "
            "`vllm serve BACKBONE --runner pooling --convert embed`."
        )
    if isinstance(head, StepHead):
        return (
            "StepHead reads a row for each step, or for each token: serve the process reward model "
            """with `vllm serve MODEL --runner pooling --pooler-config '{"task": """
            """"token_classify"}'`, a checkpoint whose head was exported with """
            f"`{_FOR_STEPS}`."
        )
    return era.advice


async def first_that_fits(
    transport: Transport,
    model: str,
    ways: Iterable[Strategy],
    probes: Probes,
    rules: PromptRules,
    head: Head | None,
    advice: str,
    export: ExportTable | None = None,
) -> Negotiated:
    """The first way whose answer the head can read; with a manifest, one as wide as its head's.

    Raises:
        RouteNotFoundError: None of them is served.
        ProtocolError: Those that are served answer what the head cannot read.
    """
    misfit: ProtocolError | None = None
    not_served: RouteNotFoundError | None = None
    asked: set[str] = set()
    for way in ways:
        asked.add(way.ask.path)
        try:
            found = await _probed(transport, model, way, probes, rules, head or ScalarHead())
        except RouteNotFoundError as error:
            not_served = error
            continue
        problem = wrong_width(found.layout, export) or found.head.problem(found.layout)
        if problem is None:
            await _refuse_wrong_start(transport, model, way, probes)
            return found
        misfit = misfit or found.response.error(type(problem), str(problem))
    if misfit is not None:
        raise misfit
    raise RouteNotFoundError(
        f"No route of this server gives a reward. {advice}",
        status=404,
        server_message=not_served.server_message if not_served else "",
        endpoint=f"{', '.join(sorted(asked)) or 'no route'} at {transport.url}",
    ) from not_served


async def _refuse_wrong_start(
    transport: Transport, model: str, way: Strategy, probes: Probes
) -> None:
    if way.wrong_if_served is None:
        return
    try:
        response = await transport.call(way.wrong_if_served.call(model, probes.ids[:1]))
    except RouteNotFoundError:
        return
    raise response.error(ProtocolError, way.wrong_because)


async def _probed(
    transport: Transport, model: str, way: Strategy, probes: Probes, rules: PromptRules, head: Head
) -> Negotiated:
    ids: Sequence[Sequence[int]] = probes.ids
    inputs: Sequence[Sequence[int] | str] = ids
    if way.ask.sends == "text":
        inputs, ids = await text_probes(transport, model)
    response, read = await outputs_of(transport.call, way.ask, model, inputs, ids)
    outputs: list[PooledOutput] = []
    for output in read:
        if isinstance(output, ProtocolError):
            raise output
        outputs.append(output)
    lengths = [len(each) for each in ids]
    steps = [len(rules.step_places(each)) for each in ids]
    layout = find_layout(outputs, lengths, steps)
    if layout is None:
        sizes = [len(output.values) for output in outputs]
        raise response.error(
            ShapeError,
            f"The replies to {lengths} tokens (with {steps} step tokens) hold {sizes} values: "
            "neither one row for each sample, nor for each token or step.",
        )
    return Negotiated(way, head, layout, ids, outputs, response)
