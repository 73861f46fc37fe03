"""A user's own task: a TOML file of ten lines beside a JSONL or CSV file.

    name = "capitals"
    data = "capitals.csv"                      # or .jsonl
    prompt = "What is the capital of {country}? Answer with its name alone."
    answer = "capital"                         # the field with the gold answer (a string, or a list of accepted ones)
    scorer = "normalised"                      # exact, normalised, includes, number, choice, regex, json
    train = "requests.jsonl"                   # requests to distil from, in the same form; their answers may be left out
    licence = "CC-BY-4.0"                      # of those requests, as `limbeck terms --list` names it
    # optional: train, licence, id, cluster, family (fields), choices (a field with a list, or a list of fields), system (a text), split = "test"

The version is a hash of the settings, of the data and of our scorers: change a word and results no longer mix.
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
from limbeck.tasks.extract import choice_letter, last_number
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 2
LARGEST_FIELD = 10_000_000  # characters
KEYS = {"train", "licence", "name", "data", "prompt", "answer", "scorer", "id", "cluster", "family", "choices", "system", "split"}
TEXTS = ("train", "licence", "name", "data", "prompt", "answer", "scorer", "id", "cluster", "family", "system", "split")  # keys whose values are texts
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FEWEST_LETTERS = 10  # how far letters go where a row does not say how many choices it has

Scorer = Callable[[str, str], "float | str"]


def _normalise(text: str) -> str:
    """Lower case, no punctuation, no article, single spaces."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(w for w in bare.split() if w not in ("a", "an", "the"))


def _number(gold: str, text: str) -> float | str:
    said, wanted = last_number(text), last_number(gold)
    return "no number in the answer" if said is None or wanted is None else float(abs(said - wanted) < 1e-9)


def _choice(gold: str, text: str) -> float | str:
    wanted = gold.strip().upper()
    found = choice_letter(text, LETTERS[: max(FEWEST_LETTERS, LETTERS.index(wanted) + 1)])
    return found[1] if isinstance(found, tuple) else float(found == wanted)


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


def _gold_fault(scorer: str, gold: str) -> str:
    """Why a scorer can do nothing with a gold answer; empty where it can."""
    if scorer == "number" and last_number(gold) is None:
        return "holds no number"
    if scorer == "choice" and (len(gold.strip()) != 1 or gold.strip().upper() not in LETTERS):
        return "is no letter"
    try:
        if scorer == "regex":
            re.compile(gold)
        elif scorer == "json":
            json.loads(gold)
    except (re.error, ValueError, RecursionError) as problem:
        return f"is no {'pattern' if scorer == 'regex' else 'JSON'}: {problem}"
    return ""


