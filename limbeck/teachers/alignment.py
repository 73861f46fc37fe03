"""A teacher's distributions for a student of another tokenizer: only where both cut the text at the same byte, and only after a self-test.

The default between different tokenizers is to learn from answers alone. This is for pairs that are nearly alike. Tokens are compared by
the bytes they stand for, never by place or by string: a beginning-of-text token that one side adds shifts nothing.

What is exact: the likelihood of a span between two shared boundaries (chain rule; spans make up the whole text). What is not: a
teacher's distribution over its next token, read as one over the student's. For tokens of equal bytes the two speak of the same outcome
as long as both would cut the coming text alike, so the error (total variation) is at most the probability that they would not. The
self-test estimates that on texts of the user's and refuses above MOST_UNLIKE; nothing is handed out before it has passed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError

MOST_UNLIKE = 0.05  # of shared boundaries, where the two next tokens are not the same bytes
LEAST_SHARED = 0.8  # of the student's positions, that begin at a boundary of the teacher's
LARGEST_GAP = 1e-4  # nats between the likelihood of a text by tokens and by spans
TAIL = -1  # index of what no token of the student's stands for


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text between two boundaries that both tokenizers have: its bytes, and which tokens of each make it up."""

    first: int
    last: int
    teacher: range
    student: range

    @property
    def is_one_token(self) -> bool:
        """Whether it is a single token for both."""
        return len(self.teacher) == len(self.student) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignReport:
    """What the self-test saw. `shared`: student's positions at a shared boundary; `unlike`: shared boundaries whose next tokens differ in
    bytes, which bounds the error of projected distributions; `mapped`: teacher's tokens with a student's token of the same bytes."""

    passed: bool
    reason: str
    texts: int
    shared: float = 0.0
    unlike: float = 1.0
    mapped: float = 0.0
    gap_nats: float = math.inf
    beginnings: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


