"""GSM8K and MGSM: word problems whose answer is one number (Cobbe et al., 2021; Shi et al., 2022)."""

from __future__ import annotations

import json
import re
from typing import Any

from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Candidate, Check, Example, Prompt, content_id
from limbeck.tasks.extract import last_number, strict_number, to_number
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1
MGSM_SHOTS = 8
APART_OF = 20  # one in so many training problems is for dev loss, and another for an examination
ASK = "{question}\n\nWork it out step by step. End with a line that says: The answer is N."
NATIVE = {
    "bn": "ধাপে ধাপে সমাধান করুন। শেষ লাইনে শুধু উত্তরটি সংখ্যায় লিখুন।", "de": "Löse die Aufgabe Schritt für Schritt. Schreibe in die letzte Zeile nur die Antwort als Zahl.",
    "en": "Work it out step by step. On the last line write the answer alone, as a number.", "es": "Resuélvelo paso a paso. En la última línea escribe solo la respuesta, en cifras.",
    "fr": "Résous le problème pas à pas. Sur la dernière ligne, écris seulement la réponse, en chiffres.", "ja": "順を追って解いてください。最後の行には答えの数字だけを書いてください。",
    "ru": "Решите задачу шаг за шагом. В последней строке напишите только ответ числом.", "sw": "Tatua hatua kwa hatua. Kwenye mstari wa mwisho andika jibu pekee kwa tarakimu.",
    "te": "దశలవారీగా పరిష్కరించండి. చివరి వరుసలో సమాధానాన్ని అంకెల్లో మాత్రమే రాయండి.", "th": "แก้โจทย์ทีละขั้นตอน บรรทัดสุดท้ายเขียนเฉพาะคำตอบเป็นตัวเลข",
    "zh": "请逐步解答。最后一行只写答案的数字。",
}  # fmt: skip


class NumberTask(TextTask):
    """The last number of an answer against the gold; `strict` asks for one after ####, as the training solutions have it."""

    measures = ("correct", "strict")

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right where the last number equals the gold to 1e-6."""
        said, marked, gold = last_number(text), strict_number(text), to_number(example.gold[0])
        gold = last_number(example.gold[0]) if gold is None else gold  # a worked solution ends in its answer
        if said is None or gold is None:
            return "no number in the answer"
        return {"correct": float(abs(said - gold) < 1e-6), "strict": float(marked is not None and abs(marked - gold) < 1e-6)}


class Gsm8kTask(NumberTask):
    """1,319 test problems, whose gold is a number, and 7,473 to learn from, whose gold is a worked solution that ends in "The answer is N."

    `shots` training problems with their solutions go before, as earlier turns.
    """

    name = "gsm8k"
    licence = "mit"  # of its training texts
    known_splits = ("test", "train")

    def __init__(self, shots: int = 0) -> None:
        self.shots = shots
        self.version = f"{SCORER_VERSION}-{shots}shot-{content_id(ASK, 6)}"

    def _load(self, split: str) -> list[Example]:
        before = [m for row in self._rows("train")[: self.shots] for m in _turns(row)] if self.shots else []
        return [self._example(number, row, split, before) for number, row in enumerate(self._rows(split))]

    def apart(self, purpose: str) -> list[Example]:
        """Training problems that are not learnt from: for "dev" or for the "examination", a twentieth each by a hash of the question."""
        wanted = ("dev", "examination").index(purpose)
        return [e for e in self._load("train") if int(content_id(["apart", e.prompt.text], 8), 16) % APART_OF == wanted]

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Fit to be judged: not empty. Its outcome is its last number."""
        return Check(ok=bool(candidate.text.strip()), reason="" if candidate.text.strip() else "empty", outcome=last_number(candidate.text))

    def _rows(self, split: str) -> list[dict[str, str]]:
        rows = [json.loads(line) for line in read_source("gsm8k", f"gsm8k/{split}.jsonl").decode().splitlines()]
        if any("#### " not in r.get("answer", "") for r in rows):
            raise LimbeckError("a solution has no '#### '", f"gsm8k/{split}.jsonl", "fetch it again: limbeck data get gsm8k")
        return rows

    def _example(self, number: int, row: dict[str, str], split: str, before: list[dict[str, str]]) -> Example:
        name, text = f"gsm8k-{split}-{number}", ASK.format(question=row["question"])
        context: dict[str, Any] = {"messages": [*before, {"role": "user", "content": text}]} if before else {}
        gold = row["answer"].split("#### ")[-1].strip() if split == "test" else _worked(row)
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=(gold,), source="gsm8k")


def _worked(row: dict[str, str]) -> str:
    reasoning, _, answer = row["answer"].partition("#### ")
    return f"{_plain(reasoning)}The answer is {answer.strip()}."


def _turns(row: dict[str, str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": ASK.format(question=row["question"])}, {"role": "assistant", "content": _worked(row)}]


def _plain(solution: str) -> str:
    """A training solution without its calculator marks <<2*3=6>>."""
    out, rest = "", solution
    while "<<" in rest:
        head, _, tail = rest.partition("<<")
        out, rest = out + head, tail.partition(">>")[2]
    return out + rest


class MgsmTask(NumberTask):
    """250 problems in eleven languages. Row i is one problem in all of them, so errors are clustered by row.

    `shots` (at most eight) of the source's own worked problems, in the language of the question, go before.
    """

    name = "mgsm"
    limit_spreads = True
    known_splits = ("test", *NATIVE)

    def __init__(self, shots: int = 0) -> None:
        if shots > MGSM_SHOTS:
            raise LimbeckError(f"MGSM has {MGSM_SHOTS} worked problems a language, not {shots}", "--shots", f"ask for at most {MGSM_SHOTS}")
        self.shots = shots
        self.version = f"{SCORER_VERSION}-{shots}shot-{content_id(NATIVE, 6)}" if shots else f"{SCORER_VERSION}-{content_id(NATIVE, 6)}"

    def _load(self, split: str) -> list[Example]:
        return [e for language in (NATIVE if split == "test" else (split,)) for e in self._language(language)]

    def _language(self, language: str) -> list[Example]:
        found, before = [], self._worked(language) if self.shots else []
        for number, line in enumerate(read_source("mgsm", f"mgsm/mgsm_{language}.tsv").decode().splitlines()):
            question, _, gold = line.partition("\t")
            name = f"mgsm-{language}-{number}"
            text = f"{question}\n\n{NATIVE[language]}"
            prompt = Prompt(id=name, text=text, context={"messages": [*before, {"role": "user", "content": text}]} if before else {})
            found.append(Example(id=name, prompt=prompt, gold=(gold.strip(),), source="mgsm", meta={"cluster": number, "family": language}))
        return found

    def _worked(self, language: str) -> list[dict[str, str]]:
        """The first worked problems as turns, without the labels ("Question:", "Step-by-step answer:") that stand before them."""
        rows = json.loads(read_source("mgsm-exemplars", "mgsm/exemplars.json"))["MGSM_EXEMPLARS"][language]
        turns = []
        for number in range(1, self.shots + 1):
            question, answer = (re.split(r"[:：]", rows[str(number)][key], maxsplit=1)[1].strip() for key in ("q", "a"))
            turns += [{"role": "user", "content": f"{question}\n\n{NATIVE[language]}"}, {"role": "assistant", "content": answer}]
        return turns
