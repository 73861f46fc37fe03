"""Who says which propositions are true of an answer, and how often that agrees with people: examined before anything is trained."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from limbeck.align.judge import Judge
from limbeck.align.policy import KINDS, RANKS, Kind, Policy, Rank
from limbeck.align.propositions import RULES, Exchange
from limbeck.align.weights import Classifier, cross_chances, cross_stack, fit_classifier, id_of
from limbeck.errors import LimbeckError

Way = Literal["rules", "grader", "judge"]
RESPONSE_TYPES: dict[str, Kind] = {"comply": "comply", "hard refuse": "hard_refuse", "safe refuse": "safe_refuse", "safe refuse 1": "safe_refuse", "safe refuse 2": "safe_refuse", "hard_refuse": "hard_refuse", "safe_refuse": "safe_refuse"}
Z = 1.959963984540054
FOLDS = 10
FEWEST = 5  # answers of which a proposition is true, under which its accuracy says nothing and stops nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An answer with people's word on which propositions are true of it."""

    exchange: Exchange
    truth: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One answer graded: the probability of each proposition (those nobody could judge are absent), and its rank."""

    chances: Mapping[str, float]
    rank: Rank

    @property
    def truth(self) -> dict[str, bool]:
        """Which propositions are true of it."""
        return {name: chance >= 0.5 for name, chance in self.chances.items()}


def read_labelled(path: Path) -> list[Labelled]:
    """A file of labelled answers: JSON lines, zipped or not, with `prompt` (messages or a text), `completion` (messages or a text),
    `response_type`, `propositions` {name: true or false} and, where known, `category`. Raises LimbeckError at the line that is none."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the labels cannot be read: {problem}", str(path), "name a file of JSON lines in UTF-8, gzipped or not") from problem
    out = [_labelled(line, f"{path} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not out:
        raise LimbeckError("there is no labelled answer in it", str(path), "see docs/align.md for what a line holds")
    return out


def _labelled(line: str, where: str) -> Labelled:
    fix = 'a line holds {"prompt": [...], "completion": [...], "response_type": "Comply", "propositions": {"apology": false, ...}}'
    try:
        row = json.loads(line)
        messages = [{"role": "user", "content": row["prompt"]}] if isinstance(row["prompt"], str) else row["prompt"]
        answer = row["completion"] if isinstance(row["completion"], str) else row["completion"][-1]["content"]
        plain = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in messages)
        truth, kind = row["propositions"], RESPONSE_TYPES.get(str(row["response_type"]).lower())
        if not isinstance(answer, str) or not all(isinstance(v, bool) for v in truth.values()):
            raise TypeError("an answer is a text, and a label is true or false")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as problem:
        raise LimbeckError(f"this is no labelled answer: {type(problem).__name__} {problem}", where, fix) from problem
    if kind is None:
        raise LimbeckError(f"there is no response type {row['response_type']!r}", where, f"known: {', '.join(RESPONSE_TYPES)}")
    category = str(row.get("category") or "")
    return Labelled(exchange=Exchange(messages=plain, answer=answer, kind=kind, topic="self_harm" if category.startswith(("SH", "self_harm")) else ""), truth=truth)


def packaged_classifier() -> Classifier:
    """The classifier that comes with limbeck; its header names the labels it learnt from."""
    return Classifier.load(Path(str(resources.files("limbeck") / "align" / "classifier.safetensors")))


class Grader:
    """Grades answers by a policy. Raises LimbeckError where a proposition has nobody to check it; rules alone leave it open."""

    def __init__(self, policy: Policy, classifier: Classifier | None = None, judge: Judge | None = None, way: Way = "grader") -> None:
        self.policy, self.classifier, self.judge, self.way = policy, classifier, judge, way
        self.by = {name: self._who(name) for name in policy.propositions}

    def _who(self, name: str) -> str:
        proposition = self.policy.propositions[name]
        where = f"{self.policy.where} [propositions.{name}]"
        if self.way == "rules":
            return "nobody" if proposition.rule is None else "rule"
        if proposition.check == "judge" and self.judge is None:
            if proposition.rule is None:
                raise LimbeckError(f"nothing can check {name!r}: no judge is named, and no rule stands in", where, "name a MODEL in align.judge (--judge), or give it a rule")
            return "rule"
        if self.way == "judge" and self.judge is not None and proposition.question:
            return "judge"
        if proposition.check == "classifier":
            if self.classifier is not None and name in self.classifier.names:
                return "classifier"
            if proposition.rule is None:
                known = ", ".join(self.classifier.names) if self.classifier else "none is there"
                raise LimbeckError(f"nothing can check {name!r}: the classifier has not learnt it", where, f"label answers for it (align.labels), or give it a rule; the classifier knows: {known}")
            return "rule"
        return proposition.check

    def grade(self, exchanges: Sequence[Exchange]) -> list[Grade]:
        """Every exchange graded under the response type that it carries."""
        table = self.chances(exchanges)
        out = []
        for at, exchange in enumerate(exchanges):
            chances = {name: float(column[at]) for name, column in table.items() if not np.isnan(column[at])}
            out.append(Grade(chances=chances, rank=self.policy.rank(cast(Kind, exchange.kind or "comply"), {name: c >= 0.5 for name, c in chances.items()})))
        return out

    def chances(self, exchanges: Sequence[Exchange], learnt: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The probability of each proposition for each exchange, nan where nobody could say. `learnt` replaces what the classifier would say."""
        classifier = self.classifier
        needed = classifier is not None and "classifier" in self.by.values()
        given = learnt if learnt is not None else classifier.chances(exchanges) if needed and classifier is not None else None
        found: dict[str, np.ndarray] = {}
        for name, proposition in self.policy.propositions.items():
            under = np.array([not e.kind or e.kind in proposition.under for e in exchanges], bool)
            if self.by[name] == "nobody":
                column = np.full(len(exchanges), np.nan)
            elif self.by[name] == "rule":
                column = np.array([float(proposition.by_rule(e)) for e in exchanges])
            elif self.by[name] == "classifier" and given is not None and classifier is not None:
                column = given[:, classifier.names.index(name)]
            else:
                assert self.judge is not None
                asked = [e for e, looked in zip(exchanges, under, strict=True) if looked]
                column = np.zeros(len(exchanges))
                column[under] = [np.nan if v is None else v for v in self.judge.chances(asked, proposition.question)] if asked else []
            if proposition.confirmed and self.by[name] != "rule":
                column = np.where([proposition.by_rule(e) for e in exchanges], column, np.minimum(column, 0.49))
            found[name] = np.where(under, column, 0.0)
        return found


def make_grader(policy: Policy, labelled: Sequence[Labelled] = (), judge: Judge | None = None) -> Grader:
    """The grader of a policy: with the packaged classifier, or one fitted on these labels."""
    classifier = fit_classifier([row.exchange for row in labelled], [row.truth for row in labelled]) if labelled else packaged_classifier()
    return Grader(policy, classifier, judge)


def examine_grader(grader: Grader, labelled: Sequence[Labelled]) -> dict[str, Any]:
    """How often the grader and people agree: by proposition, by response type, on ranks; each with its 95 % interval.

    Answers that the classifier has learnt from are judged by classifiers fitted without them (cross-validation over requests).
    """
    exchanges = [row.exchange for row in labelled]
    classifier = grader.classifier
    seen = [classifier is not None and id_of(e) in classifier.seen for e in exchanges]
    learnt = None
    if classifier is not None and any(seen) and "classifier" in grader.by.values():
        crossed = cross_chances(exchanges, [row.truth for row in labelled], classifier.names, FOLDS)
        learnt = np.where(np.array(seen)[:, None], crossed, classifier.chances(exchanges))
    return judge_chances(grader, labelled, grader.chances(exchanges, learnt)) | {"cross_validated": int(sum(seen)) if learnt is not None else 0}


def examine_with_judge(policy: Policy, judge: Judge, labelled: Sequence[Labelled], progress: Callable[[int, int], object] | None = None) -> dict[str, dict[str, Any]]:
    """The judge alone, and rules plus the judge (weighed by answers apart), each examined as a grader is."""
    exchanges = [row.exchange for row in labelled]
    names = [n for n, p in policy.propositions.items() if p.question and any(n in row.truth for row in labelled)]
    rules = Grader(policy, None, None, "rules")
    by_rule, both, alone = rules.chances(exchanges), {}, {}
    for number, name in enumerate(names):
        alone[name] = np.array([np.nan if v is None else v for v in judge.chances(exchanges, policy.propositions[name].question)])
        both[name] = cross_stack(np.stack([by_rule[name], alone[name]], 1), [row.truth.get(name) for row in labelled], [id_of(e) for e in exchanges], FOLDS)
        if progress:
            progress(number + 1, len(names))
    named = Grader(policy, None, judge, "judge")
    return {"judge alone": judge_chances(named, labelled, by_rule | alone), "rules plus judge": judge_chances(named, labelled, by_rule | both)}


def examined_before(grader: Grader) -> dict[str, Any]:
    """What the packaged classifier and the named rules reached when they were examined, for the propositions of a policy; rules of its own have no such number."""
    stored = dict((grader.classifier.meta or {}).get("examined", {})) if grader.classifier else {}
    rows = []
    for name, proposition in grader.policy.propositions.items():
        if grader.by[name] == "rule":
            found = stored.get("rules", {}).get(name) if proposition.rule is RULES.get(name) else None
        else:
            found = stored.get("grader", {}).get(name) if grader.by[name] == "classifier" else None
        if found:
            rows.append({"name": name, "by": grader.by[name], **found})
    return {"n": stored.get("n", 0), "policy": grader.policy.name, "propositions": rows, "unlabelled": [n for n in grader.policy.propositions if n not in {r["name"] for r in rows}], "labels": (grader.classifier.meta or {}).get("labels", "") if grader.classifier else ""}


def judge_chances(grader: Grader, labelled: Sequence[Labelled], chances: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The examination of probabilities that are already there."""
    policy, names = grader.policy, [n for n in grader.policy.propositions if any(n in row.truth for row in labelled)]
    if not names:
        raise LimbeckError("these labels are of no proposition of the policy", policy.where, f"it has: {', '.join(policy.propositions)}")
    rows = [{"name": name, "by": grader.by[name], **_agreement(chances[name], labelled, name)} for name in names]
    right = np.array([[np.nan if name not in row.truth or np.isnan(chances[name][at]) else float((chances[name][at] >= 0.5) == row.truth[name]) for name in names] for at, row in enumerate(labelled)])
    kinds = [{"kind": kind, **_of_kind(policy, labelled, chances, names, right, kind)} for kind in KINDS if any(row.exchange.kind == kind for row in labelled)]
    return {"n": len(labelled), "policy": policy.name, "propositions": rows, "kinds": kinds, **_mean_over_answers(right), "mean_of_propositions": float(np.mean([r["accuracy"] for r in rows if r["accuracy"] is not None] or [np.nan])), "unlabelled": [n for n in policy.propositions if n not in names]}


def _agreement(column: np.ndarray, labelled: Sequence[Labelled], name: str) -> dict[str, Any]:
    pairs = [(column[at] >= 0.5, row.truth[name]) for at, row in enumerate(labelled) if name in row.truth and not np.isnan(column[at])]
    missing = sum(name in row.truth and bool(np.isnan(column[at])) for at, row in enumerate(labelled))
    n, right = len(pairs), sum(said == true for said, true in pairs)
    true, said, both = sum(t for _, t in pairs), sum(s for s, _ in pairs), sum(s and t for s, t in pairs)
    low, high = wilson(right, n)
    return {
        "n": n, "missing": missing, "accuracy": right / n if n else None, "low": low, "high": high, "true": int(true), "said": int(said), "precision": both / said if said else None, "recall": both / true if true else None,
        "always_the_commoner": max(true, n - true) / n if n else None,
    }  # fmt: skip


def _of_kind(policy: Policy, labelled: Sequence[Labelled], chances: Mapping[str, np.ndarray], names: Sequence[str], right: np.ndarray, kind: Kind) -> dict[str, Any]:
    at = [i for i, row in enumerate(labelled) if row.exchange.kind == kind]
    mine = [policy.rank(kind, {name: bool(chances[name][i] >= 0.5) for name in names}) for i in at]
    theirs = [policy.rank(kind, labelled[i].truth) for i in at]
    same, good = sum(a == b for a, b in zip(mine, theirs, strict=True)), sum((RANKS.index(a) < 2) == (RANKS.index(b) < 2) for a, b in zip(mine, theirs, strict=True))
    counts = {rank: [theirs.count(rank), mine.count(rank), sum(a == b == rank for a, b in zip(mine, theirs, strict=True))] for rank in RANKS}
    return {"n": len(at), **_mean_over_answers(right[at]), "rank": _share(same, len(at)), "good_or_bad": _share(good, len(at)), "ranks": counts}


def _mean_over_answers(right_NP: np.ndarray, draws: int = 2_000) -> dict[str, Any]:
    """Mean agreement over answers and propositions; the interval is a bootstrap over answers, whose propositions hang together."""
    known = ~np.isnan(right_NP)
    each = (np.where(known, right_NP, 0.0).sum(1) / np.maximum(known.sum(1), 1))[known.any(1)]
    if not len(each):
        return {"accuracy": None, "low": None, "high": None}
    random = np.random.default_rng(0)
    means = each[random.integers(0, len(each), (draws, len(each)))].mean(1)
    return {"accuracy": float(each.mean()), "low": float(np.quantile(means, 0.025)), "high": float(np.quantile(means, 0.975))}


def _share(count: int, n: int) -> dict[str, float]:
    low, high = wilson(count, n)
    return {"value": count / n if n else 0.0, "low": low, "high": high}


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a rate; this room may not read the examination's own."""
    if not n:
        return 0.0, 1.0
    p = successes / n
    centre, half = (p + Z * Z / (2 * n)) / (1 + Z * Z / n), Z / (1 + Z * Z / n) * np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def require_accuracy(examination: Mapping[str, Any], policy: Policy, least: float) -> None:
    """Raises LimbeckError where a proposition that ranks hang on agrees with people less often than `least`."""
    used = set(policy.used())
    rows = [r for r in examination["propositions"] if r["name"] in used and r["accuracy"] is not None]
    poor = sorted((r for r in rows if r["accuracy"] < least), key=lambda r: r["accuracy"])
    if poor:
        named = "; ".join(f"{r['name']} {100 * r['accuracy']:.1f} % (95 %: {100 * r['low']:.1f} to {100 * r['high']:.1f}, n = {r['n']})" for r in poor[:4])
        raise LimbeckError(f"the grader is not good enough to train on: {named}", f"policy {policy.name!r}, align.min_grader_accuracy = {least:g}", "give these propositions a better check (a judge, more labels), take them out of the ranks, or lower align.min_grader_accuracy; nothing was trained")
