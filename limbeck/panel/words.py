"""What an aggregator and debaters are told, beside the request itself."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.records import Prompt

SUM = """Several assistants were given the same request. Their answers stand below. None of them is known to be right, and several may share one mistake.

Request:
{request}

{answers}

Check each answer against the request, keep what holds, drop what does not, and write the one answer that you stand behind. Answer the request itself, in the form it asks for; do not speak of the assistants."""

DEBATE = """{request}

You answered:
{own}

Somebody else, given the same request, answered:
{other}

Look for the mistake in either. If yours holds, give it again; if the other one is better, give that. Answer in the form the request asks for, with nothing about this exchange."""


def _request(prompt: Prompt) -> str:
    """A posed request as one text: the last message where it has messages."""
    messages = prompt.context.get("messages")
    return str(messages[-1]["content"]) if messages else prompt.text


def sum_prompt(posed: Prompt, answers: Sequence[str]) -> Prompt:
    """What the aggregator reads: the request, and the answers by number."""
    listed = "\n\n".join(f"Answer {n}:\n{text.strip()}" for n, text in enumerate(answers, 1))
    return Prompt(id=posed.id, text=SUM.format(request=_request(posed), answers=listed))


def debate_prompt(posed: Prompt, own: str, other: str) -> Prompt:
    """What one of two reads after both have answered."""
    return Prompt(id=posed.id, text=DEBATE.format(request=_request(posed), own=own.strip(), other=other.strip()))
