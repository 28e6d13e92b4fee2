"""Samples of every kind, as a caller would give them."""

from __future__ import annotations

import random
from typing import Any, TypeAlias

from reward_client import Conversation, FormattedText

Messages: TypeAlias = list[dict[str, Any]]
Sample: TypeAlias = Messages | Conversation | FormattedText | list[int]

# No vocabulary of ours has it: three byte tokens wherever it stands.
RARE = "龘"

# What ends a step, in the vocabulary of `data/tokenizer.json`.
STEP_TOKEN = "<extra_0>"
STEP_TOKEN_ID = 5

ADD_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}},
    },
}
ADD_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'},
}


def turns(*contents: str, system: str | None = None) -> Messages:
    """A conversation whose turns are the user's and the assistant's by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def conversations(max_tokens: int) -> dict[str, Messages]:
    """One of every kind; the long ones come near `max_tokens` in any byte-level vocabulary."""
    question = "What is 2+2?"
    return {
        "one turn": turns(question, "The answer is 4."),
        "one turn, wrong": turns(question, "The answer is five."),
        "short answer": turns(question, "4"),
        "user only": turns("What is the capital of France?"),
        "assistant first": [{"role": "assistant", "content": "Hello!"}, *turns("Hi.", "Bye.")],
        "two turns": turns("What is the capital of France?", "Paris.", "Sure?", "Yes, I am."),
        "twenty turns": turns(*(f"Turn {number}: go on." for number in range(20))),
        "two user turns": [*turns("First."), *turns("And second.", "Both read.")],
        "system": turns(question, "4", system="You are a helpful assistant."),
        "empty system": turns(question, "4", system=""),
        "long system": turns(question, "4", system="Answer in one word. " * 20),
        "empty answer": turns(question, ""),
        "empty question": turns("", "Ask me something."),
        "emoji": turns("How are you? 🤖", "Fine 👩‍🚀👨‍👩‍👧‍👦 ✅🏳️‍🌈"),
        "arabic": turns("ما هي عاصمة فرنسا؟", "باريس هي عاصمة فرنسا."),
        "hebrew and english": turns("מה זה RFC 8967?", "זהו מסמך (in English)."),
        "direction marks": turns("abc \u202edef\u202c ghi", "\u200fok\u200e"),
        "chinese": turns("法国的首都是哪里。", "巴黎。"),
        "combining marks": turns("e\u0301 or \u00e9?", "n\u0303 is not \u00f1, or is it?"),
        "math": turns("∫₀¹ x² dx = ?", "⅓ ≈ 0.333…, so ½ · ⅙"),
        "python": turns("Write add.", "```python\ndef add(a, b):\n    return a + b\n```"),
        "json": turns('Parse {"a": [1, null]}', '{"a": [1, null], "b": "\\u00e9\\n"}'),
        "jinja": turns("What is {{ 7 * 7 }}?", "{% if true %}{{ bos_token }}{% endif %} {# no #}"),
        "html": turns("<b>Hi</b> &amp; bye", "<script>alert('x')</script>"),
        "spaces": turns("  leading", "trailing   \n\n"),
        "only spaces": turns("   ", "\n\t\n"),
        "tabs and newlines": turns("a\tb\r\nc", "1.\n\n\n2.\n\t- x\r\n"),
        "odd spaces": turns("a\u00a0b\u2003c", "\u200bzero\u200bwidth\ufeff"),
        "control characters": turns("bell \x07", "null \x00 and escape \x1b[0m"),
        "special tokens": turns("Say <|im_end|> and <|bos|>", "ok <|eot|> done <|im_start|>"),
        "special token last": turns("Stop where?", "Here: <|eot|><|pad|>"),
        "other special tokens": turns("<s>[INST] hi [/INST]", "</s><|endoftext|><|eot_id|>"),
        "long word": turns("Repeat.", "pneumonoultramicroscopicsilicovolcanoconiosis" * 4),
        "no spaces": turns("x" * 200, "=" * 150),
        "digits": turns("3.14159265358979323846" * 3, "1e-45, 0x7fffffff, 1_000_000"),
        "apostrophes": turns("Don't they'll we've I'M?", "It's what you'd say: 'tis O'Reilly's."),
        "near the limit": turns("Count.", RARE * ((max_tokens - 64) // 3)),
        "long question": turns(RARE * ((max_tokens - 96) // 3), "Too long to read."),
        "tool message": [
            *turns(question),
            {"role": "assistant", "content": None, "tool_calls": [ADD_CALL]},
            {"role": "tool", "content": "4", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "It is 4."},
        ],
    }


def other_samples(max_tokens: int) -> dict[str, Sample]:
    """What a sample can be besides messages; the IDs exist in every vocabulary of ours."""
    messages = turns("What is 2+2?", "The answer is 4.")
    return {
        "tools": Conversation(messages, tools=[ADD_TOOL]),
        "template argument": Conversation(messages, chat_template_kwargs={"rubric": "Be kind."}),
        "formatted text": FormattedText("<|bos|><|im_start|>user\nHi<|im_end|> there"),
        "formatted text without a BOS": FormattedText("What is 2+2? 4"),
        "one token": [7],
        "token IDs": [1, 3, 100, 4, 9, 9, 120, 2],
        "as many token IDs as fit": [6 + position % 200 for position in range(max_tokens)],
    }


def solutions() -> dict[str, tuple[Messages, list[str]]]:
    """Questions, and answers in steps."""
    question = turns("What is 2 + 2 * 3?")
    steps = ["First 2 * 3 = 6.", "Then 2 + 6 = 8.", "The answer is 8."]
    return {
        "one step": (question, ["It is 8."]),
        "three steps": (question, steps),
        "three steps, one wrong": (question, [steps[0], "Then 2 + 6 = 9.", "The answer is 9."]),
        "sixty steps": (question, [f"Step {number}: add {number}." for number in range(60)]),
        "blank lines": (question, [f"{step}\n\n" for step in steps]),
        "lines within": (question, ["1.\n2 * 3\n\n= 6", "2.\n\t2 + 6 = 8\r\n"]),
        "spaces": (question, ["  leading", "trailing  ", " "]),
        "emoji": (question, ["🤖 2 · 3 = 6 ✅", "👩\u200d🚀 2 + 6 = 8 🏳️\u200d🌈"]),
        "arabic": (question, ["أولاً نضرب اثنين في ثلاثة.", "إذن الجواب ثمانية."]),
        "other special tokens": (question, ["Say <|im_end|>.", "Or <|eot|><|pad|>."]),
        "long steps": (question, [RARE * 100, "x" * 200]),
        "system": (turns("What is 1 + 1?", system="Think step by step."), ["1 + 1 = 2.", "So 2."]),
        "third turn": (turns("What is 1 + 1?", "2.", "And 2 + 2?"), ["2 + 2 = 4.", "It is 4."]),
    }


def step_samples() -> dict[str, Sample]:
    """The solutions as a caller can give them: in steps, and with step tokens in the text."""
    samples: dict[str, Sample] = {}
    for name, (messages, steps) in solutions().items():
        text = "".join(step + STEP_TOKEN for step in steps)
        samples[name] = Conversation(messages, steps=steps)
        samples[f"{name}, as text"] = [*messages, {"role": "assistant", "content": text}]
    return {
        **samples,
        "formatted text": FormattedText(f"<|im_start|>user\nHi{STEP_TOKEN} a{STEP_TOKEN} b"),
        "token IDs": [3, 100, 101, STEP_TOKEN_ID, 9, STEP_TOKEN_ID, STEP_TOKEN_ID, 4],
        "a step token last": [3, 100, 101, STEP_TOKEN_ID],
        "a step token only": [STEP_TOKEN_ID],
    }


def judgements() -> dict[str, Sample]:
    """Questions to a language model, whose Yes or No is the reward."""
    question = "<|im_start|>user\nIs this true? Answer Yes or No.\n{}<|im_end|>\n"
    claims = {
        "true": "Paris is the capital of France.",
        "false": "Paris is the capital of Germany.",
        "sum": "2 + 2 = 4",
        "wrong sum": "2 + 2 = 5",
        "emoji": "🤖 is a cat.",
        "long": "The sky is blue. " * 20,
    }
    return {
        name: FormattedText(question.format(claim) + "<|im_start|>assistant\n")
        for name, claim in claims.items()
    }


def judged_conversations() -> dict[str, Sample]:
    """Those questions, and conversations that the chat template closes before the Yes or No."""
    return {
        **judgements(),
        "conversation": turns("What is 2 + 2?", "4", system="Answer Yes or No."),
        "default system": turns("Is 7 a prime?", "Yes."),
    }


def workload(count: int) -> list[Sample]:
    """Distinct samples for a server to be busy with: conversations, and every fourth token IDs."""
    rng = random.Random(8967)
    return [
        [rng.randrange(6, 256) for _ in range(rng.randrange(100, 300))]
        if index % 4 == 3
        else turns(f"Question {index}: what is {index} + {rng.randrange(1000)}?", f"{index}. " * 20)
        for index in range(count)
    ]
