"""How well notes were checked: the official measures, and the ones that show what the official ones hide.

Official (github.com/abachaa/MEDIQA-CORR-2024, evaluation/): A flag and B sentence are accuracies over all notes, a missing answer
is wrong, and B counts -1 = -1. C is the mean over those notes where both the reference and the system give a sentence; Composite
adds 1 for each correct note left alone and divides by all notes. Both are blind to what matters: copying the wrong sentence
unchanged scores well, because a correction shares most of its words with it. Hence `change`, the F1 of the words that were replaced.

Intervals are percentile bootstraps over vignettes: twins, and repeated answers to one note, are drawn together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.records import Example
from limbeck.tasks.medec.parsing import Reading

DRAWS = 2_000
Z = 1.959963984540054
NEURAL = ("bertscore", "bleurt")
ROUNDING = 1.5e-4  # of figures printed to four decimals, and of their mean
Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # (answers, references) -> one number each
Row = dict[str, Any]


def rouge_1(answer: str, reference: str) -> float:
    """ROUGE-1 F over the sets of words, equal to PyPI's `rouge` 1.0.1: parts between full stops, words between spaces.

    A part of white space alone counts as one empty word there, so here too. Differs: an empty answer is 0, not an exception.
    """
    said, wanted = _rouge_words(answer), _rouge_words(reference)
    if not said or not wanted:
        return 0.0
    shared = len(said & wanted)
    precision, recall = shared / len(said), shared / len(wanted)
    return 2.0 * precision * recall / (precision + recall + 1e-8)


def _rouge_words(text: str) -> set[str]:
    return {word for part in text.split(".") if part for word in " ".join(part.split()).split(" ")}


def changed_words(before: str, after: str) -> tuple[list[str], list[str]]:
    """(words taken out, words put in) between two versions of a sentence, without case and punctuation."""
    old, new = _plain_words(before), _plain_words(after)
    out: list[str] = []
    put: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            out += old[a:b]
            put += new[c:d]
    return out, put


def _plain_words(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*|\w+(?:['’-]\w+)*", text.lower())


def change_score(original: str, reference: str, correction: str) -> float:
    """F1 of the words put in, against those that the reference puts in; of the words taken out where it only deletes."""
    out, put = changed_words(original, correction)
    wanted_out, wanted_put = changed_words(original, reference)
    if wanted_put:
        return _overlap(put, wanted_put)
    if wanted_out:
        return 0.0 if put else _overlap(out, wanted_out)
    return float(_plain_words(correction) == _plain_words(reference))  # the reference changes no word


def _overlap(said: Sequence[str], wanted: Sequence[str]) -> float:
    left, shared = list(wanted), 0
    for word in said:
        if word in left:
            left.remove(word)
            shared += 1
    return 2.0 * shared / (len(said) + len(wanted))


def measure(example: Example, reading: Reading) -> dict[str, float]:
    """One answer: flag, sentence, and two values of its correction that every note has.

    `composite` is ROUGE-1 where both give a sentence and `change` the replaced words of the right sentence; for either, a correct
    note left alone is 1, and a correction that is missing or not called for is 0.
    """
    gold = example.meta
    right = {"flag": float(reading.has_error == gold["has_error"]), "sentence": float(reading.sentence_id == gold["sentence_id"])}
    if not gold["has_error"] or not reading.has_error or not reading.correction:
        alone = float(not gold["has_error"] and not (reading.has_error and reading.correction))
        return right | {"composite": alone, "change": float(not gold["has_error"] and not reading.has_error)}
    change = change_score(gold["error_sentence"], gold["correction"], reading.correction) if right["sentence"] else 0.0
    return right | {"composite": rouge_1(reading.correction, gold["correction"]), "change": change}


def summarise(examples: Sequence[Example], readings: Sequence[Reading | None], scorers: Mapping[str, Scorer] | None = None, seed: int = 0) -> dict[str, Row]:
    """Named rows (value, n, low, high, missing), for answers in the order of their examples; None is an answer that is missing.

    `scorers` may hold "bertscore" and "bleurt"; without them their rows and the aggregate say that they are absent.
    """
    columns = _Columns(examples, readings)
    both = columns.both
    parts = {"rouge1": columns.value("composite") * both}
    for name, scorer in (scorers or {}).items():
        parts[name] = columns.spread(scorer)
    rows = _Rows(columns.cluster, seed)
    everything = np.ones(len(examples))
    for name in ("flag", "sentence"):
        rows.rate(name, columns.value(name), columns.judged)
        rows.rate(f"{name}_official", columns.value(name), everything)
    unmet = int((columns.error - both).sum())  # errors that got no correction
    for name in ("rouge1", *NEURAL):
        rows.rate_or_absent(name, parts.get(name), both, [name], unmet)
    absent = [name for name in NEURAL if name not in parts]
    aggregate = None if absent else np.mean([parts[n] for n in ("rouge1", *NEURAL)], axis=0)
    rows.rate_or_absent("aggregate", aggregate, both, absent, unmet)
    for name, part in (*parts.items(), ("aggregate", aggregate)):
        rows.rate_or_absent(f"composite_{name}", None if part is None else part + columns.left_alone, everything, absent, 0)
    error, fine = columns.error, 1 - columns.error
    for name, value in (("change", "change"), ("sentence_on_errors", "sentence"), ("flag_recall", "flag")):
        rows.rate(name, columns.value(value) * error, error * columns.judged, columns.missing(error))
    rows.rate("false_positive_rate", (1 - columns.value("flag")) * fine, fine * columns.judged, columns.missing(fine))
    rows.mcc("mcc", columns.value("flag"), error, columns.judged)
    rows.pairs("pair_accuracy", columns)
    for family in sorted({e.meta["family"] for e in examples if e.meta["has_error"]}):
        of_kind = error * np.array([e.meta["family"] == family for e in examples], float)
        for label, name in (("recall", "flag"), ("sentence", "sentence"), ("change", "change")):
            rows.rate(f"{label}/{family}", columns.value(name) * of_kind, of_kind * columns.judged, columns.missing(of_kind))
        rows.rate(f"rouge1/{family}", parts["rouge1"] * of_kind, both * of_kind, int(((1 - both) * of_kind).sum()))
    return rows.found


class _Columns:
    """The answers as arrays, one number a note."""

    def __init__(self, examples: Sequence[Example], readings: Sequence[Reading | None]) -> None:
        if len(examples) != len(readings):
            raise LimbeckError(f"{len(examples)} notes and {len(readings)} answers", "medec", "give one answer, or None, for each note")
        self.examples, self.readings = examples, readings
        self.cluster = [str(e.meta.get("cluster", e.id)) for e in examples]
        self.judged = np.array([r is not None for r in readings], float)
        self.error = np.array([bool(e.meta["has_error"]) for e in examples], float)
        corrects = np.array([r is not None and r.has_error and bool(r.correction) for r in readings], float)
        self.both = corrects * self.error
        self.left_alone = (1 - self.error) * self.judged * (1 - corrects)
        self._measures = [measure(e, r) if r is not None else {} for e, r in zip(examples, readings, strict=True)]

    def value(self, name: str) -> np.ndarray:
        """A measure of every note, 0 where the answer is missing."""
        return np.array([m.get(name, 0.0) for m in self._measures])

    def missing(self, among: np.ndarray) -> int:
        """How many of some notes have no answer."""
        return int((among * (1 - self.judged)).sum())

    def spread(self, scorer: Scorer) -> np.ndarray:
        """A scorer's values, cut to 0..1, at the notes where both give a sentence; 0 elsewhere."""
        found = np.zeros(len(self.examples))
        at = np.flatnonzero(self.both).tolist()
        given = [(r.correction, self.examples[i].meta["correction"]) for i in at if (r := self.readings[i]) and r.correction]
        if given:
            found[at] = np.clip(np.asarray(scorer(*zip(*given, strict=True)), float), 0, 1)
        return found

    def pairs(self) -> list[tuple[str, int, int]]:
        """(vignette, position with the error, position without) of twins; the k-th answer to one goes with the k-th to the other."""
        groups: dict[str, tuple[list[int], list[int]]] = {}
        for at, name in enumerate(self.cluster):
            groups.setdefault(name, ([], []))[int(not self.error[at])].append(at)
        return [(name, a, b) for name, (wrong, fine) in groups.items() for a, b in zip(wrong, fine, strict=False)]


