"""Checks of the server's profile and of the strategy that gives its rewards. Pure."""

from __future__ import annotations

from reward_client._base.activation import Activation
from reward_client._doctor.report import Finding, failed, not_checked, ok, warning
from reward_client._protocols.engine import Engine
from reward_client._protocols.pooled_output import Layout
from reward_client._server.identity import Identity
from reward_client._server.manifest_checks import provable
from reward_client._server.state import DiscoveryOptions, ServerState
from reward_client._server.template_look import TemplateLook, date_cure
from reward_client.recipes import Recipe

# The range of a sigmoid of a sigmoid: sigmoid(0) to sigmoid(1). reward-hub met it on vLLM 0.13.
_TWICE_SQUASHED = (0.5, 0.7311)
_PROVE = (
    "Pass the manifest in the exported folder, which holds reference values: --recipe "
    ".../reward_client.json, or recipe= in Python."
)
_VERIFY = (
    "Its manifest has no reference value for this server. Run `reward-client export SOURCE "
    "DESTINATION --verify`, which writes some."
)
_COMPARE = "Compare the sample's reward with a reward from the model's own code."


def version(identity: Identity, *, discovered: bool) -> Finding:
    """Look the server's version up in the version table of its engine."""
    engine = identity.engine
    if identity.version_known:
        return ok("version", f"{engine.name} {identity.version}.")
    proven = ", and the values proved to be raw" if discovered else ""
    tried = f"The client tried the newest kind of request{proven}."
    if identity.version is None:
        return warning(
            "version",
            f"The server does not report its version. {tried}",
            f"If there is a gateway, let it forward {engine.version_paths[0]}.",
        )
    return warning(
        "version",
        f"{engine.name} {identity.version} is not in the version table. {tried}",
        f"Use a released {engine.name}, or a newer reward_client.",
    )


def model(identity: Identity) -> Finding:
    """Report the served model."""
    adapter = f", an adapter of {identity.base}" if identity.base is not None else ""
    return ok(
        "model", f"{identity.model}{adapter}, loaded from {identity.root or 'an unknown path'}."
    )


def recipe(known: Recipe | None, identity: Identity, options: DiscoveryOptions) -> Finding:
    """Report the recipe of the model."""
    if known is None:
        nothing = f"No recipe applies to {identity.root or identity.model}."
        similar = identity.similar_model if options.recipe == "auto" else None
        if similar is None:
            return not_checked("recipe", nothing)
        return warning(
            "recipe",
            f"{nothing} The name looks like that of {similar}.",
            f"For a copy of it, give recipe={similar!r}; for another model, recipe=None.",
        )
    source = f", the manifest of an export of {known.export.source}" if known.export else ""
    name = options.name_of(known, identity)
    return ok("recipe", f"{name} (digest {known.digest[:12]}){source}.")


def length_limit(limit: int | None, known: Recipe | None, engine: Engine) -> Finding:
    """Compare the server's length limit with the lengths that the model was trained on."""
    if limit is None:
        return not_checked("length limit", "The server does not report its length limit.")
    trained = known.prompt.max_tokens if known else None
    if trained is not None and limit > trained:
        return warning(
            "length limit",
            f"The server accepts {limit} tokens, but the model was trained on at most {trained}.",
            f"Start the server with {engine.length_option} {trained}, so that it refuses "
            "longer samples.",
        )
    return ok("length limit", f"{limit} tokens.")


def route(state: ServerState, chosen: str) -> Finding:
    """Report the scoring request with the reason for its choice.

    Args:
        state: The discovered server.
        chosen: The caller's choice: ``"auto"``, or a route.
    """
    request = state.request
    sent = [f"task {request.task}"] if request.task else []
    sent += [f"{key} {str(value).lower()}" for key, value in request.switches.items()]
    form = "token IDs" if request.sends == "ids" else "text"
    reason = (
        "the first of this version's requests whose response the head reads"
        if chosen == "auto"
        else "the route that the caller named"
    )
    described = ", ".join([f"POST {request.path}", *sent, form])
    return ok("route", f"{described}: {reason} ({_shape(state.layout)}).")


def head(state: ServerState) -> Finding:
    """Report the head that reads the reward from a response."""
    described = state.provenance.head
    if "assumed" not in described:
        return ok("head", f"{described}.")
    return warning(
        "head",
        f"{described}: the server gives a value per token, and only an assumption makes the last "
        "value the reward.",
        "For Qwen2ForRewardModel and similar models, confirm it by head=ScalarHead(). For a "
        "process reward model, give head=StepHead(…), or name the model by --recipe.",
    )


