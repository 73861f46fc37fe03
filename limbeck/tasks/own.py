"""A user's own task: a TOML file of ten lines beside a JSONL or CSV file.

    name = "capitals"
    data = "capitals.csv"                      # or .jsonl
    prompt = "What is the capital of {country}? Answer with its name alone."
    answer = "capital"                         # the field with the gold answer (a string, or a list of accepted ones)
    scorer = "normalised"                      # exact, normalised, includes, number, choice, regex, json
    # optional: id, cluster, family (fields), choices (a field with a list), system (a text), split = "test"

The version is a hash of the settings and of the data: change a word and results no longer mix.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import string
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.text_task import TextTask

LARGEST_FIELD = 10_000_000  # characters
KEYS = {"name", "data", "prompt", "answer", "scorer", "id", "cluster", "family", "choices", "system", "split"}
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
LETTER = re.compile(r"(?i:answer|option|choice)\W{0,12}(?i:is\W{0,6})?\(?([A-Z])\b|\(([A-Z])\)|^\W*([A-Z])(?:[).:]|\W*$)", re.MULTILINE)

Scorer = Callable[[str, str], "float | str"]


def _normalise(text: str) -> str:
    """Lower case, no punctuation, no article, single spaces."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(w for w in bare.split() if w not in ("a", "an", "the"))


def _number(gold: str, text: str) -> float | str:
    found = NUMBER.findall(text)
    if not found:
        return "no number in the answer"
    wanted = NUMBER.findall(gold)
    if not wanted:
        raise LimbeckError(f"the gold answer {gold!r} holds no number", "scorer number", "use another scorer, or mend the data")
    return float(abs(float(found[-1].replace(",", "")) - float(wanted[-1].replace(",", ""))) < 1e-9)


def _choice(gold: str, text: str) -> float | str:
    found = {next(g for g in groups if g) for groups in LETTER.findall(text)}
    if len(found) != 1:
        return "no letter in the answer" if not found else f"several letters: {', '.join(sorted(found))}"
    return float(found.pop() == gold.strip().upper())


def _json(gold: str, text: str) -> float | str:
    try:
        said = json.loads(text)
    except ValueError:
        return "the answer is no JSON"
    return float(said == json.loads(gold))


SCORERS: dict[str, Scorer] = {
    "exact": lambda gold, text: float(text.strip() == gold.strip()),
    "normalised": lambda gold, text: float(_normalise(text) == _normalise(gold)),
    "includes": lambda gold, text: float(gold.strip().lower() in text.lower()),
    "number": _number,
    "choice": _choice,
    "regex": lambda gold, text: float(re.search(gold, text) is not None),
    "json": _json,
}


class OwnTask(TextTask):
    """The task that a TOML file describes. Its one measure is `correct`: any accepted answer will do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._settings = _read_settings(path)
        self.name = self._settings["name"]
        self._scorer = SCORERS[self._settings["scorer"]]
        self.known_splits = (self._settings.get("split", "test"),)
        self._data = path.parent / self._settings["data"]
        try:
            content = self._data.read_bytes()
        except OSError as problem:
            raise LimbeckError(f"the data cannot be read: {problem.strerror}", str(self._data), f"`data` in {path.name} is taken from its folder") from problem
        self.version = content_id([self._settings, hashlib.sha256(content).hexdigest()], 12)
        self._rows = _read_rows(self._data, content)

    def _load(self, split: str) -> list[Example]:
        found = [self._example(number, row) for number, row in enumerate(self._rows)]
        double = [name for name, count in Counter(e.id for e in found).items() if count > 1]
        if double:
            raise LimbeckError(f"{len(double)} ids come twice, the first {double[0]!r}", str(self._data), "give every row an id of its own, or leave `id` out")
        return found

    def _example(self, number: int, row: dict[str, Any]) -> Example:
        where, settings = f"{self._data}, row {number + 1}", self._settings
        for key in ("answer", "id", "cluster", "family", "choices"):
            if key in settings and settings[key] not in row:
                raise LimbeckError(f"there is no field {settings[key]!r}", where, f"it has: {', '.join(map(str, row))}")
        text = _fill(settings["prompt"], row, where, self.path)
        gold = row[settings["answer"]]
        accepted = tuple(str(g) for g in gold) if isinstance(gold, list) else (str(gold),)
        name = str(row[settings["id"]]) if "id" in settings else f"{number + 1}"
        context: dict[str, Any] = {}
        if settings.get("system"):
            context["messages"] = [{"role": "system", "content": settings["system"]}, {"role": "user", "content": text}]
        if "choices" in settings:
            context["choices"] = [str(c) for c in row[settings["choices"]]]
        meta = {key: str(row[settings[key]]) for key in ("cluster", "family") if key in settings}
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=accepted, source=str(self._data.name), meta=meta)

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right if any accepted answer is met; a reason where the scorer cannot read the text."""
        found = [self._scorer(gold, text) for gold in example.gold]
        values = [f for f in found if not isinstance(f, str)]
        return {"correct": max(values)} if values else str(found[0])


