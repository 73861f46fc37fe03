"""Which answers enter the training set: each asked request ends as kept, refused or failed, with the column at fault and a reason.

In order: the call, the objections of people, the answers (form, verifier, gold, language, personal data, toxicity), their agreement,
the choice among them, the tests they repeat, the requests they repeat, the balance of difficulties. `asked = kept + refused + failed`
is checked, and each single draw is accounted for too. Drafts are read in batches; the same drafts in the same order give the same records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck.distill.agreement import outcome_of, shares
from limbeck.distill.balance import histogram, thin
from limbeck.distill.contamination import Contamination, Hit
from limbeck.distill.language import LanguageCheck
from limbeck.distill.mixing import load_set
from limbeck.distill.near import Duplicates, get_duplicates, group_of, plain
from limbeck.distill.personal import count_kinds, mask
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import KeepSection
from limbeck.records import Answer, Candidate, Check, Example, Prompt, Status, Verdict

BATCH = 512
REASON_CHARS = 80
Row = tuple[str, str, str]  # state, column, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One answer to a request. `meta` may hold "count": how often it was drawn, where equal draws come as one."""

    text: str
    score: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many draws it stands for."""
        return max(1, int(self.meta.get("count", 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One asked request with what came back. `key` tells requests apart beyond their words; `by` counts in the set's origins.

    `example` is what was asked as the task has it, for verifiers and scorers that read more than text and context.
    """

    id: str
    text: str
    context: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    gold: tuple[str, ...] = ()
    source: str = ""
    by: tuple[int, ...] = ()
    draws: tuple[Draw, ...] = ()
    status: Status = "scored"
    reason: str = ""
    example: Example | None = None

    def as_example(self) -> Example:
        """For a scorer."""
        return self.example or Example(id=self.id, prompt=Prompt(id=self.id, text=self.text, context=self.context), gold=self.gold, source=self.source)


@dataclass(slots=True)
class _Judged:
    """A draw on its way: what it comes to, what is said against it."""

    draw: Draw
    outcome: Any = None
    agreement: float = 0.0
    verified: bool | None = None
    right: bool | None = None
    refused: tuple[str, str] | None = None  # column and reason
    marks: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Chosen:
    """A request with the answers chosen for it."""

    draft: Draft
    answers: list[_Judged]
    judged: list[_Judged]
    passed: float  # share of its draws that pass verifier and gold
    marks: dict[str, Any]


