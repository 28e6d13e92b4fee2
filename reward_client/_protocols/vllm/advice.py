"""The words of vLLM about models, and how each kind of model is served with it."""

from __future__ import annotations

from reward_client._protocols.engine import Advice

_STEPS_FLAG = """--pooler-config '{"task": "token_embed"}'"""

ADVICE = Advice(
    unserved="does not exist",
    text="This server does not write: serve the language model with `vllm serve MODEL`.",
    exported=(
        "Serve the exported folder, which its manifest lies in, with "
        "`vllm serve FOLDER --runner pooling`."
    ),
    exported_steps=(
        "Serve the exported folder, which its manifest lies in, with "
        f"`vllm serve FOLDER --runner pooling {_STEPS_FLAG}`."
    ),
    logit=(
        "To read a token's logit, serve the language model with `vllm serve MODEL --logprobs-mode "
        "raw_logits` (vLLM 0.10.0 and later), or, of a Llama, with the token's row as its score "
        "head: `vllm serve MODEL --runner pooling --convert classify --hf-overrides "
        """'{"architectures": ["LlamaForSequenceClassification"], "classifier_from_token": """
        """["TOKEN"], "method": "no_post_processing"}'`."""
    ),
    difference=(
        "To read yes or no, serve the language model with `vllm serve MODEL`, or, of a Llama, with "
        "the tokens' rows as its score head: `vllm serve MODEL --runner pooling --convert classify "
        """--hf-overrides '{"architectures": ["LlamaForSequenceClassification"], """
        """"classifier_from_token": ["No", "Yes"], "method": "from_2_way_softmax"}'`."""
    ),
    hidden=(
        "LinearHead reads hidden states: serve the backbone with "
        "`vllm serve BACKBONE --runner pooling --convert embed`."
    ),
    steps=(
        "StepHead reads a row for each step, or for each token: serve the process reward model "
        """with `vllm serve MODEL --runner pooling --pooler-config '{"task": """
        """"token_classify"}'`, a checkpoint whose head was exported with """
        f"`{_STEPS_FLAG}`."
    ),
    gateway=(
        "Let it forward /pooling, /tokenize and /detokenize, or connect to the server itself. "
        "Behind a gateway of /v1 alone, serve an exported checkpoint (`reward-client export`)."
    ),
)