def offset(engine: Engine) -> Finding:
    """Report rewards to which the engine adds an unknown constant."""
    return warning(
        "offset",
        f"{engine.name} adds an unknown constant to every reward of such a model, another one at "
        "each start. Orders and margins are right; rewards of two servers or starts are not "
        "comparable.",
        f"{engine.advice.shifted[0].upper()}{engine.advice.shifted[1:]}.",
    )


def date(template: TemplateLook) -> Finding:
    """Report a chat template that writes today's date."""
    cure = date_cure(template)
    return warning(
        "date",
        f"The chat template writes today's date ({template.day}): equal samples get other rewards "
        "on another day.",
        f"{cure[0].upper()}{cure[1:]}.",
    )


def activation(state: ServerState) -> Finding:
    """Report the server's activation with its source, and compare it with the probes' values."""
    found, scores = state.activation, state.scores
    if state.provenance.head == "text":
        return not_checked("activation", "The reward is in generated text, not in a raw number.")
    described = _activation_in_words(state)
    low, high = _TWICE_SQUASHED
    # An agreement with a published value is a stronger proof than the range of the probes' values.
    if state.layout.width == 1 and found.known_by != "reference":
        if all(low <= score <= high for score in scores):
            return failed(
                "activation",
                f"{described} But all {len(scores)} values of the probes lie in [{low}, {high}], "
                "as after a sigmoid of a sigmoid.",
                "Check whether the model's own code (config.json, a plugin) applies a sigmoid, and "
                f"the server another one. {_COMPARE}",
            )
        if found.name == "none" and all(0 <= score <= 1 for score in scores):
            return warning(
                "activation",
                f"{described} But all {len(scores)} values of the probes lie in [0, 1], as after a "
                "sigmoid.",
                f"Check whether the model's own code applies a sigmoid. {_COMPARE}",
            )
    known = state.recipe
    if state.strategy.exported and not is_proven(state) and not (known and known.references):
        return warning(
            "activation",
            f"{described} The head seems to consist of Dense modules of an exported checkpoint, "
            "and nothing proves that the server loaded all of them.",
            _PROVE if known is None or known.export is None else _VERIFY,
        )
    if found.name == "sigmoid":
        return warning(
            "activation",
            described,
            f"Start the server with {state.strategy.flag}, so that rewards keep all their digits.",
        )
    return ok("activation", described)


def is_proven(state: ServerState) -> bool:
    """Return True if the reference values of a manifest agreed."""
    return state.strategy.exported and state.activation.known_by == "reference"


def references(state: ServerState) -> Finding:
    """Report the number of reference values that proved the head, before any reward."""
    count = len(provable(state.recipe, state.max_model_len))
    return ok("reference value", f"{count} values of the manifest prove the whole head.")


def _activation_in_words(state: ServerState) -> str:
    found = state.activation
    if found.name == "softmax":
        return "The server applies a softmax, as step probabilities need; it gives no logits."
    if found.name == "sigmoid":
        return (
            f"The server applies a sigmoid ({_known_by(found)}). The client inverts it, and "
            "refuses values too close to 0 or 1."
        )
    if is_proven(state):
        return "None. The whole exported head is loaded: the manifest's reference values agree."
    if found.known_by == "request":
        switches = state.request.switches.items()
        if not switches:
            return f"None: {state.engine.name} applies none to the values of {state.request.path}."
        sent = ", ".join(f"{key} {str(value).lower()}" for key, value in switches)
        return f"None: the client requests raw values ({sent})."
    if found.known_by == "probe":
        return f"None: not all of the {len(state.scores)} values of the probes lie in [0, 1]."
    if found.known_by == "task":
        return "None: this version applies none to the embeddings of such a model."
    return f"None ({_known_by(found)})."


def _known_by(found: Activation) -> str:
    if found.known_by == "caller":
        return "as server_activation= says"
    return "as a reference value of the recipe proves"


def _shape(layout: Layout) -> str:
    values = "one value" if layout.width == 1 else f"{layout.width} values"
    unit = {"vector": "conversation", "per token": "token", "per step": "step"}
    return f"{values} per {unit[layout.kind]}"
