"""Scores of a Bash command against gold ones. Each takes texts that need not be valid Bash."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from limbeck.tasks.bash.tokens import Call, Token, list_calls, tokenise


def command_match_score(golds: Sequence[str], command: str) -> float:
    """Cosine of the counts of utilities, flags and operators; the best over the golds (NL2Bash, Lin et al., 2018)."""
    counts = count_content(tokenise(command))
    return max((cosine(count_content(tokenise(gold)), counts) for gold in golds), default=0.0)


def count_content(tokens: Sequence[Token]) -> Counter[str]:
    """How often each token that is no argument occurs."""
    return Counter(t.text for t in tokens if t.role != "argument")


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """Cosine of two count vectors; 0 where one is empty."""
    norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return sum(v * b[k] for k, v in a.items()) / norm if norm else 0.0


def template_of(tokens: Sequence[Token]) -> tuple[str, ...]:
    """A command with the values of its arguments left out."""
    return tuple(t.type if t.role in ("argument", "flag") else t.text for t in tokens)


def is_same_template(golds: Sequence[str], command: str) -> bool:
    """Whether a command equals a gold one but for the values of arguments."""
    found = template_of(tokenise(command))
    return bool(found) and any(template_of(tokenise(g)) == found for g in golds)


def is_same_command(golds: Sequence[str], command: str) -> bool:
    """Whether a command equals a gold one but for spaces and the way flags are joined."""
    found = _plain(tokenise(command))
    return bool(found) and any(_plain(tokenise(gold)) == found for gold in golds)


def _plain(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    return [(t.role, t.type if t.role == "flag" else t.text) for t in tokens]


def nlc2cmd_score(golds: Sequence[str], command: str) -> float:
    """The measure of the NLC2CMD competition at confidence 1, in [-1, 1]; the best over the golds."""
    calls = list_calls(command)
    return max((compare_calls(list_calls(gold), calls) for gold in golds), default=-1.0)


def compare_calls(gold: Sequence[Call], found: Sequence[Call]) -> float:
    """Utilities place by place: 1 and the agreement of flags, halved, where they are equal; -1 where they are not."""
    length = max(len(gold), len(found))
    if not length:
        return 0.0
    total = 0.0
    for at in range(length):
        if at >= len(gold) or at >= len(found) or gold[at].utility != found[at].utility:
            total -= 1.0
            continue
        a, b = gold[at].flags, found[at].flags
        flags = (2 * len(a & b) - len(a | b)) / max(len(a), len(b)) if a or b else 1.0
        total += (1.0 + flags) / 2
    return total / length


def char_bleu(golds: Sequence[str], command: str) -> float:
    """BLEU-4 over characters, unsmoothed, with the closest reference length (as NLTK's sentence_bleu on strings)."""
    if not command or not golds:
        return 0.0
    logs = 0.0
    for n in range(1, 5):
        grams = Counter(command[i : i + n] for i in range(len(command) - n + 1))
        best: Counter[str] = Counter()
        for gold in golds:
            best |= Counter(gold[i : i + n] for i in range(len(gold) - n + 1))
        hits = sum(min(count, best[gram]) for gram, count in grams.items())
        if not hits:
            return 0.0
        logs += math.log(hits / max(1, sum(grams.values()))) / 4
    closest = min((abs(len(g) - len(command)), len(g)) for g in golds)[1]
    return math.exp(logs) * (1.0 if len(command) > closest else math.exp(1 - closest / len(command)))