class OwnTask(TextTask):
    """The task that a TOML file describes. Its one measure is `correct`: any accepted answer will do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._settings = _read_settings(path)
        self.name = self._settings["name"]
        self._scorer = SCORERS[self._settings["scorer"]]
        self.licence = self._settings.get("licence", "unstated") if "train" in self._settings else ""
        first = self._settings.get("split", "test")
        files = {first: "data"} | ({"train": "train"} if "train" in self._settings else {})
        if len(files) == 1 and "train" in self._settings:
            raise LimbeckError("the examined split is called 'train' too", str(path), "give `split` another name")
        self.known_splits = tuple(files)
        self._files = {split: path.parent / self._settings[key] for split, key in files.items()}
        contents = {split: self._read(file, files[split]) for split, file in self._files.items()}
        settings = {key: value for key, value in self._settings.items() if key not in ("train", "licence")}
        self.version = content_id([SCORER_VERSION, settings, hashlib.sha256(contents[first]).hexdigest()], 12)  # of what is examined: other requests to learn from leave it be
        self._rows = {split: _read_rows(self._files[split], content) for split, content in contents.items()}

    def _read(self, file: Path, key: str) -> bytes:
        try:
            return file.read_bytes()
        except OSError as problem:
            raise LimbeckError(f"the data cannot be read: {problem.strerror}", str(file), f"`{key}` in {self.path.name} is taken from its folder") from problem

    def _load(self, split: str) -> list[Example]:
        found = [self._example(number, row, split) for number, row in enumerate(self._rows[split])]
        double = [name for name, count in Counter(e.id for e in found).items() if count > 1]
        if double:
            raise LimbeckError(f"{len(double)} ids come twice, the first {double[0]!r}", str(self._files[split]), "give every row an id of its own, or leave `id` out")
        return found

    def _example(self, number: int, row: dict[str, Any], split: str) -> Example:
        where, settings = f"{self._files[split]}, row {number + 1}", self._settings
        listed = settings.get("choices", [])
        bare = split == "train" and not row.get(settings["answer"])  # a request that only a teacher answers
        for field in [*(settings[key] for key in ("answer", "id", "cluster", "family") if key in settings and not (bare and key == "answer")), *([listed] if isinstance(listed, str) else listed)]:
            if field not in row:
                raise LimbeckError(f"there is no field {field!r}", where, f"it has: {', '.join(map(str, row))}")
        text = _fill(settings["prompt"], row, where, self.path)
        gold: Any = [] if bare else row[settings["answer"]]
        accepted = tuple(_as_text(g) for g in gold) if bare or (isinstance(gold, list) and settings["scorer"] != "json") else (_as_text(gold),)
        fault = next((f"the gold answer {g[:80]!r} {said}" for g in accepted if (said := _gold_fault(settings["scorer"], g))), "" if accepted or bare else "there is no gold answer")
        if fault:
            raise LimbeckError(fault, where, f"scorer {settings['scorer']!r} needs one it can use: mend the row, or name another scorer")
        name = str(row[settings["id"]]) if "id" in settings else f"{number + 1}" if split != "train" else f"train-{number + 1}"
        context: dict[str, Any] = {}
        if settings.get("system"):
            context["messages"] = [{"role": "system", "content": settings["system"]}, {"role": "user", "content": text}]
        if "choices" in settings:
            found = row[listed] if isinstance(listed, str) else [row[field] for field in listed]
            if not isinstance(found, list) or len(found) < 2:
                raise LimbeckError(f"the field {listed!r} holds no list of two or more choices", where, "a JSON list in a .jsonl file, or choices = [\"field\", \"field\"] with a column each")
            context["choices"] = [str(c) for c in found]
        meta = {key: str(row[settings[key]]) for key in ("cluster", "family") if key in settings}
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=accepted, source=self._files[split].name, meta=meta)

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
    wrong = next((key for key in TEXTS if key in settings and not isinstance(settings[key], str)), None)
    if wrong:
        raise LimbeckError(f"{wrong!r} must be a text", str(path), "see docs/evaluate.md for one of ten lines")
    listed = settings.get("choices", "")
    if not isinstance(listed, str) and not (isinstance(listed, list) and all(isinstance(c, str) for c in listed)):
        raise LimbeckError("'choices' must be a field or a list of fields", str(path), "see docs/evaluate.md")
    if "{" not in settings["prompt"].replace("{{", ""):
        raise LimbeckError("the prompt has no {field}: every row would be asked the same", str(path), "write the name of a field in braces")
    if settings["scorer"] not in SCORERS:
        raise LimbeckError(f"there is no scorer {settings['scorer']!r}", str(path), f"known: {', '.join(SCORERS)}")
    return settings


def _read_rows(path: Path, content: bytes) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise LimbeckError(f"the data are not UTF-8: byte {problem.start}", f"{path}, line {line}", "save the file as UTF-8") from problem
    rows: list[dict[str, Any]] = []
    if path.suffix == ".csv":
        csv.field_size_limit(LARGEST_FIELD)
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            rows.extend(reader)
        except csv.Error as problem:
            raise LimbeckError(f"the data are no CSV: {problem}", f"{path}, line {reader.line_num + 1}", f"quote fields that hold commas; at most {LARGEST_FIELD:,} characters a field") from problem
        twice = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
        if twice:
            raise LimbeckError(f"two columns are called {twice[0]!r}", str(path), "give every column a name of its own")
        ragged = next((n for n, r in enumerate(rows) if None in r or None in r.values()), None)
        if ragged is not None:
            raise LimbeckError("a row has another number of fields than the header", f"{path}, row {ragged + 1}", "mend the row")
    else:
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
    if len(line) > LARGEST_FIELD and any(len(str(v)) > LARGEST_FIELD for v in row.values()):
        raise LimbeckError(f"a field has over {LARGEST_FIELD:,} characters", where, "shorten it")
    return row


def _as_text(value: Any) -> str:
    """A value of a row as the scorers read it: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


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