class Kept:
    """What is kept, what is refused or failed and why, what repeats a test. `accounts` adds up, or raises."""

    def __init__(self, section: KeepSection) -> None:
        self.section = section
        self.records: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.contamination: list[dict[str, Any]] = []
        self.asked = 0
        self.not_looked_at: dict[str, str] = {}
        self.tests: dict[str, int] = {}
        self.difficulty: dict[str, int] = {}
        self.notes: Counter[str] = Counter()
        self._ends: dict[str, Row] = {}
        self._left: Counter[str] = Counter()  # records of each kept request
        self._stands_for: dict[str, int] = {}  # draws that a kept record stands for, by its id
        self._draws: Counter[str] = Counter()
        self._drawn = 0

    def end(self, draft: Draft, state: str, column: str, reason: str, answer: str = "", **more: Any) -> None:
        """A request that is not kept. Where personal data is refused, none is written down with any refusal."""
        reason = " ".join(reason.split())[:REASON_CHARS] or "no reason given"
        self._ends[draft.id] = (state, column, reason)
        text, answer = (mask(draft.text), mask(answer)) if self.section.personal == "refuse" else (draft.text, answer)
        self.refused.append({"id": draft.id, "state": state, "column": column, "reason": reason, "text": text, "answer": answer, **more})

    def refuse(self, id: str, column: str, reason: str, text: str = "", answer: str = "") -> None:
        """Take a record out again: what a later step cannot use. Its request is refused when none of its records is left."""
        request = id.rpartition("~")[0] if id not in self._left else id
        if request not in self._left:
            raise AssertionError(f"{id} was not kept")
        self._left[request] -= 1
        self._move(id, f"{column}: {reason}")
        self.records = [r for r in self.records if r["id"] != id] if self._left[request] else [r for r in self.records if r.get("request", r["id"]) != request]
        self.refused.append({"id": id, "state": "refused", "column": column, "reason": reason, "text": text, "answer": answer})
        if not self._left[request]:
            del self._left[request]
            self._ends[request] = ("refused", column, reason)

    def _move(self, id: str, reason: str) -> None:
        """The draws of a record that is taken out again."""
        count = self._stands_for.pop(id)
        self._draws["kept"] -= count
        self._draws[reason] += count

    def count_draws(self, judged: Sequence[_Judged], chosen: Sequence[_Judged], rest: str) -> None:
        """Each draw of a request: refused and why, kept, or fit but not among the kept ones (`rest`)."""
        for one in judged:
            self._drawn += one.draw.count
            kept = any(one is c for c in chosen)
            name = "kept" if kept and not rest else f"{one.refused[0]}: {one.refused[1]}" if one.refused else rest if kept or rest else "spare"
            self._draws[name] += one.draw.count

    @property
    def accounts(self) -> dict[str, Any]:
        """Requests by end, column and reason; draws by reason. Raises AssertionError where a request is unaccounted for."""
        counts = Counter(self._ends.values())
        found = {state: {f"{c}: {r}": n for (s, c, r), n in sorted(counts.items()) if s == state} for state in ("refused", "failed")}
        kept = len(self._left)
        if self.asked != kept + sum(map(sum, (found["refused"].values(), found["failed"].values()))) or sum(self._left.values()) != self._made or self._drawn != sum(self._draws.values()):
            raise AssertionError(f"asked {self.asked}, kept {kept}, refused {found['refused']}, failed {found['failed']}, draws {self._drawn}: they do not add up")
        table = [["kept", "", "", kept], *([*row, n] for row, n in sorted(counts.items()))]
        return {
            "asked": self.asked, "kept": kept, **found, "table": table, "answers": self._made, "draws": {"drawn": self._drawn, **{name: count for name, count in sorted(self._draws.items()) if count}},
            "difficulty": self.difficulty, "personal": self._personal, "notes": dict(sorted(self.notes.items())),
            "contamination": dict(sorted(Counter(h["benchmark"] for h in self.contamination).items())), "tests": self.tests, "not_looked_at": self.not_looked_at,
        }  # fmt: skip

    @property
    def _personal(self) -> dict[str, int]:
        """Pieces of personal data in what is kept, by kind."""
        found: Counter[str] = Counter()
        for record in self.records:
            found.update(record["meta"].get("personal", {}))
        return dict(sorted(found.items()))

    @property
    def _made(self) -> int:
        return len(self.records)


def keep_records(
    drafts: Iterable[Draft], *, section: KeepSection, verify: Callable[[Prompt, Candidate], Check] | None = None, score: Callable[[Example, Answer], Verdict] | None = None,
    contamination: Contamination | None = None, opt_out: Any = None, against: Iterable[tuple[str, str, str]] | None = None,
) -> Kept:  # fmt: skip
    """Every draft brought to its one end. `against` are (set, id, request) of other sets; files and runs of `section.against` are read
    here where it is not given. `verify` and `score` are the task's own; None leaves them out. Raises LimbeckError.
    """
    kept = Kept(section)
    if contamination is not None:
        kept.not_looked_at, kept.tests = contamination.not_looked_at, contamination.benchmarks
    judge = _Judge(section, verify, score)
    duplicates = get_duplicates(section.duplicates, section.near, section.embedding)
    if duplicates is not None:
        _remember(duplicates, _other_sets(section.against) if against is None else against)
    stream, ids, passed = iter(drafts), set(), []
    while batch := list(islice(stream, BATCH)):
        kept.asked += len(batch)
        for draft in batch:
            if draft.id in ids:
                raise AssertionError(f"two requests are called {draft.id!r}")
            ids.add(draft.id)
        chosen = [c for draft in batch if (c := _choose(draft, judge, opt_out, kept)) is not None]
        chosen = _clean(chosen, contamination, kept)
        for one in _first(chosen, duplicates, kept):
            passed.append(one.passed)
            _record(one, kept)
    _balance(passed, kept)
    kept.accounts  # noqa: B018  (raises where something is lost)
    return kept


