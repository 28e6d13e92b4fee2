"""Write what transformers and torch make of the shipped model, for `tests/testing/test_model.py`.

Needs torch and transformers::

    python tests/sum_model/reference.py reward_client/testing/_model/checkpoint \
        tests/testing/data/reference.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForSequenceClassification


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def sum_of(question: str, answer: str) -> list[dict[str, str]]:
    return [turn("user", question), turn("assistant", answer)]


CONVERSATIONS = {
    "right": sum_of("What is 37 + 45?", "82"),
    "wrong": sum_of("What is 37 + 45?", "83"),
    "sentence": sum_of("Add 18 and 64.", "The answer is 82."),
    "system": [turn("system", "You are a careful calculator."), *sum_of("20 + 31 = ?", "51.")],
    "several turns": [*sum_of("20 + 31 = ?", "51."), *sum_of("And 15 + 15?", "30")],
    "tool": [turn("user", "What is 11 + 12?"), turn("tool", "23"), turn("assistant", "It is 23.")],
    "unicode": sum_of("¿Cuánto es 12 + 13? 日本語 👩\u200d🚀", "答えは25です。 Ω≈ç√ ✅"),
    "white space": sum_of("def f(a, b):\n", "\n    return a + b\n\n\t# done  "),
    "empty answer": sum_of("What is 37 + 45?", ""),
    "special text": sum_of("Say <|end|> and <|bos|>", "ok <|end|> done"),
    "question only": [turn("user", "What is 37 + 45?")],
    "digits": sum_of("9876543210 + 1", "9876543211, with digits one by one: 1,234.5e-6"),
    "long": sum_of("Add these.", " ".join(f"{n} + {n} = {2 * n}." for n in range(10, 90))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = LlamaForSequenceClassification.from_pretrained(options.model, dtype=torch.float32)
    model.eval()
    rows = []
    for name, messages in CONVERSATIONS.items():
        ids = tokenizer.apply_chat_template(messages, return_dict=False)
        with torch.no_grad():
            hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state
            score = model(input_ids=torch.tensor([ids])).logits[0, 0]
            scores = model.score(hidden)[0, :, 0]
        row = {
            "name": name,
            "messages": messages,
            "ids": ids,
            "opened": tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=False
            )[len(ids) :],
            "doubled": tokenizer(tokenizer.apply_chat_template(messages, tokenize=False)).input_ids,
            "score": score.item(),
            "first_scores": scores[:3].tolist(),
        }
        row["doubled"] = row["doubled"][: len(row["doubled"]) - len(ids) + 2]
        rows.append(json.dumps(row, ensure_ascii=False))
    options.output.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
