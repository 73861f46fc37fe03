"""Our readings of answers against lm-evaluation-harness's, on generated and adversarial texts; every kind of disagreement shown.

    PYTHONPATH=. python lab/scorer_parity.py [texts]      needs lm-eval (a development tool, no dependency)
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter, defaultdict

from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter

from limbeck.tasks.extract import choice_letter, last_number, strict_number, to_number

FLEXIBLE = RegexFilter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
STRICT = RegexFilter(r"#### (\-?[0-9\.\,]+)")
IGNORED = [",", r"\$", r"(?s).*#### ", r"\.$"]
SHAPES = [
    "The answer is {n}.", "{n}", "#### {n}", "so {m} + {m} = {n}\n#### {n}", "${n}", "${n}.", "It costs ${n}, that is all.", "**{n}**", "{n} dollars", "= {n}.00", "{n}%", "about {n}...",
    "First {m}, then {n}.", "Answer: {n}\nThat took 3 steps.", "{n}\n\n(Check: {m})", "-{n}", "\\boxed{{{n}}}", "{n} / {m}", "{n}.5", "{m}-{n}", "no number at all", "", "…", "n = {n},", "{n}th", "1/{n}",
    "The answer is {n} .", "$ {n}", "{m}:{n}", "({n})", "{n}!", "#### {m} and #### {n}", "####{n}", "about {n}, or so", "{n}kg", "{n}.", "{n},", "+{n}", "{n}e3",
]  # fmt: skip
LETTERS = [
    "({c})", "{c}", "{c}.", "{c})", "The answer is ({c}).", "The answer is {c}.", "Answer: {c}", "**{c}**", "({c}) because ({d}) is wrong", "({d}) is wrong, so ({c})", "I think {c}", "", "none of them",
    "({c})\n", "Answer: ({c})", "\\boxed{{{c}}}", "A cat sat. ({c})", "{c}: yes", "[{c}]", "the letter {c}",
]  # fmt: skip


def number_texts(count: int) -> list[tuple[str, str]]:
    """(gold, text): half of the texts are right where the shape allows it."""
    draw = random.Random(0)
    out = []
    for _ in range(count):
        gold = str(draw.choice([draw.randint(0, 20), draw.randint(0, 5000), draw.randint(1000, 10**6)]))
        said = gold if draw.random() < 0.6 else str(draw.randint(0, 5000))
        shown = f"{int(said):,}" if draw.random() < 0.4 else said
        out.append((gold, draw.choice(SHAPES).format(n=shown, m=draw.randint(1, 99))))
    return out


def theirs(found: str, gold: str) -> bool:
    """lm-eval's exact_match with GSM8K's ignored patterns."""
    for pattern in IGNORED:
        found, gold = re.sub(pattern, "", found), re.sub(pattern, "", gold)
    return found == gold


def report(name: str, rows: list[tuple[str, object, object]]) -> None:
    """Agreement, and disagreements grouped by the shape of the text."""
    apart = [r for r in rows if r[1] != r[2]]
    print(f"{name}: {len(rows) - len(apart)} of {len(rows)} agree")
    kinds: dict[str, list[tuple[str, object, object]]] = defaultdict(list)
    for row in apart:
        kinds[re.sub(r"\b[A-D]\b", "X", re.sub(r"\d[\d,]*", "N", row[0]))].append(row)
    for kind, found in sorted(kinds.items(), key=lambda k: -len(k[1])):
        print(f"  {len(found):4d} x {kind!r}: e.g. {found[0][0]!r} ours {found[0][1]} theirs {found[0][2]}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    texts = number_texts(count)
    for name, rule, ours in (("GSM8K, flexible", FLEXIBLE, last_number), ("GSM8K, strict", STRICT, strict_number)):
        found = [f[0] if isinstance(f, list) else f for f in rule.apply([[t] for _, t in texts], [{}] * count)]
        mine = [ours(t) for _, t in texts]
        report(name, [(t, m is not None and m == to_number(g), theirs(f, g)) for (g, t), m, f in zip(texts, mine, found, strict=True)])
    draw, letters = random.Random(1), []
    for _ in range(count):
        chosen, other = draw.sample("ABCD", 2)
        letters.append(draw.choice(LETTERS).format(c=chosen, d=other))
    filter_ = MultiChoiceRegexFilter(r"(\([A-D]\))", group_select=0, ignore_case=True, ignore_punctuation=True)
    docs = [{"choices": ["cat", "dog", "cow", "pig"]}] * count
    found = [f[0] if isinstance(f, list) else f for f in filter_.apply([[t] for t in letters], docs)]
    mine = [choice_letter(t) for t in letters]
    rows = [(t, m if isinstance(m, str) else "missing", re.sub(r"[()]", "", f).upper() if f != "[invalid]" else "missing") for t, m, f in zip(letters, mine, found, strict=True)]
    report("a letter (generative MMLU's rule)", rows)
    print("of ours missing:", Counter(m[1] for m in mine if isinstance(m, tuple)))


if __name__ == "__main__":
    main()