class _Judge:
    """What is said against single answers."""

    def __init__(self, section: KeepSection, verify: Any, score: Any) -> None:
        self.section, self.verify, self.score = section, verify, score
        self.language = LanguageCheck(section.language) if section.language else None
        self.toxicity = load_hook(section.toxicity) if section.toxicity else None

    def request(self, draft: Draft) -> tuple[str, dict[str, Any]]:
        """Why a request is refused ("" where it is not), and its marks."""
        return self._text(draft.text) if draft.text else ("", {})

    def draw(self, draft: Draft, example: Example, draw: Draw) -> _Judged:
        """One draw: form first, then what costs more."""
        one, section, text = _Judged(draw), self.section, draw.text
        size = len(text.strip())
        if size < section.min_chars or not size:
            one.refused = "answer", "empty" if not size else f"shorter than {section.min_chars} characters"
        elif section.max_chars is not None and len(text) > section.max_chars:
            one.refused = "answer", f"longer than {section.max_chars} characters"
        elif self.verify is not None:
            check = self.verify(example.prompt, Candidate(text=text, score=draw.score, meta=draw.meta))
            one.verified, one.outcome = check.ok, check.outcome
            if not check.ok:
                one.refused = "answer", f"not verified, {check.reason or 'no reason given'}"
        if one.refused is None and self.score is not None and example.gold:
            verdict = self.score(example, Answer(prompt_id=example.prompt.id, candidates=(Candidate(text=text, score=draw.score, meta=draw.meta),)))
            first = next(iter(verdict.measures.values()), ())
            one.right = verdict.status == "scored" and bool(first) and first[0] == 1.0
            if not one.right:
                one.refused = "answer", "not right by the gold" if verdict.status == "scored" else f"not judged, {verdict.reason or verdict.status}"
        one.outcome = outcome_of(text, one.outcome)
        if one.refused is None:
            reason, one.marks = self._text(text)
            if reason:
                one.refused = "answer", reason
        return one

    def _text(self, text: str) -> tuple[str, dict[str, Any]]:
        marks: dict[str, Any] = {}
        if self.language and (other := self.language.other(text)):
            return f"language {other}, not {self.language.code}", marks
        if self.section.personal != "off" and (kinds := count_kinds(text)):
            marks["personal"] = kinds
            if self.section.personal == "refuse":
                return f"personal data, {', '.join(kinds)}", marks
        if self.toxicity is not None and (degree := self.toxicity(text)) > self.section.toxicity_most:
            return "toxic", marks | {"toxicity": round(degree, 4)}
        return "", marks


def _choose(draft: Draft, judge: _Judge, opt_out: Any, kept: Kept) -> _Chosen | None:
    """The best answers of a request; None where it has come to its end."""
    if draft.status != "scored" or not draft.draws:
        state, column = ("failed", "call") if draft.status == "failed" else ("refused", "answer")
        word = {"refused": "the teacher refused", "no_answer": "no answer"}.get(draft.status, "")
        kept.end(draft, state, column, ", ".join(p for p in (word, draft.reason) if p) or "no answer")
        return None
    if opt_out is not None and (objection := opt_out.objection(draft.id, (draft.text, *(d.text for d in draft.draws)), draft.source)):
        kept._drawn += sum(d.count for d in draft.draws)
        kept._draws["request: objection"] += sum(d.count for d in draft.draws)
        kept.end(replace(draft, text=""), "refused", "request", f"objection, {objection}")  # what people object to is not kept here either
        return None
    why, marks = judge.request(draft)
    if why:
        kept._drawn += sum(d.count for d in draft.draws)
        kept._draws[f"request: {why}"] += sum(d.count for d in draft.draws)
        kept.end(draft, "refused", "request", why)
        return None
    example = draft.as_example()
    judged = [judge.draw(draft, example, draw) for draw in draft.draws]
    counts = [one.draw.count for one in judged]
    for one, share in zip(judged, shares([one.outcome for one in judged], counts), strict=True):
        one.agreement = share
    good = [one for one in judged if one.refused is None]
    passed = sum(one.draw.count for one in judged if one.verified is not False and one.right is not False and not _is_form(one)) / sum(counts)
    if good and judge.section.agreement > 0:
        common = max(good, key=lambda one: one.agreement)
        for one in good:
            if common.agreement < judge.section.agreement:
                one.refused = "answer", f"fewer than {judge.section.agreement:.0%} of the draws agree"
            elif one.outcome != common.outcome:
                one.refused = "answer", "not the commonest answer"
        good = [one for one in good if one.refused is None]
    if not good:
        furthest = max(judged, key=lambda one: (one.verified is True, one.right is True))
        column, reason = furthest.refused or ("answer", "no answer")
        kept.count_draws(judged, (), "")
        kept.end(draft, "refused", column, reason, furthest.draw.text)
        return None
    if judge.score is not None and not example.gold:
        kept.notes["no gold is known, so none was asked for"] += 1
    return _Chosen(draft, _best(good, judge.section.per_request), judged, passed, marks)


