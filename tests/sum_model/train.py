"""Train the reward model that `reward_client.testing` serves: is the sum in the answer right?

To repeat it (needs torch and transformers, which the package itself never does)::

    python tests/sum_model/train.py --seed 8967 --output reward_client/testing/model \\
        --pairs reward_client/testing/pairs.jsonl

Then `reference.py` writes the reference values of the tests anew. Another torch or another number
of threads rounds otherwise and ends in other weights.

What it makes: a `LlamaForSequenceClassification` with one label, in float16, with its tokenizer
(byte-level BPE, every digit one token) and chat template, and 200 chosen/rejected pairs.

The task: the user asks for a sum of two numbers of two digits, the assistant answers.
Chosen answers are right; rejected ones are off by a little, by a ten, by one digit, have two
digits swapped or a carry dropped. Training minimises the Bradley-Terry loss over all pairings of a
right and a wrong answer in a batch (own prompt and other prompts, so that scores of different
prompts can be compared), plus a small next-token loss on right answers, to teach the adding itself;
its output layer is the embedding, so that nothing of it is left over.

Held out: the sums themselves. A pair of operands {a, b} is held out, in both orders, when a CRC of
"min,max" falls in the first tenth; the shipped pairs are drawn from those operands only, the
training data from the others only.

Measured with seed 8967 and the defaults (torch 2.13 on two busy cores, 13 minutes): the chosen
answer scores higher in 97.5 % of the 200 shipped pairs, with the float16 weights, and in 97.8 % of
500 more held-out pairs; raw scores from -7.1 to 5.8, on average 4.2 for chosen and -5.0 for
rejected answers. Other numbers of digits and other phrasings were never trained: their scores mean
little.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
import zlib
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

BOS, EOS, PAD = "<|bos|>", "<|end|>", "<|pad|>"
SPECIALS = [PAD, BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
VOCABULARY = 384
CHUNK = 64

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- if tools %}
    {{- '<|system|>Tools: ' + (tools | tojson) + '<|end|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('Unknown role: ' + message['role']) }}
    {%- endif %}
    {{- '<|' + message['role'] + '|>' + (message['content'] or '') | trim + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}
"""

QUESTIONS = [
    "What is {a} + {b}?",
    "{a} + {b} = ?",
    "Add {a} and {b}.",
    "How much is {a} plus {b}?",
]
ANSWERS = ["{s}", "{s}.", "It is {s}.", "The answer is {s}.", "{a} + {b} = {s}"]
SYSTEM = "You are a careful calculator."
# More words for the tokenizer, so that other short texts become few tokens, too.
MORE_TEXT = [
    "Compute the sum of",
    "Please calculate",
    "I have 3 apples and get 4 more. How many?",
    "plus makes",
    "That gives the sum!",
    "You are a helpful assistant.",
    "Answer with the sum.",
]

Message = dict[str, str]
Pair = tuple[list[Message], list[Message]]


def held_out(a: int, b: int) -> bool:
    """Whether this pair of operands is kept from training, in both orders."""
    return zlib.crc32(f"{min(a, b)},{max(a, b)}".encode()) % 10 == 0


def operands(rng: random.Random, *, shipped: bool) -> tuple[int, int]:
    """Two numbers of two digits, from the held-out or from the training part."""
    while True:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        if held_out(a, b) == shipped:
            return a, b


def wrong_sum(rng: random.Random, a: int, b: int) -> int:
    """A wrong result of the kind a pupil, or a language model, would write."""
    right = a + b
    while True:
        kind = rng.randrange(5)
        digits = list(str(right))
        if kind == 0:
            wrong = right + rng.choice([-3, -2, -1, 1, 2, 3])
        elif kind == 1:
            wrong = right + rng.choice([-20, -10, 10, 20])
        elif kind == 2:
            digits[rng.randrange(len(digits))] = str(rng.randrange(10))
            wrong = int("".join(digits))
        elif kind == 3:
            wrong = int("".join(reversed(digits)))
        else:  # the carry from the ones dropped
            wrong = right - 10 if a % 10 + b % 10 > 9 else right + 10
        if wrong != right and wrong > 0:
            return wrong


def make_pair(rng: random.Random, *, shipped: bool) -> Pair:
    """One prompt with a right and a wrong answer; half of the time phrased differently."""
    a, b = operands(rng, shipped=shipped)
    prompt: list[Message] = []
    if rng.random() < 0.1:
        prompt.append({"role": "system", "content": SYSTEM})
    prompt.append({"role": "user", "content": rng.choice(QUESTIONS).format(a=a, b=b)})
    phrase = rng.choice(ANSWERS)
    other = phrase if rng.random() < 0.5 else rng.choice(ANSWERS)
    right = {"role": "assistant", "content": phrase.format(a=a, b=b, s=a + b)}
    wrong = {"role": "assistant", "content": other.format(a=a, b=b, s=wrong_sum(rng, a, b))}
    return [*prompt, right], [*prompt, wrong]


