"""What no medicine at all scores: answers made without reading, sent through the same parser and scorer as everyone's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limbeck.records import Answer, Candidate, Example


def _all_correct(_: Example) -> str:
    return "CORRECT"


def _all_error(example: Example) -> str:
    return f"0 {example.meta['sentences'][0]}"


def _last_sentence(example: Example) -> str:
    last = len(example.meta["sentences"]) - 1
    return f"{last} {example.meta['sentences'][last]}"


def _copy(example: Example) -> str:
    """Flag and place from the gold, and the wrong sentence as it stands."""
    return f"{example.meta['sentence_id']} {' '.join(example.meta['error_sentence'].split())}" if example.meta["has_error"] else "CORRECT"


FLOORS: dict[str, Callable[[Example], str]] = {
    "all-correct": _all_correct,
    "all-error": _all_error,
    "last-sentence": _last_sentence,
    "copy": _copy,
}


def floor_answers(name: str, examples: Sequence[Example]) -> list[Answer]:
    """The answers of one floor, in the order of the examples."""
    return [Answer(prompt_id=e.prompt.id, candidates=(Candidate(text=FLOORS[name](e)),)) for e in examples]
