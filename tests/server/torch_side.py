"""Tiny checkpoints and what they have to answer, by transformers and torch in float32.

Run by the server environment's Python, so that the client is tested where neither is installed.
One JSON request per line on stdin, `{"make": {...}}` or `{"score": {...}}`; one JSON reply each.
"""

import itertools
import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForSequenceClassification,
)

DATA = Path(__file__).parent / "data"
BATCH = 64
# The tokenizer's 495, padded as real models pad: transformers adds <|endoftext|> to every Qwen2's.
VOCABULARY = 512


class Qwen2ForRewardModel(Qwen2ForSequenceClassification):
    """The architecture of Qwen2.5-Math-RM, which vLLM has and transformers has not."""

    def __init__(self, config):
        super().__init__(config)
        self.score = torch.nn.Sequential(
            torch.nn.Linear(config.hidden_size, config.hidden_size),
            torch.nn.ReLU(),
            torch.nn.Linear(config.hidden_size, config.num_labels),
        )
        self.post_init()


class Qwen2ForProcessRewardModel(Qwen2ForRewardModel):
    """The architecture of Qwen2.5-Math-PRM: two labels, of which vLLM answers each step token's."""


# Configuration, class, number of labels, chat template. What vLLM serves each kind as is its class
# name: save_pretrained writes it into config.json.
KINDS = {
    "llama": (LlamaConfig, LlamaForSequenceClassification, 1, "llama.jinja"),
    "labels": (LlamaConfig, LlamaForSequenceClassification, 5, "llama.jinja"),
    "causal": (LlamaConfig, LlamaForCausalLM, 0, "llama.jinja"),
    "qwen2-reward": (Qwen2Config, Qwen2ForRewardModel, 1, "chatml.jinja"),
    "prm": (Qwen2Config, Qwen2ForProcessRewardModel, 2, "chatml.jinja"),
}


def make(folder, kind, seed):
    config_class, model_class, labels, template = KINDS[kind]
    end = "<|eot|>" if template == "llama.jinja" else "<|im_end|>"
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizer.json"))
    if template == "llama.jinja":
        # Llama 3's trap: the template writes the BOS, and the tokenizer would add another.
        tokenizer.post_processor = TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", tokenizer.token_to_id("<|bos|>"))]
        )
    torch.manual_seed(seed)
    config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=128,  # two heads of 64, the smallest head that vLLM's CPU attention takes
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=256,
        num_hidden_layers=2,
        max_position_embeddings=1024,
        initializer_range=0.2,  # rewards a few units apart, so that no two are taken for another
        num_labels=labels,
        bos_token_id=tokenizer.token_to_id("<|bos|>"),
        eos_token_id=tokenizer.token_to_id(end),
        pad_token_id=tokenizer.token_to_id("<|pad|>"),
    )
    model_class(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token=end,
        pad_token="<|pad|>",
        chat_template=(DATA / template).read_text(encoding="utf-8"),
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def tokenize(tokenizer, sample):
    if "ids" in sample:
        return sample["ids"]
    if "text" in sample:
        return tokenizer(sample["text"], add_special_tokens=False)["input_ids"]
    for message in sample["messages"]:
        for call in message.get("tool_calls", ()):
            # OpenAI's wire format is a string; templates are written for the object.
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return tokenizer.apply_chat_template(
        sample["messages"],
        tools=sample.get("tools"),
        add_generation_prompt=False,
        return_dict=False,
        **sample.get("chat_template_kwargs") or {},
    )


def head_of(model, tokenizer, tokens):
    """From hidden states to what the model answers: rewards, logits of tokens, or the states."""
    if hasattr(model, "score"):
        return model.score
    if not tokens:
        return torch.nn.Identity()
    rows = model.lm_head.weight[tokenizer.convert_tokens_to_ids(tokens)]
    return lambda hidden: hidden @ rows.T


@torch.inference_mode()
def score(folder, samples, step_token, tokens):
    """Token IDs, the answer at the last one, and the answers at step tokens.

    Samples of one length share a batch, unpadded.
    """
    architecture = json.loads(Path(folder, "config.json").read_text())["architectures"][0]
    model_class = {cls.__name__: cls for _, cls, _, _ in KINDS.values()}[architecture]
    model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    head = head_of(model, tokenizer, tokens)
    ids = [tokenize(tokenizer, sample) for sample in samples]
    answers = [None] * len(ids)
    by_length = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    for _, same in itertools.groupby(by_length, key=lambda index: len(ids[index])):
        while batch := list(itertools.islice(same, BATCH)):
            inputs = torch.tensor([ids[index] for index in batch])
            hidden = model.model(inputs).last_hidden_state
            for index, row, states in zip(batch, inputs, hidden, strict=True):
                answers[index] = {
                    "ids": ids[index],
                    "last": head(states[-1]).tolist(),
                    "steps": head(states[row == step_token]).tolist(),
                }
    return answers


def main():
    torch.set_num_threads(1)  # more would fight the server for the cores, and lose
    actions = {"make": make, "score": score}
    for line in sys.stdin:
        ((action, arguments),) = json.loads(line).items()
        print(json.dumps(actions[action](**arguments)), flush=True)


if __name__ == "__main__":
    main()