def build_tokenizer(output: Path) -> None:
    """A byte-level BPE with single digits, trained on the phrasings; BOS by the post-processor."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*QUESTIONS, *ANSWERS, SYSTEM, *MORE_TEXT] * 9, trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos)]
    )
    tokenizer.save(str(output / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Without this, transformers adds token_type_ids, which vLLM 0.12 to 0.20 dies of.
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(settings, indent=1)
    (output / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def build_model(tokenizer: Tokenizer) -> LlamaForSequenceClassification:
    """About 0.64 million parameters: 1.3 MB in float16.

    The embeddings of the digits begin on circles of every period up to ten, which is how networks
    come to represent digits that they add; starting there is to save training.
    """
    model = LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=1024,
            num_labels=1,
            pad_token_id=tokenizer.token_to_id(PAD),
            bos_token_id=tokenizer.token_to_id(BOS),
            eos_token_id=tokenizer.token_to_id(EOS),
        )
    )
    with torch.no_grad():
        for digit in range(10):
            row = model.model.embed_tokens.weight[tokenizer.token_to_id(str(digit))]
            for turns in range(1, 6):
                angle = 2 * math.pi * turns * digit / 10
                row[2 * turns - 2] = 0.05 * math.cos(angle)
                row[2 * turns - 1] = 0.05 * math.sin(angle)
            row[10] = 0.02 * (digit - 4.5)
    return model


class Batches:
    """Turns conversations into token IDs, and those into scores."""

    def __init__(self, tokenizer: Tokenizer, model: LlamaForSequenceClassification) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.assistant = tokenizer.token_to_id("<|assistant|>")

    def ids(self, conversation: list[Message]) -> list[int]:
        text = BOS + "".join(f"<|{m['role']}|>{m['content']}{EOS}" for m in conversation)
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def scores(self, conversations: list[list[Message]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The raw scores, and each conversation's next-token loss over its last answer.

        Conversations of like length are computed together. Right padding needs no mask in a causal
        model.
        """
        rows = [self.ids(c) for c in conversations]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        values: list[torch.Tensor] = []
        epoch: list[torch.Tensor] = []
        for start in range(0, len(rows), CHUNK):
            chosen = [rows[i] for i in order[start : start + CHUNK]]
            last = torch.tensor([len(row) - 1 for row in chosen])
            ids = torch.zeros(len(chosen), int(last.max()) + 1, dtype=torch.long)
            for row, target in zip(chosen, ids, strict=True):
                target[: len(row)] = torch.tensor(row)
            hidden = self.model.model(input_ids=ids).last_hidden_state
            values.append(self.model.score(hidden[torch.arange(len(ids)), last]).squeeze(-1))
            logits = hidden[:, :-1] @ self.model.model.embed_tokens.weight.T
            loss = functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none")
            answer = (ids == self.assistant).cumsum(1).bool()[:, :-1] & (ids[:, 1:] != 0)
            epoch.append((loss * answer).sum(1) / answer.sum(1))
        back = torch.tensor(order).argsort()
        return torch.cat(values)[back], torch.cat(epoch)[back]


def accuracy(batches: Batches, pairs: list[Pair]) -> tuple[float, torch.Tensor]:
    with torch.no_grad():
        values = batches.scores([c for pair in pairs for c in pair])[0].view(-1, 2)
    return float((values[:, 0] > values[:, 1]).float().mean()), values


def train(batches: Batches, options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    check_rng = random.Random(options.seed + 1)
    check = [make_pair(check_rng, shipped=True) for _ in range(500)]
    parameters = list(batches.model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=0.05)
    started = time.monotonic()
    for step in range(options.steps):
        warm = min(1.0, (step + 1) / 100)
        cosine = 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * warm * (0.02 + 0.98 * cosine)
        pairs = [make_pair(rng, shipped=False) for _ in range(options.batch)]
        values, epoch = batches.scores([p[0] for p in pairs] + [p[1] for p in pairs])
        chosen, rejected = values[: options.batch], values[options.batch :]
        preference = functional.softplus(-(chosen[:, None] - rejected[None, :])).mean()
        centre = values.mean().square()
        language = epoch[: options.batch].mean()
        loss = preference + 0.01 * centre + 0.5 * language
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0 or step + 1 == options.steps:
            rate, spread = accuracy(batches, check)
            print(
                f"step {step} {time.monotonic() - started:.0f}s preference {preference:.4f} "
                f"language {language:.4f} held-out accuracy {rate:.3f} "
                f"scores {spread.min():.1f}..{spread.max():.1f}",
                flush=True,
            )


def save(model: LlamaForSequenceClassification, output: Path) -> None:
    model.half().save_pretrained(output)
    path = output / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # transformers 5 writes rope_parameters only; older readers want the plain key.
    config["rope_theta"] = 10000.0
    config["torch_dtype"] = "float16"
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=8967)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=96, help="pairs per step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    build_tokenizer(options.output)
    tokenizer = Tokenizer.from_file(str(options.output / "tokenizer.json"))
    model = build_model(tokenizer)
    batches = Batches(tokenizer, model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(batches, options)

    shipped_rng = random.Random(options.seed + 2)
    shipped = [make_pair(shipped_rng, shipped=True) for _ in range(200)]
    rows = [json.dumps({"chosen": chosen, "rejected": rejected}) for chosen, rejected in shipped]
    options.pairs.write_text("\n".join(rows) + "\n", encoding="utf-8")
    save(model, options.output)
    again = LlamaForSequenceClassification.from_pretrained(options.output, dtype=torch.float32)
    rate, values = accuracy(Batches(tokenizer, again), shipped)
    print(f"shipped pairs, float16 weights: accuracy {rate:.3f}, "
          f"chosen {values[:, 0].mean():.2f}, rejected {values[:, 1].mean():.2f}, "
          f"scores {values.min():.2f}..{values.max():.2f}")  # fmt: skip
    loaded = AutoTokenizer.from_pretrained(options.output)
    for chosen, _ in shipped:
        if loaded.apply_chat_template(chosen, return_dict=False) != batches.ids(chosen):
            raise SystemExit("the chat template and the training data disagree")


if __name__ == "__main__":
    main()