def load_own_task(path: str | Path) -> OwnTask:
    """The task of a TOML file. Raises LimbeckError for whatever a user can mend."""
    return OwnTask(Path(path))


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise LimbeckError(f"the task file cannot be read: {problem.strerror}", str(path), "name a TOML file") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the task file is no TOML: {problem}", str(path), "see docs/evaluate.md for one of ten lines") from problem
    unknown = sorted(set(settings) - KEYS)
    if unknown:
        raise LimbeckError(f"unknown key {unknown[0]!r}", str(path), f"known: {', '.join(sorted(KEYS))}")
    for key in ("name", "data", "prompt", "answer", "scorer"):
        if not isinstance(settings.get(key), str):
            raise LimbeckError(f"{key!r} is missing" if key not in settings else f"{key!r} must be a text", str(path), "see docs/evaluate.md for one of ten lines")
    if settings["scorer"] not in SCORERS:
        raise LimbeckError(f"there is no scorer {settings['scorer']!r}", str(path), f"known: {', '.join(SCORERS)}")
    return settings


def _read_rows(path: Path, content: bytes) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise LimbeckError(f"the data are not UTF-8: byte {problem.start}", f"{path}, line {line}", "save the file as UTF-8") from problem
    if path.suffix == ".csv":
        csv.field_size_limit(LARGEST_FIELD)
        try:
            rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        except csv.Error as problem:
            raise LimbeckError(f"the data are no CSV: {problem}", str(path), f"quote fields that hold commas; at most {LARGEST_FIELD:,} characters a field") from problem
        ragged = next((n for n, r in enumerate(rows) if None in r or None in r.values()), None)
        if ragged is not None:
            raise LimbeckError("a row has another number of fields than the header", f"{path}, row {ragged + 1}", "mend the row")
    else:
        rows = []
        for number, line in enumerate(text.splitlines()):
            if line.strip():
                rows.append(_read_line(line, f"{path}, line {number + 1}"))
    if not rows:
        raise LimbeckError("the data are empty", str(path), "give it at least one row")
    return rows


def _read_line(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise LimbeckError(f"this line is no JSON: {problem}", where, "one JSON object a line") from problem
    if not isinstance(row, dict):
        raise LimbeckError("this line is no JSON object", where, "one JSON object a line")
    if any(isinstance(v, str) and len(v) > LARGEST_FIELD for v in row.values()):
        raise LimbeckError(f"a field has over {LARGEST_FIELD:,} characters", where, "shorten it")
    return row


def _fill(template: str, row: dict[str, Any], where: str, path: Path) -> str:
    """{field} replaced by its value, {{ and }} by braces; nothing else is understood, so a template can reach nothing else."""
    out = []
    try:
        for literal, field, spec, conversion in string.Formatter().parse(template):
            out.append(literal)
            if field is None:
                continue
            if not field.isidentifier() or spec or conversion:
                raise LimbeckError(f"the template has a placeholder that is no field: {{{field}}}", str(path), "write {field}; {{ and }} for braces")
            if field not in row:
                raise LimbeckError(f"the template asks for {field!r}, which is not there", where, f"it has: {', '.join(map(str, row))}")
            out.append(str(row[field]))
    except ValueError as problem:
        raise LimbeckError(f"the template cannot be read: {problem}", str(path), "write {field}; {{ and }} for braces") from problem
    return "".join(out)
