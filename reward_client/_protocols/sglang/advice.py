"""How each kind of model is served with SGLang, and what it cannot serve."""

from __future__ import annotations

from reward_client._protocols.engine import Advice

_BY_VLLM = "Serve it with vLLM."
_SERVE = "`python -m sglang.launch_server --model-path MODEL`"

ADVICE = Advice(
    unserved="does not exist",
    text=f"This server does not write: serve the language model with {_SERVE}.",
    exported=f"SGLang does not apply Dense modules, and answers hidden states (0.5.23). {_BY_VLLM}",
    exported_steps=f"SGLang gives no value for each token. {_BY_VLLM}",
    logit=(
        "SGLang answers log-probabilities of tokens, and no logits: a difference of two is one of "
        "logits. Read yes or no by YesNo(), or serve the model with vLLM and --logprobs-mode "
        "raw_logits."
    ),
    difference=(
        f"To read yes or no, serve the language model with {_SERVE}, without --is-embedding."
    ),
    hidden=f"LinearHead reads hidden states, and SGLang normalizes them (0.5.23). {_BY_VLLM}",
    steps=(
        "SGLang has no class for process reward models, and gives no value for each token (0.3 to "
        f"0.5.23). {_BY_VLLM}"
    ),
    gateway=(
        "Let it forward /classify, /tokenize and /detokenize, or connect to the server itself. "
        "Behind a gateway of /v1 alone, give the model's tokenizer as tokenizer=."
    ),
    other_mode="does not appear to be an embedding model",
    shifted=(
        "`reward-client zero-bias SOURCE COPY` makes a checkpoint without it, and a recipe with an "
        "exact reference value proves that"
    ),
)
