"""The roles of a conversation."""

from __future__ import annotations

import pytest

from reward_client import InputError
from reward_client._base.turns import check_roles

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


@pytest.mark.parametrize(
    ("role", "usual"),
    [
        ("human", "user"),
        ("Human", "user"),
        ("prompter", "user"),
        ("instruction", "user"),
        ("usr", "user"),
        ("gpt", "assistant"),
        ("GPT", "assistant"),
        ("ai", "assistant"),
        ("bot", "assistant"),
        ("model", "assistant"),
        ("llm", "assistant"),
        ("response", "assistant"),
        ("assisstant", "assistant"),
        ("asistant", "assistant"),
        ("User", "user"),
        ("ASSISTANT", "assistant"),
        (" system", "system"),
        ("sytem", "system"),
    ],
)
def test_a_role_under_another_name(role: str, usual: str) -> None:
    with pytest.raises(InputError) as caught:
        check_roles([TURNS[0], {"role": role, "content": "4"}])
    assert f"Message 1 has the role {role!r}" in str(caught.value)
    assert f'Write "role": "{usual}"' in str(caught.value)


@pytest.mark.parametrize("role", ["", "zebra", "response_1", "критик", "zebra " * 20])
def test_a_role_like_no_other(role: str) -> None:
    with pytest.raises(
        InputError, match=r"Write (a role such as|\"role\": \"assistant\")"
    ) as caught:
        check_roles([{"role": role, "content": "4"}])
    assert "FormattedText(text)" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "role", ["system", "developer", "user", "assistant", "tool", "function", "ipython", "judge"]
)
def test_roles_of_chat_templates(role: str) -> None:
    check_roles([{"role": role, "content": "4"}], ("judge",))