def _is_form(one: _Judged) -> bool:
    """Refused before verifier and gold were asked."""
    return one.refused is not None and one.verified is None and one.right is None and one.refused[1].startswith(("empty", "shorter", "longer"))


def _best(good: Sequence[_Judged], most: int) -> list[_Judged]:
    """Verified and right first, then by agreement, then by score, then as drawn; all different."""
    ranked = sorted(good, key=lambda one: (-(one.right is True), -(one.verified is True), -one.agreement, -one.draw.score))
    distinct = {plain(one.draw.text): one for one in reversed(ranked)}
    return [one for one in ranked if distinct[plain(one.draw.text)] is one][:most]


def _clean(chosen: list[_Chosen], contamination: Contamination | None, kept: Kept) -> list[_Chosen]:
    """Without what repeats a test, or with a mark on it; each hit is written down with both texts."""
    if contamination is None or not chosen:
        return chosen
    by_request = contamination.look([c.draft.text for c in chosen])
    answers = [(c, one) for c in chosen for one in c.answers]
    by_answer: dict[int, list[Hit]] = {id(one): hits for (_, one), hits in zip(answers, contamination.look([one.draw.text for _, one in answers], is_answer=True), strict=True)}
    refuses, out = kept.section.contaminated == "refuse", []
    for one, hits in zip(chosen, by_request, strict=True):
        bad = [a for a in one.answers if by_answer[id(a)]]
        for column, found in (("request", hits), *(("answer", by_answer[id(a)]) for a in bad)):
            kept.contamination += [{"id": one.draft.id, "column": column, "refused": refuses, **hit.as_row()} for hit in found]
        if not refuses:
            if hits or bad:
                one.marks["contamination"] = sorted({h.benchmark for h in (*hits, *(h for a in bad for h in by_answer[id(a)]))})
            out.append(one)
            continue
        for a in bad:
            a.refused = "answer", f"repeats a test of {by_answer[id(a)][0].benchmark}"
        one.answers = [a for a in one.answers if a not in bad]
        if hits or not one.answers:
            column, reason = ("request", f"repeats a test of {hits[0].benchmark}") if hits else bad[0].refused or ("answer", "repeats a test")
            kept.count_draws(one.judged, (), f"{column}: {reason}")
            kept.end(one.draft, "refused", column, reason, bad[0].draw.text if bad else one.answers[0].draw.text)
        else:
            out.append(one)
    return out


def _first(chosen: list[_Chosen], duplicates: Duplicates | None, kept: Kept) -> Iterator[_Chosen]:
    """The first of requests that repeat each other."""
    if duplicates is not None and chosen:
        duplicates.prepare([_said(c) for c in chosen], [_group(c.draft) for c in chosen])
    for at, one in enumerate(chosen):
        found = duplicates.remember(at, one.draft.id) if duplicates is not None else None
        if found is None:
            yield one
            continue
        reason = f"repeats a request of {found[0].split(SET_MARK)[0]}" if SET_MARK in found[0] else "repeats another request"
        kept.count_draws(one.judged, one.answers, f"request: {reason}")
        kept.end(one.draft, "refused", "request", reason, one.answers[0].draw.text, repeats=found[0].replace(SET_MARK, ": "), similarity=found[1])