class _Rows:
    """Collects rows; each interval comes from the same draws of vignettes."""

    def __init__(self, cluster: Sequence[str], seed: int) -> None:
        names = {name: at for at, name in enumerate(dict.fromkeys(cluster))}
        self._names = names
        self._of = np.array([names[c] for c in cluster], int)
        n = len(names)
        self._draws_DN = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), DRAWS) if n else np.zeros((DRAWS, 0))
        self.found: dict[str, Row] = {}

    def rate(self, name: str, top: np.ndarray, bottom: np.ndarray, missing: int | None = None) -> None:
        """sum(top) / sum(bottom); `missing` is what n lacks of all notes unless it is told."""
        self._put(name, np.stack([top * (bottom > 0), bottom], 1), self._of, len(top) - int(bottom.sum()) if missing is None else missing)

    def rate_or_absent(self, name: str, top: np.ndarray | None, bottom: np.ndarray, absent: Sequence[str], missing: int) -> None:
        if top is not None:
            return self.rate(name, top, bottom, missing)
        self.found[name] = {"value": None, "n": 0, "low": None, "high": None, "missing": len(bottom), "note": f"absent: {', '.join(absent)} is not installed"}

    def pairs(self, name: str, columns: _Columns) -> None:
        """Both twins flagged rightly."""
        flag, pairs = columns.value("flag"), columns.pairs()
        judged = [(c, a, b) for c, a, b in pairs if columns.judged[a] and columns.judged[b]]
        values = np.array([[flag[a] * flag[b], 1.0] for _, a, b in judged]).reshape(-1, 2)
        self._put(name, values, np.array([self._names[c] for c, _, _ in judged], int), len(pairs) - len(judged))

    def mcc(self, name: str, right: np.ndarray, error: np.ndarray, judged: np.ndarray) -> None:
        """Matthews' correlation of flag and truth; none where either is the same for every note."""
        wrong, fine = judged * (1 - right), judged * (1 - error)
        sums = self._by_vignette(np.stack([right * judged * error, wrong * error, right * fine, wrong * fine], 1), self._of)
        value = float(_matthews(sums.sum(0)))
        low, high = _limits(_matthews(self._draws_DN @ sums)) if math.isfinite(value) else (None, None)
        self.found[name] = {"value": value if math.isfinite(value) else None, "n": int(judged.sum()), "low": low, "high": high, "missing": int((1 - judged).sum())}

    def _by_vignette(self, values: np.ndarray, of: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(self._names), values.shape[1]))
        np.add.at(sums, of, values)
        return sums

    def _put(self, name: str, values: np.ndarray, of: np.ndarray, missing: int) -> None:
        sums = self._by_vignette(values, of)
        top, bottom = sums.sum(0)
        row: Row = {"value": None, "n": int(bottom), "low": None, "high": None, "missing": missing}
        if bottom:
            row["value"] = float(top / bottom)
            drawn = self._draws_DN @ sums
            row["low"], row["high"] = _limits(np.divide(drawn[:, 0], drawn[:, 1], out=np.full(DRAWS, np.nan), where=drawn[:, 1] > 0))
            if row["low"] == row["high"] and row["value"] in (0.0, 1.0):  # no draw differs: Wilson's interval over vignettes
                row["low"], row["high"] = _wilson(row["value"], int((sums[:, 1] > 0).sum()))
        self.found[name] = row


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _wilson(rate: float, n: int) -> tuple[float, float]:
    edge = Z * Z / (n + Z * Z)
    return (0.0, edge) if rate == 0.0 else (1.0 - edge, 1.0)


def _matthews(sums: np.ndarray) -> np.ndarray:
    """From true and missed errors, correct notes passed and flagged, on the last axis."""
    hit, missed, passed, alarm = np.moveaxis(np.asarray(sums, float), -1, 0)
    scale = np.sqrt((hit + alarm) * (hit + missed) * (passed + alarm) * (passed + missed))
    return np.divide(hit * passed - alarm * missed, scale, out=np.full_like(scale, np.nan), where=scale > 0)


def check_paper_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of a published table whose aggregate is not the mean of its three parts, with the mean they give."""
    found = []
    for at, row in enumerate(rows):
        shown = [row.get(name) for name in ("rouge1", *NEURAL, "aggregate")]
        if any(v is None or v == "" for v in shown):
            continue
        try:
            *parts, printed = (float(v) for v in shown if v is not None)
        except ValueError as problem:
            raise LimbeckError(f"a score is not a number: {problem}", f"row {at}", "give rouge1, bertscore, bleurt and aggregate as numbers") from problem
        mean = sum(parts) / len(parts)
        if not abs(mean - printed) <= ROUNDING:
            found.append({"row": at, "model": row.get("model", ""), "prompt": row.get("prompt", ""), "printed": printed, "recomputed": round(mean, 4)})
    return found
