"""The commonest answer, where answers that come to the same are one (self-consistency, Wang et al. 2023), asked for no longer than needed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from limbeck.panel.members import Heard, Member
from limbeck.panel.reading import Reading
from limbeck.records import Candidate, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One answer with what it comes to (`key`; None: it cannot be read, and has no vote), its weight and its member."""

    text: str
    key: Hashable
    weight: float
    member: str
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A part of what a member is asked: its answers number `first` to `upto`, worth `weight` votes together."""

    member: Member
    first: int
    upto: int
    weight: float


def seats_of(members: Sequence[Member], early_stop: bool = True) -> list[Seat]:
    """Draws have a vote each, a ranking has one; where asking may stop early, what can be asked bit by bit is."""
    found = []
    for m in members:
        if not m.draws:
            found.append(Seat(member=m, first=0, upto=m.samples, weight=m.weight))
            continue
        half = math.ceil((m.samples + 1) / 2) if early_stop and m.grows and m.samples > 2 else m.samples
        found.append(Seat(member=m, first=0, upto=half, weight=m.weight * half))
        found += [Seat(member=m, first=at, upto=at + 1, weight=m.weight) for at in range(half, m.samples)]
    return found


def waves_of(seats: Sequence[Seat], early_stop: bool) -> list[list[Seat]]:
    """Who is asked together: all; or first as many as could decide between them, then one after another, and of a member nothing before its earlier draws."""
    if not early_stop:
        return [list(seats)]
    total, first, so_far = sum(s.weight for s in seats), [], 0.0
    order = sorted(seats, key=lambda s: s.first > 0)  # everybody's first draws before anybody's later ones
    while order and so_far <= total / 2:
        first.append(order.pop(0))
        so_far += first[-1].weight
    return [first, *([s] for s in order)]


def ballots_of(prompt: Prompt, heard: Heard, reading: Reading) -> list[Ballot]:
    """The votes in what a member said. Of a ranking the first that can be read has the vote; the rest stand behind it without one."""
    w, out, has_voted = heard.member.weight, [], False
    for c in heard.candidates:
        key = reading.key(prompt, c.text)
        counts = key is not None and (heard.member.draws or not has_voted)
        has_voted |= counts
        out.append(Ballot(text=c.text, key=key, weight=w if counts else 0.0, member=heard.member.name, score=c.score))
    return out


def weigh(ballots: Sequence[Ballot]) -> dict[Hashable, float]:
    """Votes by what an answer comes to, most first; ties go to what more stand behind, then to what was said first."""
    votes: dict[Hashable, float] = {}
    behind: dict[Hashable, int] = {}
    for b in ballots:
        if b.key is not None:
            votes[b.key] = votes.get(b.key, 0.0) + b.weight
            behind[b.key] = behind.get(b.key, 0) + 1
    order = list(votes)
    return {key: votes[key] for key in sorted(order, key=lambda k: (-votes[k], -behind[k], order.index(k)))}


def is_decided(votes: Mapping[Hashable, float], left: float) -> bool:
    """Whether the lead over the second cannot be caught by the votes that are `left`."""
    ranked = sorted(votes.values(), reverse=True)
    return bool(ranked) and ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0) > left


def agreement_of(votes: Mapping[Hashable, float], asked: float) -> float:
    """The first answer's share of all votes that were asked for: who is missing does not agree. 0 where nobody voted."""
    return max(votes.values(), default=0.0) / asked if asked > 0 else 0.0


def entropy_of(votes: Mapping[Hashable, float]) -> float:
    """How far votes are from unanimous, in nats: 0 where all agree, log n where n answers have as many (vote entropy, Dagan and Engelson 1995)."""
    total = sum(votes.values())
    shares = [v / total for v in votes.values() if v > 0] if total > 0 else []
    return max(0.0, -sum(s * math.log(s) for s in shares))


def rank_votes(ballots: Sequence[Ballot], k: int) -> tuple[Candidate, ...]:
    """At most k answers, most votes first: of those that come to the same the text said first. Its score is the logarithm of its share."""
    votes = weigh(ballots)
    total = sum(votes.values()) or 1.0
    texts: dict[Hashable, str] = {}
    for b in ballots:
        if b.key is not None:
            texts.setdefault(b.key, b.text)
    ranked = [(texts[key], share) for key, weight in votes.items() for share in [weight / total]]
    found: dict[str, float] = {}
    for text, share in ranked:
        found.setdefault(text, share)
    low = -50.0  # of an answer without a vote
    return tuple(Candidate(text=text, score=math.log(share) if share > 0 else low, meta={"probability": share}) for text, share in list(found.items())[:k])
