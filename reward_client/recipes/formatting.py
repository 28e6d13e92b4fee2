"""Format a recipe as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from reward_client.recipes.schema import (
    EngineTable,
    ExportTable,
    ObjectivesTable,
    PromptTable,
    Recipe,
    Reference,
    StepsTable,
    VerdictTable,
)

_WIDTH = 100


def summary(recipe: Recipe) -> str:
    """Return a few words about the model's output."""
    return "refused" if recipe.refusal is not None else head_in_words(recipe).split(":")[0]


def head_in_words(recipe: Recipe) -> str:
    """Describe where the reward is read from; empty for a model that cannot be served."""
    head = recipe.head_table
    if recipe.verdict is not None:
        verdict = "the better of two answers" if recipe.verdict.compares else "a grade"
        return f"{verdict}, read from a judge's text"
    if head is None:
        return ""
    if isinstance(head, StepsTable):
        label = (
            "sigmoid" if head.good_label is None else f"softmax, label {head.good_label} is good"
        )
        split = f", steps split at {head.separator!r}" if head.separator is not None else ""
        return (
            f"a number for each step: token {head.step_token!r}, {label}, {head.aggregate}{split}"
        )
    if isinstance(head, ObjectivesTable):
        names = head.names if isinstance(head.names, int) else ", ".join(head.names)
        return f"several numbers: {names}"
    if recipe.logit_tokens:
        first, *others = recipe.logit_tokens
        less = f" minus that of {others[0]!r}" if others else ""
        return f"one number: the logit of token {first!r}{less}"
    return "one number" + (": the last token's" if recipe.output == "per token" else "")


def expected_in_words(reference: Reference) -> str:
    """Format the values of a reference with their tolerance."""
    expected = reference.expected
    values = expected if isinstance(expected, tuple) else (expected,)
    return f"{', '.join(f'{value:.7g}' for value in values)} ± {reference.tolerance:g}"


def describe(recipe: Recipe) -> str:
    """Format the whole recipe for a terminal."""
    parts = [
        _section("Models", recipe.models),
        _section("Architecture", recipe.architectures),
        _section("Exported", _export(recipe.export) if recipe.export else []),
        _section("Not served by a stock vLLM", [recipe.refusal] if recipe.refusal else []),
        _section("Head", [head_in_words(recipe)] if recipe.head_table else []),
        _section("Verdict", _verdict(recipe.verdict) if recipe.verdict else []),
        _section("Prompt", _prompt(recipe.prompt)),
        _section(
            "Tokens", [f"{text!r} is {token}" for text, token in recipe.special_tokens.items()]
        ),
        _section("Activation", _activation(recipe)),
        _commands(recipe),
        _section("Reference values", [_reference(reference) for reference in recipe.references]),
        _section("Versions of vLLM", recipe.caveats),
        *(_section(name, _engine(engine)) for name, engine in recipe.engines.items()),
        _section("Notes", recipe.notes),
        _section("Not confirmed", recipe.unconfirmed),
        _section("Sources", recipe.sources),
    ]
    title = f"{recipe.name}  (digest {recipe.digest[:12]})"
    return "\n\n".join([title, *filter(None, parts)])


def _engine(engine: EngineTable) -> list[str]:
    """Return the facts about an engine without a command; those of others stand beside theirs."""
    return [engine.refusal, *engine.caveats] if engine.refusal else []


def _export(export: ExportTable) -> list[str]:
    layers = [
        f"{layer.weight}{f' and {layer.bias}' if layer.bias else ''}: {layer.in_features} to "
        f"{layer.out_features}, {layer.activation}"
        for layer in export.layers
    ]
    negated = ["negated: the source returns a cost"] if export.sign < 0 else []
    scaled = [f"multiplied by {export.scale:g}"] if export.scale != 1 else []
    origin = (
        f"from {export.source} ({export.architecture}) by reward_client {export.client_version}"
    )
    return [origin, *layers, *negated, *scaled]


def _verdict(verdict: VerdictTable) -> list[str]:
    values = verdict.values or {}
    return [
        f"written after {' and '.join(verdict.roles) or 'the prompt of the recipe'}",
        f"read by {verdict.pattern}",
        *(f"{text} stands for {value:g}" for text, value in values.items()),
    ]


def _prompt(prompt: PromptTable) -> list[str]:
    words: list[str] = []
    if prompt.bos is not None:
        words.append("exactly one BOS" if prompt.bos else "no BOS")
    if prompt.generation_prompt:
        words.append("with the generation prompt")
    if prompt.append_tokens:
        words.append(f"token IDs appended: {', '.join(map(str, prompt.append_tokens))}")
    if prompt.system is not None:
        words.append(f"system message: {prompt.system}")
    if prompt.max_tokens is not None:
        words.append(f"trained on up to {prompt.max_tokens} tokens")
    return words


def _activation(recipe: Recipe) -> list[str]:
    if recipe.activation is None:
        return []
    if recipe.activation == "none":
        return ["none: the server returns raw values"]
    return [f"{recipe.activation}, unless the request asks for raw values"]


def _reference(reference: Reference) -> str:
    models = f"{', '.join(reference.models)}: " if reference.models else ""
    if reference.messages is not None:
        texts = [turn.content for turn in reference.messages if turn.role != "system"]
        sample = " / ".join(_quote(text) for text in [*texts, *(reference.steps or ())[:1]])
    elif reference.text is not None:
        sample = _quote(reference.text)
    else:
        sample = f"{len(reference.token_ids or ())} token IDs"
    return f"{models}{expected_in_words(reference)} for {sample} [{reference.source}]"


def _quote(text: str) -> str:
    return f'"{textwrap.shorten(text, 48, placeholder="…")}"'


def _commands(recipe: Recipe) -> str:
    """Format the commands without line breaks, so that they can be copied, below their caveats."""
    lines: list[str] = []
    for key, command in recipe.commands.items():
        if key == "today":
            lines.append(f"  {command}")
            continue
        engine = recipe.engines.get(key)
        caveats = engine.caveats if engine is not None else ()
        lines += [f"  {_server(recipe, key)}:", *(_filled(each, 4) for each in caveats)]
        lines.append(f"    {command}")
    return "\n".join(["Serve", *lines]) if lines else ""


def _server(recipe: Recipe, key: str) -> str:
    engine = recipe.engines.get(key)
    return f"{key}, from {engine.since} on" if engine is not None else f"vLLM {key}"


def _section(title: str, items: Iterable[str]) -> str:
    lines = [_filled(item, 2) for item in items]
    return "\n".join([title, *lines]) if lines else ""


def _filled(text: str, indent: int) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
