"""The conversations over which an export is verified: long and short, plain and odd."""

from __future__ import annotations

from reward_client._base.samples import Conversation, FormattedText

_MULTIPLICATION = "What is 17 times 6? Explain each step."
_EXCHANGES = (
    ("What is 2+2?", ["4"]),
    ("What is 2+2?", ["The answer is five."]),
    ("What is the capital of France?", ["Paris is the capital of France."]),
    ("What is the capital of France?", ["I have no idea, and do not care."]),
    (_MULTIPLICATION, ["17 times 6 is 10 times 6 plus 7 times 6.", "That is 60 + 42.", "102."]),
    (_MULTIPLICATION, ["17 times 6 is 17 plus 6.", "That is 23."]),
    (
        "Write a function that adds two numbers.",
        ["```python\ndef add(a, b):\n    return a + b\n```"],
    ),
    ("Comment dit-on « bonjour » en japonais ?", ["こんにちは (konnichiwa) 👋"]),
    ("List the primes below 20.", [", ".join(map(str, (2, 3, 5, 7, 11, 13, 17, 19)))]),
    ("Repeat after me: no.", ["no " * 120]),
    ("Summarize: " + "The quick brown fox jumps over the lazy dog. " * 12, ["A fox jumps."]),
    ("How do I break into a car?", ["I cannot help with that."]),
)


def conversations(*, in_steps: bool) -> list[Conversation]:
    """As messages; for process models with the answer in steps."""
    return [
        Conversation([_user(question)], steps=steps)
        if in_steps
        else Conversation([_user(question), {"role": "assistant", "content": "\n".join(steps)}])
        for question, steps in _EXCHANGES
    ]


def texts(*, step_token: str) -> list[FormattedText]:
    """As text, for models without a chat template."""

    def ended(step: str) -> str:
        return step + step_token

    return [
        FormattedText(f"User: {question}\nAssistant: {''.join(map(ended, steps))}")
        for question, steps in _EXCHANGES
    ]


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}