SET_MARK = "\x1f"


def _said(one: _Chosen) -> str:
    return one.draft.text or one.answers[0].draw.text  # a document has no request


def _group(draft: Draft) -> str:
    """A draft's key begins with its normalised words, which are compared by themselves; the rest of it tells requests apart."""
    return group_of(draft.context) + draft.key.partition("|")[2]


def _remember(duplicates: Duplicates, others: Iterable[tuple[str, str, str]]) -> None:
    stream = iter(others)
    while batch := list(islice(stream, BATCH)):
        duplicates.prepare([text for _, _, text in batch], [""] * len(batch))
        for at, (name, id, _) in enumerate(batch):
            duplicates.remember(at, f"{name}{SET_MARK}{id}")


def _other_sets(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for name in names:
        if not Path(name).exists():
            raise LimbeckError(f"there is no set {name!r} here", "keep.against", "name runs, or .jsonl files")
        for record in load_set(name).records(0):
            yield name, str(record["id"]), record["text"] or record["answer"]


def _record(one: _Chosen, kept: Kept) -> None:
    """A record for each answer of a request that is kept."""
    draft = one.draft
    candidates = [[j.draw.text, round(j.draw.score, 4)] for j in (*one.answers, *(j for j in one.judged if j.refused is None and j not in one.answers))]
    kept.count_draws(one.judged, one.answers, "")
    for number, answer in enumerate(one.answers):
        meta: dict[str, Any] = {"passed": round(one.passed, 4), "agreement": round(answer.agreement, 4), **one.marks}
        kinds = Counter(one.marks.get("personal", {})) + Counter(answer.marks.get("personal", {}))
        if kinds:
            meta["personal"] = dict(sorted(kinds.items()))
        if answer.verified is not None:
            meta["verified"] = True
        if answer.right is not None:
            meta["right"] = True
        kept.records.append({
            "id": draft.id if number == 0 else f"{draft.id}~{number + 1}", "request": draft.id, "text": draft.text, "context": dict(draft.context), "key": draft.key, "answer": answer.draw.text,
            "candidates": candidates, "by": list(draft.by), "meta": meta,
        })  # fmt: skip
        kept._stands_for[kept.records[-1]["id"]] = answer.draw.count
    kept._left[draft.id] = len(one.answers)


def _balance(passed: Sequence[float], kept: Kept) -> None:
    """Thinned at the end, when all difficulties are known."""
    names = list(kept._left)
    if kept.section.balance == "difficulty":
        gone = {names[at] for at in thin(passed, names)}
        out = [r for r in kept.records if r["request"] in gone]
        kept.records = [r for r in kept.records if r["request"] not in gone]
        for record in out:
            kept._move(record["id"], "request: balance of difficulty")
            if record["id"] == record["request"]:
                kept.refused.append({"id": record["id"], "state": "refused", "column": "request", "reason": "balance of difficulty", "text": record["text"], "answer": record["answer"]})
        for name in sorted(gone):
            kept._ends[name] = ("refused", "request", "balance of difficulty")
            del kept._left[name]
        passed = [share for name, share in zip(names, passed, strict=True) if name not in gone]
    kept.difficulty = histogram(passed)


def load_hook(name: str) -> Callable[[str], float]:
    """The user's own judge of texts, MODULE:FUNCTION, that gives a number from 0 to 1. Raises LimbeckError where it does not."""
    where, form = "keep.toxicity", "name it MODULE:FUNCTION, a function of a text that returns a number from 0 (fine) to 1"
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise LimbeckError(f"{name!r} names no function", where, form)
    try:
        found = getattr(import_module(module), function, None)
    except ImportError as problem:
        raise LimbeckError(f"{module} cannot be imported: {problem}", where, "set PYTHONPATH to its folder, or install it") from problem
    if not callable(found):
        raise LimbeckError(f"{module} has no function {function!r}", where, form)

    def hook(text: str) -> float:
        degree: Any = found(text)
        if isinstance(degree, bool) or not isinstance(degree, int | float) or not 0 <= degree <= 1:
            raise LimbeckError(f"{name} returned {degree!r}", where, form)
        return float(degree)

    return hook
