"""The reward server of tests and demos, which runs uvicorn in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from reward_client.testing._model.reference import ReferenceValues, reference_values
from reward_client.testing._model.sum_judge import CHECKPOINT, STEP_TOKEN, load_sum_judge
from reward_client.testing.app import ENGINES, EngineName, create_app
from reward_client.testing.loopback import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reward_client.testing._model.generate import LogprobsMode
    from reward_client.testing._model.heads import Head


class RewardServer(LoopbackServer):
    """A server with a real, small reward model behind an engine's HTTP API, on a loopback port.

    The model judges the correctness of the sum in the last assistant turn::

        with RewardServer() as server:
            client = RewardClient(server.url)

    Args:
        engine: The engine to imitate: ``"vllm"`` or ``"sglang"``.
        dialect: The version to imitate. Of vLLM: ``"0.8"``, ``"0.10"``, ``"0.12"``, ``"0.16"``,
            ``"0.20"``, ``"0.25"``, ``"0.32"`` (the default) or ``"0.33"``. Of SGLang:
            ``"0.4.9"``, ``"0.5.22"`` or ``"0.5.23"`` (the default).
        head: The head of the model. SGLang has the first three and ``"embed"``, whose vectors it
            normalizes, and answers by the last token alone. The server answers

            * ``"sequence"``: one value per conversation,
            * ``"token"``: one value per token, as ``Qwen2ForRewardModel``,
            * ``"labels"``: five values per conversation,
            * ``"steps"``: two values (bad, good) per step token, as
              ``Qwen2ForProcessRewardModel``,
            * ``"embed"``: the last token's hidden state, as any model with ``--convert embed``,
            * ``"export"``: one value per conversation, by the reward head as a Dense module of
              sentence-transformers,
            * ``"export-steps"``: two values per token, by the head of ``"steps"`` as a Dense
              module, as with ``--pooler-config '{"task": "token_embed"}'``.
        logprobs: The ``--logprobs-mode`` of a server that generates: ``"raw_logprobs"``,
            ``"processed_logprobs"``, ``"raw_logits"`` or ``"processed_logits"``. Such a server
            ignores ``head`` and has no pooling route. Its routes are ``/v1/completions`` and,
            since 0.20, ``/generative_scoring``. The embeddings are its LM head. SGLang has
            ``"processed_logprobs"`` alone, and the routes ``/generate``, ``/v1/completions`` and
            ``/v1/score``. None starts a pooling server.
        raw: True imitates a vLLM that was started with its activation switched off.
        score_bias: The number that SGLang adds to every value of a classifier: it gives the heads
            of Qwen2 and Qwen3 a bias, whose value is random at each start.
        api_key: The API key. In vLLM, only ``/v1`` requires it; in SGLang, all but ``/health``.
        model_name: The served model name.
        max_model_len: The maximum number of tokens in a prompt; SGLang takes one token less.
        port: The port; 0 takes a free one.
        values: A function from a prompt's token IDs to a raw value. This value replaces every
            value of the model before the activation, to imitate a faulty server.
        version: The version that ``/version``, or SGLang's ``/get_server_info``, reports.
            ``"dialect"`` reports the dialect's version; None removes it.
        owned_by: The owner that ``/v1/models`` reports. None reports the name of the engine; a
            proxy in front of it may report another owner.
        root: The model path that ``/v1/models``, or SGLang's ``/get_model_info``, reports.
            Clients look recipes up by it.
        chat_template: The chat template to serve in the place of the model's, as by
            ``--chat-template``.

    Raises:
        ValueError: If an option is unknown, or if the engine or the dialect does not support it.

    Attributes:
        step_token: The text, one token, that ends a step for the heads with steps.
        checkpoint: The folder of the model: config, weights and tokenizer.
    """

    step_token = STEP_TOKEN
    checkpoint = CHECKPOINT

    def __init__(
        self,
        *,
        engine: EngineName = "vllm",
        dialect: str | None = None,
        head: Head = "sequence",
        logprobs: LogprobsMode | None = None,
        raw: bool = False,
        score_bias: float = 0.0,
        api_key: str | None = None,
        model_name: str = "sum-judge",
        max_model_len: int = 1024,
        port: int = 0,
        values: Callable[[list[int]], float] | None = None,
        version: str | None = "dialect",
        owned_by: str | None = None,
        root: str = "reward-client/sum-judge",
        chat_template: str | None = None,
    ) -> None:
        app = create_app(
            engine=engine,
            dialect=dialect,
            head=head,
            logprobs=logprobs,
            raw=raw,
            score_bias=score_bias,
            api_key=api_key,
            model_name=model_name,
            max_model_len=max_model_len,
            values=values,
            version=version,
            owned_by=owned_by,
            root=root,
            chat_template=chat_template,
        )
        super().__init__(app, port)

    def reference(self, token_ids: Sequence[int]) -> float:
        """Compute the raw score of token IDs by the model, without the server."""
        return load_sum_judge().score(token_ids)

    def reference_logits(self, token_ids: Sequence[int]) -> list[float]:
        """Compute the raw logits of the next token, of shape (vocabulary size,)."""
        logits: list[float] = load_sum_judge().logits(token_ids).tolist()
        return logits

    def reference_values(self, token_ids: Sequence[int]) -> ReferenceValues:
        """Compute the raw values of every head for token IDs, without the server."""
        return reference_values(load_sum_judge(), token_ids)


def serve(
    *,
    engine: EngineName = "vllm",
    dialect: str | None = None,
    head: Head = "sequence",
    raw: bool = False,
    api_key: str | None = None,
    port: int = 8000,
) -> None:
    """Serve in the foreground until Ctrl-C; see `RewardServer` for the options."""
    server = RewardServer(
        engine=engine, dialect=dialect, head=head, raw=raw, api_key=api_key, port=port
    )
    with contextlib.suppress(KeyboardInterrupt), server:
        name = f"{ENGINES[engine].title} {dialect or ENGINES[engine].default_dialect}"
        line = f"Serving sum-judge as {name} at {server.url}; Ctrl-C stops it."
        with contextlib.suppress(OSError):  # a server serves, whether or not anybody reads this
            print(line, flush=True)
        threading.Event().wait()