class Alignment:
    """Two tokenizers side by side. Made by `align`, which tests it first."""

    def __init__(self, teacher: Any, student: Any) -> None:
        self._teacher, self._student = teacher, student
        self._bytes = token_bytes(teacher), token_bytes(student)
        self.beginnings = beginning(teacher), beginning(student)
        special = set(teacher.all_special_ids), set(student.all_special_ids)
        ours: dict[bytes, int] = {}
        for at, said in enumerate(self._bytes[1]):
            if said and at not in special[1]:
                ours.setdefault(said, at)
        self.place_V = np.array([TAIL if at in special[0] or not said else ours.get(said, TAIL) for at, said in enumerate(self._bytes[0])], np.int64)
        if teacher.eos_token_id is not None and student.eos_token_id is not None:
            self.place_V[teacher.eos_token_id] = student.eos_token_id  # an end is an end
        self.mapped = float((self.place_V != TAIL).mean())

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of both without what either adds before or after. Raises LimbeckError where tokens do not spell the text."""
        out = []
        for tokenizer, said, who in ((self._teacher, self._bytes[0], "teacher"), (self._student, self._bytes[1], "student")):
            ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
            if b"".join(said[i] or b"" for i in ids) != text.encode("utf-8"):
                raise LimbeckError(f"the {who}'s tokens do not spell {_short(text)} byte for byte", f"the {who}'s tokenizer", "it changes texts (case, spaces, accents), so places cannot be compared: learn from answers alone, distill.soft = 'off'")
            out.append(ids)
        return out[0], out[1]

    def spans(self, text: str) -> list[Span]:
        """The text from shared boundary to shared boundary; every token of both is in exactly one."""
        theirs, ours = self.encode(text)
        ends = [np.cumsum([0, *(len(said[i] or b"") for i in ids)]) for ids, said in ((theirs, self._bytes[0]), (ours, self._bytes[1]))]
        shared = np.intersect1d(ends[0], ends[1])
        at = [np.searchsorted(e, shared) for e in ends]
        return [Span(int(shared[n]), int(shared[n + 1]), *(range(int(a[n]), int(a[n + 1])) for a in at)) for n in range(len(shared) - 1)]

    def span_likelihoods(self, text: str, logp_L: np.ndarray) -> np.ndarray:
        """Log-probability of each span, from the teacher's of each of its tokens of `text` (what it adds before is not among them)."""
        found = self.spans(text)
        if len(logp_L) != (found[-1].teacher.stop if found else 0):
            raise LimbeckError(f"{len(logp_L)} log-probabilities for {found[-1].teacher.stop if found else 0} tokens", _short(text), "leave out those of beginning and end tokens that the tokenizer adds")
        return np.array([logp_L[s.teacher.start : s.teacher.stop].sum() for s in found])

    def project(self, text: str, logp_LV: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Student's positions [N] that begin a span, its k likeliest tokens there [N, k] and their log-probabilities [N, k].

        `logp_LV`: the teacher's distribution before each of its tokens of `text`, over its tokenizer's vocabulary. Mass on tokens that
        the student does not have stays out: it is part of the tail, as `limbeck.train.divergence` takes it. Fewer than k tokens: -inf.
        """
        found = self.spans(text)
        if logp_LV.shape != (found[-1].teacher.stop if found else 0, len(self.place_V)):
            raise LimbeckError(f"distributions of shape {logp_LV.shape} for {found[-1].teacher.stop if found else 0} tokens over {len(self.place_V):,}", _short(text), "cut off spare rows of the teacher's table, and what it adds before the text")
        positions = np.array([s.student.start for s in found], np.int64)
        return positions, *self._likeliest(logp_LV[[s.teacher.start for s in found]], k)

    def project_end(self, logp_V: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The student's k likeliest tokens [k] after the whole text and their log-probabilities [k]: where a text ends, both agree."""
        ids, logp = self._likeliest(logp_V[None], k)
        return ids[0], logp[0]

    def _likeliest(self, logp_NV: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        order, starts, ours = self._mapped
        mass_NU = np.add.reduceat(np.exp(logp_NV[:, order].astype(np.float64)), starts, axis=1)
        k_here = min(k, len(ours))
        at = np.argpartition(-mass_NU, k_here - 1, 1)[:, :k_here]
        at = np.take_along_axis(at, np.argsort(-np.take_along_axis(mass_NU, at, 1), 1, kind="stable"), 1)
        with np.errstate(divide="ignore"):
            logp_NK = np.log(np.take_along_axis(mass_NU, at, 1))
        spare = ((0, 0), (0, k - k_here))
        return np.pad(ours[at], spare), np.pad(logp_NK, spare, constant_values=-np.inf)

    @cached_property
    def _mapped(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The teacher's tokens that the student has, in order of the student's; where each of these begins; and its id."""
        order = np.argsort(self.place_V, kind="stable")
        order = order[self.place_V[order] != TAIL]
        ours, starts = np.unique(self.place_V[order], return_index=True)
        return order, starts, ours


def align(teacher: Any, student: Any, texts: Sequence[str]) -> Alignment:
    """Two tokenizers that passed the self-test on these texts. Raises LimbeckError, with the reason, where they did not."""
    report = align_self_test(teacher, student, texts)
    if not report.passed:
        raise LimbeckError(f"distributions cannot be carried from one tokenizer to the other: {report.reason}", f"{report.texts} texts of the self-test", "learn from the teacher's answers alone (distill.soft = 'off'), or give the student the teacher's tokenizer")
    return Alignment(teacher, student)


def align_self_test(teacher: Any, student: Any, texts: Sequence[str], *, most_unlike: float = MOST_UNLIKE, least_shared: float = LEAST_SHARED) -> AlignReport:
    """Round trip, spans, beginnings, mass and likelihood on texts like those to be learnt. Raises LimbeckError where there are none."""
    held = [t for t in texts if t]
    if not held:
        raise LimbeckError("an alignment is tested on texts, and there are none", "align_self_test", "hand it some of the texts that will be learnt")
    try:
        pair = Alignment(teacher, student)
        cut = [pair.spans(text) for text in held]
    except LimbeckError as problem:
        return AlignReport(passed=False, reason=problem.what, texts=len(held))
    spans, positions = sum(map(len, cut)), sum(row[-1].student.stop for row in cut)
    ids = [pair.encode(text) for text in held]
    unlike = sum(pair._bytes[0][theirs[s.teacher.start]] != pair._bytes[1][ours[s.student.start]] for (theirs, ours), row in zip(ids, cut, strict=True) for s in row) / spans
    facts = {"texts": len(held), "shared": spans / positions, "unlike": unlike, "mapped": pair.mapped, "gap_nats": _largest_gap(pair, held), "beginnings": pair.beginnings}
    reasons = [
        (_shifted(pair, held), "what a tokenizer adds before a text changes the tokens of the text itself"),
        (facts["gap_nats"] > LARGEST_GAP, f"likelihoods by tokens and by spans differ by {facts['gap_nats']:.2g} nats, or mass is lost"),
        (facts["shared"] < least_shared, f"only {facts['shared']:.0%} of the student's positions begin where a token of the teacher's does"),
        (unlike > most_unlike, f"at {unlike:.1%} of the shared boundaries the next tokens differ, so projected distributions would be off by as much"),
    ]  # fmt: skip
    reason = next((said for is_wrong, said in reasons if is_wrong), "")
    return AlignReport(passed=not reason, reason=reason, **facts)


def _largest_gap(pair: Alignment, texts: Sequence[str]) -> float:
    """Of made-up distributions: likelihood by tokens against spans, and mass before against after projection (as nats)."""
    worst, random = 0.0, np.random.default_rng(0)
    for text in texts[:8]:
        theirs, _ = pair.encode(text)
        theirs, clipped = theirs[:64], b"".join(pair._bytes[0][i] or b"" for i in theirs[:64])
        logp_L = np.log(random.uniform(1e-4, 1, len(pair.encode(text)[0])))
        worst = max(worst, abs(float(pair.span_likelihoods(text, logp_L).sum() - logp_L.sum())))
        short = clipped.decode("utf-8", errors="ignore")
        count = len(pair.encode(short)[0])
        logits = random.normal(0, 3, (count, len(pair.place_V)))
        logp_LV = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        positions, _, projected = pair.project(short, logp_LV, len(pair._bytes[1]))
        starts = [s.teacher.start for s in pair.spans(short)]
        before = np.exp(logp_LV[starts][:, pair.place_V != TAIL]).sum(1)
        worst = max(worst, float(np.abs(np.exp(projected).sum(1) - before).max(initial=0.0)) if len(positions) == len(starts) else math.inf)
    return worst


def _shifted(pair: Alignment, texts: Sequence[str]) -> bool:
    """Whether a tokenizer, left to its defaults, gives other tokens than its beginning, the text's, and its end."""
    for tokenizer, head, side in ((pair._teacher, pair.beginnings[0], 0), (pair._student, pair.beginnings[1], 1)):
        for text in texts:
            whole, plain = list(tokenizer(text)["input_ids"]), pair.encode(text)[side]
            if whole[: len(head)] != list(head) or whole[len(head) : len(head) + len(plain)] != plain:
                return True
    return False


def beginning(tokenizer: Any) -> tuple[int, ...]:
    """The ids that a tokenizer puts before every text by default (a beginning-of-text token, or nothing)."""
    plain, whole = (list(tokenizer("a", add_special_tokens=wanted)["input_ids"]) for wanted in (False, True))
    at = next((n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain), 0)
    return tuple(whole[:at])


def token_bytes(tokenizer: Any) -> list[bytes | None]:
    """The bytes of text that each id stands for; None where an id stands for none. Raises LimbeckError for tokenizers that lose them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.dumps((json.loads(backend.to_str()).get("decoder") or {}) if backend is not None else {})
    if '"ByteLevel"' in decoder:
        table = {char: byte for byte, char in enumerate(_byte_letters())}
        spell = lambda token: bytes(table[c] for c in token) if all(c in table for c in token) else None  # noqa: E731
    elif '"Metaspace"' in decoder or '"ByteFallback"' in decoder:
        spell = lambda token: bytes([int(token[3:5], 16)]) if len(token) == 6 and token.startswith("<0x") else token.replace("\u2581", " ").encode("utf-8")  # noqa: E731
    else:
        raise LimbeckError("a tokenizer's tokens are not bytes of the text", type(tokenizer).__name__, "only byte-level and SentencePiece tokenizers can be compared")
    out: list[bytes | None] = [None] * len(tokenizer)
    for token, at in tokenizer.get_vocab().items():
        if at < len(out):
            out[at] = spell(token)
    for at, added in tokenizer.added_tokens_decoder.items():
        if at < len(out):
            out[at] = str(added.content).encode("utf-8")
    return out


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    letters = {**{b: chr(b) for b in plain}, **{b: chr(256 + n) for n, b in enumerate(others)}}
    return [letters[b] for b in range(256)]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
