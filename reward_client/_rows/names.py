"""The names of the columns that samples are made of, with data sets that have them.

The names come from the Hugging Face hub's preference, chat, instruction and process sets, and of
TRL 1.16 ("Dataset formats and types") and LLaMA-Factory 0.9.5 (`data/README.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CONVERSATION = ("messages", "conversations", "conversation", "dialogue", "dialog")
"""Whole conversations: the OpenAI form, ShareGPT (`from`, `value`), LMSYS."""

PROMPT = ("prompt", "question", "query", "problem", "input", "conversation_input")
"""A prompt: text of one user turn, or turns. RMB has conversation_input."""

INSTRUCTION, INPUT = "instruction", "input"
"""Alpaca: LLaMA-Factory puts the input below the instruction, in one user turn."""

CONTEXT = ("context", "history")
"""Earlier turns (HelpSteer3, LLaMA-Factory), or the text of a prompt (SHP)."""

RESPONSE = ("response", "completion", "output", "generation")
"""One response to the prompt."""

ANSWER = "answer"
"""A response if the row has no other one; else the reference, which nothing scores."""

RESPONSES = ("responses", "completions", "candidates", "generations", "outputs", "answers")
"""Several responses to the prompt. Nectar has answers, UltraFeedback completions of objects."""

CHOSEN = ("chosen", "chosen_response", "bon_best")
REJECTED = ("rejected", "rejected_response", "reject", "loser_list")
"""The sides of a preference. RMB has reject, and bon_best with loser_list."""

STEPS, COMPLETIONS, LABELS = "steps", "completions", "labels"
"""ProcessBench: problem, steps. TRL's stepwise sets: prompt, completions, labels of each."""

NUMBERED_PROMPT, NUMBERED_STEPS = "modified_question", "modified_process"
"""PRMBench: the prompt, and steps with their numbers. Beside them, it has the original ones."""

ID, TEXT, TOKEN_IDS = "id", "text", "token_ids"
SYSTEM = ("system", "system_prompt", "system_message")
TOOLS, TEMPLATE_ARGUMENTS = "tools", "chat_template_kwargs"
IMAGES = ("images", "image")

# PKU-SafeRLHF: response_0. JudgeBench: response_A. HelpSteer3: response1. WebGPT: answer_0. SHP:
# human_ref_A. PPE: response_1 to response_32. LMSYS: conversation_a.
_COMPARED = re.compile(
    r"(response|answer|output|completion|generation|candidate|human_ref|conversation)_?([a-zA-Z]|\d+)"
)

SAMPLES = frozenset(
    (
        *(*CONVERSATION, *PROMPT, INSTRUCTION, *RESPONSE, *RESPONSES, *CHOSEN, *REJECTED, STEPS),
        *(TEXT, TOKEN_IDS),
    )
)
"""The columns that forms consist of."""

READ = SAMPLES | {*SYSTEM, TOOLS, TEMPLATE_ARGUMENTS, *IMAGES}


def compared(names: Iterable[str]) -> list[list[str]]:
    """Return groups of columns of compared responses, such as response_a and response_b.

    Returns:
        Each group has two or more names that differ in their last letter or number only.
    """
    stems: dict[str, list[str]] = {}
    for name in names:
        if found := _COMPARED.fullmatch(name):
            stems.setdefault(found[1], []).append(name)
    return [group for group in stems.values() if len(group) > 1]
