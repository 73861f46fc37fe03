"""A panel is an answerer made of answerers. Whatever its members do, each request gets the best answer there is, and `meta` says who was missing and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.panel.best import rank_best
from limbeck.panel.members import Heard, Member, Seats
from limbeck.panel.reading import Reading
from limbeck.panel.vote import (
    Ballot,
    agreement_of,
    ballots_of,
    entropy_of,
    is_decided,
    rank_votes,
    seats_of,
    waves_of,
    weigh,
)
from limbeck.panel.words import debate_prompt, sum_prompt
from limbeck.records import Answer, Candidate, Prompt

Route = Callable[[Prompt], tuple[str, float]]  # a request: the task it is of, and how sure


@dataclass(slots=True)
class Hearing:
    """One request under way: everything said so far, its votes, and who else was asked."""

    prompt: Prompt
    heard: list[Heard] = field(default_factory=list)
    ballots: list[Ballot] = field(default_factory=list)
    asked: float = 0.0  # votes asked for
    candidates: tuple[Candidate, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def votes(self) -> dict[Any, float]:
        """Weights by what the answers come to."""
        return weigh(self.ballots)


class Panel:
    """`members` by the rule of `kind`; `aggregator` and `teacher` where the kind needs them; `route` for a router. See docs/panel.md."""

    draws_samples = False

    def __init__(
        self, name: str, kind: str, members: Sequence[Member], reading: Reading, *, early_stop: bool = True, threshold: float | None = None, rounds: int = 2,
        aggregator: Member | None = None, teacher: Member | None = None, route: Route | None = None, settings: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.kind, self.members, self.reading = name, kind, tuple(members), reading
        self.aggregator, self.teacher, self.threshold = aggregator, teacher, threshold
        self._early_stop, self._rounds, self._route, self._settings = early_stop, rounds, route, settings or {}
        self._seats = Seats()
        counts = [getattr(m.answerer, "parameters", None) for m in (*self.members, *(x for x in (aggregator, teacher) if x))]
        self.parameters: int | None = None if any(c is None for c in counts) else sum(c or 0 for c in counts)
        if kind in ("cascade", "router") and threshold is None:
            raise LimbeckError(f"under which {'agreement' if kind == 'cascade' else 'confidence'} is the teacher asked?", f"{name}, panel.threshold", "set it, or let `limbeck panel calibrate` choose it on examples with gold" if kind == "cascade" else "set it, or train the router: `limbeck panel train-router`")

    def settings(self) -> dict[str, Any]:
        """What must be equal for two sets of answers to be comparable."""
        return self._settings

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """One answer a request, at most k candidates; `no_answer` only where nobody said anything."""
        began = time.perf_counter()
        hearings = [Hearing(prompt=p) for p in prompts]
        if hearings:
            {"vote": self._vote, "best": self._best, "sum": self._sum, "debate": self._debate, "cascade": self._cascade, "router": self._router}[self.kind](hearings, k)
        seconds = (time.perf_counter() - began) / max(1, len(prompts))
        return [self._conclude(h, seconds, k) for h in hearings]

    def hear(self, prompts: Sequence[Prompt]) -> list[Hearing]:
        """Everything that all members say, with its votes: no early stop, no teacher. For choosing members, calibrating, and asking next."""
        hearings = [Hearing(prompt=p) for p in prompts]
        self._ask_seats(hearings, early_stop=False)
        return hearings

    # What each kind does with a batch of requests.

    def _vote(self, hearings: list[Hearing], k: int) -> None:
        self._ask_seats(hearings, self._early_stop)
        for h in hearings:
            h.candidates = rank_votes(h.ballots, k)

    def _best(self, hearings: list[Hearing], k: int) -> None:
        self._ask_seats(hearings, early_stop=False)
        for h in hearings:
            h.candidates = rank_best(h.prompt, h.heard, self.reading, k)
            h.more["verified"] = bool(h.candidates and h.candidates[0].meta.get("passed"))

    def _sum(self, hearings: list[Hearing], k: int) -> None:
        self._ask_seats(hearings, early_stop=False)
        assert self.aggregator
        able = [h for h in hearings if any(x.candidates for x in h.heard)]
        told = [sum_prompt(self.reading.pose(h.prompt), [c.text for x in h.heard for c in x.candidates]) for h in able]
        self._write_last(able, told, k)

    def _write_last(self, able: list[Hearing], told: list[Prompt], k: int) -> None:
        """The aggregator's answer first, then the votes; the votes alone where it is missing."""
        for h in able:
            h.candidates = rank_votes(h.ballots, k)
        if self.aggregator is None or not able:
            return
        for h, last in zip(able, self._seats.ask([(self.aggregator, told, 1)], bare=True)[0], strict=True):
            h.heard.append(last)
            if last.candidates:
                said = last.candidates[0]
                h.candidates = (replace(said, score=0.0), *(c for c in h.candidates if c.text != said.text))[:k]
                h.more["written_by"] = self.aggregator.name

    def _debate(self, hearings: list[Hearing], k: int) -> None:
        self._ask_seats(hearings, early_stop=False)
        said = {id(h): {x.member.name: x.candidates[0].text for x in h.heard if x.candidates} for h in hearings}
        one, two = self.members
        for number in range(1, self._rounds + 1):
            apart = [h for h in hearings if len(said[id(h)]) == 2 and not self._is_agreed(h)]
            if not apart:
                break
            told = [[debate_prompt(self.reading.pose(h.prompt), said[id(h)][a.name], said[id(h)][b.name]) for h in apart] for a, b in ((one, two), (two, one))]
            for replies in self._seats.ask([(one, told[0], 1), (two, told[1], 1)], bare=True):
                for h, reply in zip(apart, replies, strict=True):
                    h.heard.append(reply)
                    if reply.candidates:
                        said[id(h)][reply.member.name] = reply.candidates[0].text
            for h in apart:  # the last word of each is its vote
                h.ballots = [Ballot(text=said[id(h)][m.name], key=self.reading.key(h.prompt, said[id(h)][m.name]), weight=m.weight, member=m.name) for m in self.members]
                h.more["rounds"] = number
        for h in hearings:
            h.candidates = rank_votes(h.ballots, k)
        apart = [h for h in hearings if len(said[id(h)]) == 2 and not self._is_agreed(h)]
        self._write_last(apart, [sum_prompt(self.reading.pose(h.prompt), list(said[id(h)].values())) for h in apart], k)

    def _is_agreed(self, hearing: Hearing) -> bool:
        return agreement_of(hearing.votes(), hearing.asked) >= 1.0

    def _cascade(self, hearings: list[Hearing], k: int) -> None:
        self._ask_seats(hearings, early_stop=False)
        for h in hearings:
            h.candidates = rank_votes(h.ballots, k)
        assert self.threshold is not None
        self._ask_teacher([h for h in hearings if agreement_of(h.votes(), h.asked) < self.threshold], k)

    def _ask_teacher(self, unsure: list[Hearing], k: int) -> None:
        """The teacher's answer for these; what there was before stays where it is missing."""
        if self.teacher is None or not unsure:
            return
        for h, said in zip(unsure, self._seats.ask([(self.teacher, [h.prompt for h in unsure], k)])[0], strict=True):
            h.heard.append(said)
            h.more["to_teacher"] = True
            if said.candidates:
                h.candidates = said.candidates[:k]

    def _router(self, hearings: list[Hearing], k: int) -> None:
        assert self._route and self.threshold is not None
        chosen: dict[str, list[Hearing]] = {}
        unsure = []
        for h in hearings:
            task, confidence = self._route(h.prompt)
            h.more |= {"routed_to": task, "confidence": round(confidence, 6)}
            known = any(m.task == task for m in self.members)
            (chosen.setdefault(task, []) if known and (confidence >= self.threshold or self.teacher is None) else unsure).append(h)
        self._ask_specialists(chosen, k)
        failed = [h for part in chosen.values() for h in part if not h.candidates]
        self._ask_teacher([*unsure, *failed], k)
        lost: dict[str, list[Hearing]] = {}
        for h in unsure:  # a likely specialist comes before silence
            if not h.candidates:
                lost.setdefault(h.more["routed_to"], []).append(h)
        self._ask_specialists(lost, k)

    def _ask_specialists(self, chosen: dict[str, list[Hearing]], k: int) -> None:
        able = [m for m in self.members if m.task in chosen]
        for member, replies in zip(able, self._seats.ask([(m, [h.prompt for h in chosen[m.task]], max(k, m.samples)) for m in able]), strict=True):
            for h, said in zip(chosen[member.task], replies, strict=True):
                h.heard.append(said)
                h.candidates = said.candidates[:k]

    # What they share.

    def _ask_seats(self, hearings: list[Hearing], early_stop: bool) -> None:
        """Waves of seats, at the same time within a wave; a request that is decided is not asked about any more."""
        seats = seats_of(self.members, early_stop)
        left, total = sum(s.weight for s in seats), sum(s.weight for s in seats)
        open_ = list(hearings)
        for wave in waves_of(seats, early_stop):
            prompts = [h.prompt for h in open_]
            replies = self._seats.ask([(s.member, prompts, s.upto) for s in wave])
            left -= sum(s.weight for s in wave)
            for seat, heard in zip(wave, replies, strict=True):
                for h, said in zip(open_, heard, strict=True):
                    part = replace(said, candidates=said.candidates[seat.first : seat.upto], first=seat.first, calls=seat.upto - seat.first)
                    h.heard.append(part)
                    h.ballots += ballots_of(h.prompt, part, self.reading)
                    h.asked += seat.weight
            open_ = [h for h in open_ if not (early_stop and is_decided(h.votes(), left))]
            if not open_:
                break
        for h in hearings:
            h.more["agreement"] = round(agreement_of(h.votes(), h.asked), 6)
            if early_stop and h.asked < total - 1e-9:
                h.more["stopped_early"] = True

    def _conclude(self, h: Hearing, seconds: float, k: int) -> Answer:
        """The answer with its log. Where votes gave none, anything that was said comes before silence."""
        candidates = h.candidates
        if not candidates:
            unread = [c.text for x in h.heard for c in x.candidates]
            candidates = tuple(Candidate(text=t, score=-100.0 - n, meta={"unread": True}) for n, t in enumerate(dict.fromkeys(unread)))[:k]
        missing = {x.member.name: x.missing for x in h.heard if x.missing}
        unread = sorted({b.member for b in h.ballots if b.key is None} - {b.member for b in h.ballots if b.key is not None})
        meta = {"kind": self.kind, "calls": sum(x.calls for x in h.heard), "cost": sum(x.calls * x.member.cost for x in h.heard if not x.missing), **h.more}
        if h.ballots:
            meta["disagreement"] = round(entropy_of(h.votes()), 6)
        meta |= ({"missing": missing} if missing else {}) | ({"unreadable": unread} if unread else {})
        costs = [x.cost_usd for x in h.heard if x.cost_usd is not None]
        spent = sum(costs) if costs else None
        if not candidates:
            why = "; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "nobody said anything"
            return Answer(prompt_id=h.prompt.id, status="no_answer", reason=why, seconds=seconds, cost_usd=spent, meta={"panel": meta})
        return Answer(prompt_id=h.prompt.id, candidates=candidates, seconds=seconds, cost_usd=spent, meta={"panel": meta})
