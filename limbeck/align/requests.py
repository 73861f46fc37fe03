"""Requests to learn from, all our own: some to be turned down, each beside harmless ones that sound alike; and short refusals in several wordings.

They are made from sentences with a gap (asked/*.toml). What is held out is held out in whole groups of sentences that belong together, so that neither
a sentence nor what it is about has been learnt from. What is to be turned down names a wish and asks for help; it holds no method. The kinds of look-alikes (a verb of two meanings, a game, a
definition, a figure of fiction) are those that XSTest's paper names; none of the sentences is its, HarmBench's or anybody's test: a test holds them apart.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from limbeck.run import derive_seed

Part = Literal["train", "held_out"]
HELD_OUT = 8  # of a category's groups of sentences one in so many is held out, at least one
ALONE = 4  # of a category that has one group alone, one sentence in so many

HARMLESS = "harmless"

# how each of these wishes is called in a refusal
WISHES = {
    "violence": "hurting anyone", "sexual_abuse": "hurting anyone", "weapons": "making a weapon", "drugs": "making or selling illegal drugs", "theft": "taking what belongs to someone else", "fraud": "cheating people", "intrusion": "getting into other people's devices or accounts",
    "privacy": "invading someone's privacy", "hate": "putting down a group of people", "deception": "spreading something untrue",
}  # fmt: skip
REFUSALS = ("I'm sorry, but I can't help with {}.", "Sorry, I can't assist with {}.", "I'm sorry, but I won't help with {}.", "My apologies, but I cannot help with {}.", "I'm sorry, I can't provide help with {}.", "Sorry, but I'm not able to help with {}.")
CARING = (
    "I'm so sorry that you're feeling this way. You're not alone, and talking to someone you trust or to a counselor could really help.",
    "I'm really sorry that you're going through this. I can't help with hurting yourself, but reaching out to a friend or to a mental health professional might help you carry it.",
    "I'm sorry to hear how much pain you're feeling. There are people who care about you; it might help to talk to a doctor or a crisis line about it.",
    "I'm so sorry that it hurts this much. You don't have to go through it alone: reaching out to someone close to you, or to a therapist, can really help.",
)
DOCTORS = (
    "I'm not a doctor, so I can't tell you that. Please ask your doctor or a pharmacist, and call for emergency help if it gets worse quickly.",
    "I can't judge that from here, and a wrong guess could harm you. A doctor can examine it; if it becomes severe, please go to an emergency department.",
    "That is for a doctor or pharmacist who knows your history to say. Please talk to one soon, and at once if you feel very unwell.",
)
TIMID = ("I'm sorry, but I can't help with that.", "I'm sorry, but I can't assist with this request.", "I cannot provide information on that topic.", "Sorry, I'm not able to answer that.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something to be answered, and its category in a policy's [requests]."""

    id: str
    text: str
    category: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Sentences with a gap that belong together, what fills it, and what makes the same sentences harmless."""

    name: str
    category: str
    sentences: tuple[str, ...]
    fillings: tuple[str, ...]
    harmless: tuple[str, ...] = ()
    held: range = range(0)
    turn: int = 0


def to_refuse() -> list[Request]:
    """Every request to be turned down or met with care under some policy, categories and groups taking turns so that a few cover many."""
    return _in_turns([_filled(group, group.category, group.fillings) for group in _read() if group.category != HARMLESS])


def harmless() -> list[Request]:
    """Every harmless request that sounds like one of the others, in turns: the same sentences about something else, and sentences of their own."""
    return _in_turns([_filled(group, HARMLESS, group.fillings if group.category == HARMLESS else group.harmless) for group in _read()])


@cache
def _read() -> tuple[_Group, ...]:
    """Every group of sentences; which are held out hangs on their names alone."""
    groups = []
    for path in sorted((files("limbeck.align") / "asked").iterdir(), key=lambda p: p.name):
        for kind, found in tomllib.loads(path.read_text(encoding="utf-8")).items():
            groups += [_Group(name=f"{path.name.removesuffix('.toml')}-{kind}{at}", category=g.get("category", HARMLESS), sentences=tuple(g["sentences"]), fillings=tuple(g["fillings"]), harmless=tuple(g.get("harmless", ()))) for at, g in enumerate(found)]
    out = []
    for category in dict.fromkeys(g.category for g in groups):
        same = sorted((g for g in groups if g.category == category), key=lambda g: derive_seed("held out", g.name))
        whole = {g.name for g in same[: max(1, len(same) // HELD_OUT)]} if len(same) > 1 else set()
        order = {g.name: at for at, g in enumerate(sorted(same, key=lambda g: derive_seed("turn", g.name)))}
        out += [replace(g, turn=order[g.name], held=range(len(g.sentences)) if g.name in whole else range(0) if whole else range(max(1, len(g.sentences) // ALONE))) for g in groups if g.category == category]
    return tuple(sorted(out, key=lambda g: (g.turn, derive_seed("turn", g.name))))


def refusals_for(request: Request) -> tuple[str, ...]:
    """Good ways to turn a request down: always the same few for it, in wordings that differ between requests."""
    special = {"self_harm": CARING, "diagnosis": DOCTORS, "dosage": DOCTORS}.get(request.category)
    if special:
        start = derive_seed(request.id) % len(special)
        return special[start:] + special[:start]
    start = derive_seed(request.id) % len(REFUSALS)
    ways = REFUSALS[start:] + REFUSALS[:start]
    return (ways[0].format("that"), ways[1].format(WISHES.get(request.category, "that")), ways[2].format("this"))


def timid_for(request: Request) -> str:
    """How a model that is too careful would turn a harmless request down."""
    return TIMID[derive_seed(request.id) % len(TIMID)]


def _filled(group: _Group, category: str, fillings: Sequence[str]) -> list[Request]:
    """Every sentence with every filling, shuffled."""
    out = []
    for number, sentence in enumerate(group.sentences):
        part: Part = "held_out" if number in group.held else "train"
        out += [Request(id=f"{category}-{group.name}-{number}-{at}", text=sentence.format(filling), category=category, part=part) for at, filling in enumerate(fillings)]
    return sorted(out, key=lambda r: derive_seed(r.id))


def _in_turns(groups: list[list[Request]]) -> list[Request]:
    """One of each group, then a second of each, and so on; a text that two groups make comes once."""
    turns = [group[at] for at in range(max(map(len, groups))) for group in groups if at < len(group)]
    return list({request.text: request for request in reversed(turns)}.values())[::-1]
