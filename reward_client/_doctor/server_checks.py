"""What a server says of itself, and the way to its rewards that was found. Pure."""

from __future__ import annotations

from reward_client._base.activation import Activation
from reward_client._doctor.findings import failed, not_checked, ok, warning
from reward_client._doctor.report import Finding
from reward_client._protocols.vllm import Layout
from reward_client._protocols.vllm.versions import UNKNOWN, era_of
from reward_client._server.identity import Identity
from reward_client._server.manifest_checks import provable
from reward_client._server.state import ServerState
from reward_client.recipes import Recipe

# sigmoid(0) and sigmoid(1): where a sigmoid of a sigmoid lies (reward-hub met it on vLLM 0.13).
_TWICE_SQUASHED = (0.5, 0.7311)
_PROVE = (
    "Pass the manifest that lies in the exported folder, which holds reference values: --recipe "
    ".../reward_client.json, or recipe= in Python."
)
_VERIFY = (
    "Its manifest has no reference value for this server: `reward-client export SOURCE DESTINATION "
    "--verify` writes some."
)
_COMPARE = "Compare the sample's reward with one from the model's own code."


def version(identity: Identity, *, way_found: bool) -> Finding:
    """Whether the version table knows the server."""
    if era_of(identity.version) is not UNKNOWN:
        return ok("version", f"vLLM {identity.version}.")
    found = ", and the values proved that they are raw" if way_found else ""
    tried = f"the newest way was tried{found}."
    if identity.version is None:
        return warning(
            "version",
            f"The server does not say which it is: {tried}",
            "Let the gateway pass /version on, if there is one.",
        )
    return warning(
        "version",
        f"vLLM {identity.version} is not in the version table: {tried}",
        "Use a released vLLM, or a newer reward_client.",
    )


def model(identity: Identity) -> Finding:
    """What is served."""
    return ok("model", f"{identity.model}, loaded from {identity.root or 'where it does not say'}.")


def recipe_known(recipe: Recipe | None, identity: Identity) -> Finding:
    """Whether the model is known."""
    if recipe is None:
        return not_checked("recipe", f"None is followed for {identity.root or identity.model}.")
    source = f", the manifest of an export of {recipe.export.source}" if recipe.export else ""
    return ok("recipe", f"{recipe.name} (digest {recipe.digest[:12]}){source}.")


def length_limit(limit: int | None, recipe: Recipe | None) -> Finding:
    """Whether longer samples are scored than the model was made for."""
    if limit is None:
        return not_checked("length limit", "The server does not say how many tokens it takes.")
    trained = recipe.prompt.max_tokens if recipe else None
    if trained is not None and limit > trained:
        return warning(
            "length limit",
            f"The server takes {limit} tokens, and the model was trained on up to {trained}.",
            f"Start it with --max-model-len {trained}: then longer samples are refused.",
        )
    return ok("length limit", f"{limit} tokens.")


def route(serving: ServerState, chosen: str) -> Finding:
    """Which route is used, and why.

    Args:
        serving: The server as it was found.
        chosen: What the caller said: ``"auto"``, or a route.
    """
    ask = serving.ask
    sent = [f"task {ask.task}"] if ask.task else []
    sent += [f"{key} {str(value).lower()}" for key, value in ask.switches.items()]
    how = ", ".join([f"POST {ask.path}", *sent, "token IDs" if ask.sends == "ids" else "text"])
    why = (
        f"the first way of this version whose answer the head reads ({_shape(serving.layout)})"
        if chosen == "auto"
        else f"the one that was asked for; it answers {_shape(serving.layout)}"
    )
    return ok("route", f"{how}: {why}.")


def head(serving: ServerState) -> Finding:
    """What reads the reward out of the answer."""
    described = serving.provenance.head
    if "assumed" not in described:
        return ok("head", f"{described}.")
    return warning(
        "head",
        f"{described}: the server answers a value for each token, and nobody says that the last "
        "one is the reward.",
        "Of Qwen2ForRewardModel and its like it is: say head=ScalarHead(). Of a process reward "
        "model it is not: say head=StepHead(…), or name the model by --recipe.",
    )


