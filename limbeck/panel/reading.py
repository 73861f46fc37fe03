"""What a panel needs of a task to read answers: when two come to the same, and whether one can be right at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt

NONSENSE = ("", "zxqv 7 )( ;; unto the", "lorem ipsum dolor sit amet", "}{ <<< ??", "I would rather not say.")
MOST_PLANTED = 0.95  # a verifier that passes more of these says yes to anything
TRIED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`key`: what an answer comes to (equal keys: the same answer; None: it cannot be read). `passes`: the task's verifier, None where it has none.

    `pose`: a request as it is put to who reads text.
    """

    key: Callable[[Prompt, str], Hashable]
    passes: Callable[[Prompt, str], bool] | None = None
    pose: Callable[[Prompt], Prompt] = lambda prompt: prompt


def try_verifier(task: str, examples: Sequence[Example], passes: Callable[[Prompt, str], bool]) -> dict[str, int]:
    """Wrong answers are planted: answers to other requests, and nonsense. How many of each pass; raises LimbeckError where all do.

    A verifier that refuses nonsense but passes answers to other requests looks at their form alone: that is counted, not refused.
    """
    tried = [e for e in examples if e.gold][:TRIED]
    others = [(e, o.gold[0]) for e, o in zip(tried, [*tried[1:], *tried[:1]], strict=True) if o.gold[0] not in e.gold]
    wrong = sum(passes(e.prompt, text) for e, text in others)
    odd = [(e, text) for e in tried for text in NONSENSE[1:]]
    nonsense = sum(passes(e.prompt, text) for e, text in odd)
    if tried and nonsense >= MOST_PLANTED * len(odd) and wrong >= MOST_PLANTED * len(others):
        raise LimbeckError(f"the verifier says yes to everything: it passes {wrong} of {len(others)} answers to other requests and {nonsense} of {len(odd)} pieces of nonsense", f"task {task!r}", "mend its verify, or take kind = \"vote\"")
    return {"others_passed": wrong, "others": len(others), "nonsense_passed": nonsense, "nonsense": len(odd)}
