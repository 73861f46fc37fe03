"""Pairs of English and Bash from the pinned sources, and the examples made of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from limbeck.data.groups import count_shared, normalise, split_by_group
from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, content_id

OFFICIAL = ("dev", "test", "train")
RELEASED = ("released-test", "released-train")
EXTRA = ("tldr-train", "tldr-dev", "cheatsheets")
CLEAN = "train-clean"
SPLITS = (*OFFICIAL, CLEAN, *RELEASED, *EXTRA)
ASK = "Write one Bash command line that does this:\n\n{utterance}\n\nAnswer with the command alone: no explanation, no Markdown."
PAGE_SHARES = {"tldr-train": 0.95, "tldr-dev": 0.05}
PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}(?!\})")
MNEMONIC = re.compile(r"\[(\w{1,3})\](?=\w)|(?<=\w)\[(\w{1,3})\]")


@dataclass(frozen=True, slots=True)
class Pair:
    """An utterance, its command, and the name of what it belongs to where the source has one (a page)."""

    utterance: str
    command: str
    page: str = ""


def pair_id(utterance: str, command: str) -> str:
    """The id of a pair in the published split."""
    return hashlib.sha256(f"{utterance}\t{command}".encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def load_pairs(split: str) -> tuple[Pair, ...]:
    """The pairs of a split in the order of its source. Raises LimbeckError where the source is not here."""
    if split in OFFICIAL:
        return tuple(_official(split))
    if split == CLEAN:
        return tuple(drop_seen(load_pairs("train"), _tests_at_hand()))
    if split in RELEASED:
        return tuple(read_released(json.loads(read_source("codefusion-bash", "codefusion/BashBenchmarks.json")), split.removeprefix("released-")))
    if split == "cheatsheets":
        rows = _rows(read_source("cheatsheets", "cheatsheets/cheat_pairs.jsonl"))
        return tuple(Pair(r["nl"].strip(), r["cmd"].strip(), r["page"]) for r in rows)
    if split in EXTRA:
        pairs = [Pair(plain_utterance(r["nl"]), fill_placeholders(r["cmd"]), r["page"]) for r in _rows(read_source("tldr", "tldr/tldr_pairs.jsonl"))]
        places = split_by_group([[p.page] for p in pairs], [p.page for p in pairs], PAGE_SHARES, "tldr")
        parts = {name: [p for p, place in zip(pairs, places, strict=True) if place == name] for name in PAGE_SHARES}
        # Pages say the same of many tools ("Display help"): what the training part has too is no test.
        return tuple(parts[split]) if split == "tldr-train" else tuple(drop_seen(parts[split], parts["tldr-train"]))
    raise LimbeckError(f"task 'bash' has no split {split!r}", "split", f"name one of: {', '.join(SPLITS)}")


def load_snippets() -> list[str]:
    """CODEFUSION's Bash lines for pre-training, each once, in the order of the file."""
    return list(dict.fromkeys(line for line in read_source("codefusion-snippets", "codefusion/BashSnippets.txt").decode("utf-8", "replace").splitlines() if line.strip()))


def make_examples(split: str) -> list[Example]:
    """One example a pair in training splits; in the others one an utterance, with all its commands as gold."""
    pairs = load_pairs(split)
    if "train" in split or split == "cheatsheets":
        return [_example([pair], f"bash-{pair_id(pair.utterance, pair.command)}-{at}", split) for at, pair in enumerate(pairs)]
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(f"{pair.page} {_same_utterance(pair.utterance)}".strip(), []).append(pair)
    return [_example(group, f"bash-{content_id(key)}", split) for key, group in groups.items()]


def report_overlap(training: Sequence[str], tests: Sequence[str]) -> list[dict[str, Any]]:
    """What each test split shares with each training split, utterances and commands apart; a split that is not here is left out."""
    out = []
    for seen in training:
        for asked in tests:
            try:
                left, right = load_pairs(seen), load_pairs(asked)
            except LimbeckError:
                continue
            for part in ("utterance", "command"):
                shared = count_shared([getattr(p, part) for p in left], [getattr(p, part) for p in right])
                out.append({"training": seen, "test": asked, "of": part} | shared.as_row())
    return out