def activation(serving: ServerState) -> Finding:
    """What the server does to its values, how that is known, and whether the values agree."""
    found, scores = serving.activation, serving.scores
    if serving.provenance.head == "text":
        return not_checked("activation", "What the model writes counts, and no number of it.")
    how = _activation_in_words(serving)
    low, high = _TWICE_SQUASHED
    # A published value that agrees proves more than where the probes lie.
    if serving.layout.width == 1 and found.known_by != "reference":
        if all(low <= score <= high for score in scores):
            return failed(
                "activation",
                f"{how} But all {len(scores)} values of the probes lie in [{low}, {high}], as "
                "after a sigmoid of a sigmoid.",
                "See whether the model's own code (config.json, a plugin) applies one and vLLM "
                f"another. {_COMPARE}",
            )
        if found.name == "none" and all(0 <= score <= 1 for score in scores):
            return warning(
                "activation",
                f"{how} But all {len(scores)} values of the probes lie in [0, 1], as after a "
                "sigmoid.",
                f"See whether the model's own code applies one. {_COMPARE}",
            )
    recipe = serving.recipe
    if serving.exported and not is_proven(serving) and not (recipe and recipe.references):
        return warning(
            "activation",
            f"{how} The head seems to lie in Dense modules of an exported checkpoint, and nothing "
            "proves that the server loaded all of them.",
            _PROVE if recipe is None or recipe.export is None else _VERIFY,
        )
    if found.name == "sigmoid":
        return warning(
            "activation",
            how,
            f"Start the server with {_flag(serving)}: then rewards keep all their digits.",
        )
    return ok("activation", how)


def is_proven(serving: ServerState) -> bool:
    """Whether the references of a manifest were found to agree."""
    return serving.exported and serving.activation.known_by == "reference"


def references(serving: ServerState) -> Finding:
    """How many of them proved the head; the client scores them before it believes any reward."""
    count = len(provable(serving.recipe, serving.profile.max_model_len))
    return ok("reference value", f"The whole head is proven by {count} values of the manifest.")


def _activation_in_words(serving: ServerState) -> str:
    found, switches = serving.activation, serving.ask.switches
    if found.name == "softmax":
        return "The server applies a softmax, as the steps' probabilities need; no logits come."
    if found.name == "sigmoid":
        return (
            f"The server applies a sigmoid ({_known_by(found)}). The client inverts it, and "
            "refuses values that are too close to 0 or 1 for that."
        )
    if is_proven(serving):
        return "None, and the whole exported head is loaded: the manifest's reference values agree."
    if found.known_by == "request":
        sent = ", ".join(f"{key} {str(value).lower()}" for key, value in switches.items())
        return f"None: the server is asked for raw values ({sent})."
    if found.known_by == "probe":
        return f"None: not all of the {len(serving.scores)} values of the probes lie in [0, 1]."
    if found.known_by == "task":
        return "None: this version applies none to embeddings of such a model."
    return f"None ({_known_by(found)})."


def _known_by(found: Activation) -> str:
    if found.known_by == "caller":
        return "server_activation= says so"
    return "a reference value of the recipe proves it"


def _flag(serving: ServerState) -> str:
    """The flag of this version that switches the activation off."""
    era = era_of(serving.identity.version)
    named = (way for ways in era.by_name.values() for way in ways)
    ways = [*era.ways.values(), *named]
    return next(way.flag for way in ways if way.ask == serving.ask)


def _shape(layout: Layout) -> str:
    values = "one value" if layout.width == 1 else f"{layout.width} values"
    owner = {"vector": "a conversation", "per token": "each token", "per step": "each step"}
    return f"{values} for {owner[layout.kind]}"