def drop_seen(pairs: Iterable[Pair], tests: Iterable[Pair]) -> list[Pair]:
    """The pairs that share neither normalised utterance nor command with a test pair."""
    seen = {key for pair in tests for key in _keys(pair)}
    return [pair for pair in pairs if not seen & set(_keys(pair))]


def _keys(pair: Pair) -> list[Hashable]:
    return [("utterance", normalise(pair.utterance)), ("command", " ".join(pair.command.split()))]


def _tests_at_hand() -> list[Pair]:
    found = list(load_pairs("dev"))
    try:
        return found + list(load_pairs("test"))
    except LimbeckError:  # the test part may be kept elsewhere; then only dev is kept out
        return found


@lru_cache(maxsize=1)
def official_marks() -> dict[str, frozenset[str]]:
    """NL2Bash's own split: of each part, the first 8 hex digits of its pairs' ids. Written by lab/bash_split.py."""
    text = (resources.files("limbeck.tasks.bash") / "nl2bash_split.txt").read_text(encoding="ascii")
    parts = (line.split() for line in text.splitlines())
    return {name: frozenset(marks.hex()[at : at + 8] for at in range(0, 2 * len(marks), 8)) for name, packed in parts for marks in (base64.b64decode(packed),)}


def _official(split: str) -> list[Pair]:
    """The pairs that the published split puts there, in the order of their ids, so that it is the same on every machine."""
    wanted = official_marks()[split]
    known = {name: p for p in _candidates(split) if (name := pair_id(p.utterance, p.command))[:8] in wanted}
    missing = len(wanted) - len(known)
    if missing:
        raise LimbeckError(f"{missing} of {len(wanted)} pairs of NL2Bash's {split} part are not here", "LIMBECK_DATA", "run `limbeck data get nl2bash`")
    return [known[name] for name in sorted(known)]


def _candidates(split: str) -> list[Pair]:
    own = Path(os.environ.get("LIMBECK_DATA", "/nowhere")) / "nl2bash" / f"{split}.jsonl"
    for path in (own, own.with_suffix(".jsonl.gz")):
        if path.exists():  # each pair is checked by its id, so the file needs no checksum
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            return [Pair(r["nl"], r["cmd"]) for r in _rows(content)]
    utterances, commands = (read_source("nl2bash", f"nl2bash/all.{kind}").decode().split("\n") for kind in ("nl", "cm"))
    return [Pair(u.strip(), c.strip()) for u, c in zip(utterances, commands, strict=True)]


def read_released(table: dict[str, list[dict[str, Any]]], part: str) -> list[Pair]:
    """The released CODEFUSION file, as released: its defects are in docs/bash.md."""
    return [Pair(r["NL Utterance"].strip(), r["Code"].strip()) for r in table[part]]


def fill_placeholders(command: str) -> str:
    """A tldr command with its placeholders filled: {{path/to/file}} by its own name, {{[-l|--long]}} by the first choice."""

    def fill(match: re.Match[str]) -> str:
        inside = match[1]
        if inside.startswith("[") and inside.endswith("]") and "|" in inside:
            return inside[1:-1].split("|")[0]
        return inside.split("|")[0]

    return PLACEHOLDER.sub(fill, command).strip()


def plain_utterance(text: str) -> str:
    """A tldr line without the brackets that mark mnemonic letters."""
    return MNEMONIC.sub(lambda m: m[1] or m[2], text).strip()


def _same_utterance(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower())).rstrip(" .")


def make_prompt(name: str, utterance: str) -> Prompt:
    """An utterance, and the message that puts it to a language model."""
    return Prompt(id=name, text=utterance, context={"messages": [{"role": "user", "content": ASK.format(utterance=utterance)}]})


def _example(pairs: Sequence[Pair], name: str, split: str) -> Example:
    utterance = pairs[0].utterance
    prompt = make_prompt(name, utterance)
    golds = tuple(dict.fromkeys(p.command for p in pairs))
    meta = {"family": golds[0].split()[0] if golds[0].split() else "", "cluster": normalise(utterance)} | ({"page": pairs[0].page} if pairs[0].page else {})
    return Example(id=name, prompt=prompt, gold=golds, source=f"bash/{split}", meta=meta)


def _rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.decode().splitlines()]
