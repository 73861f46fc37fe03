"""Answerers that cost nothing: the nearest utterance seen, and the commonest rules. Both link columns and fill slots."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.cf.codec import SYMBOLS, CFCodec
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import parse
from limbeck.tasks.cf.reading import Reading, describe_table, stem

_COL, _W, _VAL = SYMBOLS.index("COL0"), SYMBOLS.index("W0"), SYMBOLS.index("VAL0")
NEIGHBOURS = 40
CHUNK = 2000  # examples a process studies at a time


def template(symbols: Sequence[int]) -> tuple[str, ...]:
    """A rule with its slots emptied: which functions, and where columns, words and values go."""
    return tuple("COL" if _COL <= s < _W else "W" if _W <= s < _VAL else "VAL" if s >= _VAL else SYMBOLS[s] for s in symbols)


def bare_words(reading: Reading) -> list[str]:
    """The utterance without what is particular to its table: <col>, <val> and <num> stand for links and literals."""
    out = []
    for word, link in zip(reading.words, reading.links, strict=True):
        if word.value is not None:
            out.append("<pct>" if word.is_percent else "<num>")
        elif word.period is not None:
            out.append("<date>")
        elif link.column >= 0 or word.sort == "range":
            out.append("<col>")
        else:
            out.append("<val>" if link.is_whole_value else stem(word.text))
    return [w for at, w in enumerate(out) if at == 0 or w != out[at - 1] or not w.startswith("<")]


def fill(codec: CFCodec, prompt: Prompt, shape: Sequence[str]) -> str | None:
    """A template set into a prompt: linked columns in order, then a column of the right kind; literals in order."""
    reading = codec.reading(prompt)
    spoken = [k.column for k in sorted(reading.links, key=lambda k: -k.strength) if k.column >= 0]
    valued = [k.value_column for k in reading.links if k.value_column >= 0]
    columns = list(dict.fromkeys(spoken + valued))
    numbers = [i for i, w in enumerate(reading.words) if w.value is not None and not reading.links[i].by_letter]
    dates = [i for i, w in enumerate(reading.words) if w.period is not None]
    texts = _spans(reading)
    out: list[int] = []
    names = list(shape)
    at = 0
    while at < len(names):
        name = names[at]
        if name == "COL":
            out.append(_COL + (columns.pop(0) if columns else _default(reading, names[at - 1])))
        elif name == "W" and _is_text(names, at):
            if not texts:
                return None
            first, last = texts.pop(0)
            out += [_W + first, _W + last]
            at += 1
        elif name == "W":
            pool = dates if _function(names, at).startswith("Date") else numbers
            if not pool:
                return None
            out.append(_W + pool.pop(0))
        elif name == "VAL":
            linked = [i for i, v in enumerate(reading.values) if v[2]] or list(range(len(reading.values)))
            if not linked:
                return None
            out.append(_VAL + linked[0])
        else:
            out.append(SYMBOLS.index(name))
        at += 1
    return codec.decode(prompt, out)


def _function(names: Sequence[str], at: int) -> str:
    return next((n for n in reversed(names[:at]) if n[0].isupper() and n not in ("COL", "W", "VAL")), "")


def _is_text(names: Sequence[str], at: int) -> bool:
    return _function(names, at).startswith("Text")


def _spans(reading: Reading) -> list[tuple[int, int]]:
    """Quoted words, then words that are a cell's text, as first and last word; else the last word."""
    runs: list[tuple[int, int]] = []
    for is_member in (lambda i: reading.words[i].is_quoted, lambda i: reading.links[i].is_whole_value):
        start = None
        for i in range(len(reading.words) + 1):
            inside = i < len(reading.words) and is_member(i)
            if inside and start is None:
                start = i
            elif not inside and start is not None:
                runs.append((start, i - 1))
                start = None
    return list(dict.fromkeys(runs)) or ([(len(reading.words) - 1,) * 2] if reading.words else [])  # type: ignore[list-item]


def _default(reading: Reading, function: str) -> int:
    kinds = ("date",) if function.startswith(("Date", "Last", "Next", "This", "Older")) else ("text", "boolean") if function.startswith("Text") else ("number", "percent")
    return next((i for i, c in enumerate(reading.columns) if c.kind in kinds), 0)


def count_grams(codec: CFCodec, prompt: Prompt) -> Counter[str]:
    """Words and word pairs of an emptied utterance."""
    words = bare_words(codec.reading(prompt))
    return Counter(words + [f"{a} {b}" for a, b in itertools.pairwise(words)])


def study(examples: Iterable[Example], *, with_grams: bool = False) -> list[tuple[tuple[str, ...], Counter[str]]]:
    """Template and, when asked for, grams of each example whose answer can be encoded; many are read by two processes."""
    everything = list(examples)
    chunks = [everything[i : i + CHUNK] for i in range(0, len(everything), CHUNK)]
    work = partial(_study_chunk, with_grams=with_grams)
    if len(chunks) <= 1:
        return work(everything)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [studied for part in pool.map(work, chunks) for studied in part]


def _study_chunk(examples: Sequence[Example], with_grams: bool) -> list[tuple[tuple[str, ...], Counter[str]]]:
    codec = CFCodec()
    encoded = ((e, codec.encode_answer(e.prompt, e.gold[0])) for e in examples)
    return [(template(s[:-1]), count_grams(codec, e.prompt) if with_grams else Counter()) for e, s in encoded if s]


class NearestNeighbour:
    """TF-IDF over words and word pairs of emptied utterances; the neighbours' templates are filled from the prompt."""

    name = "nearest"
    parameters: int | None = 0

    def __init__(self) -> None:
        self.codec = CFCodec()
        self._templates: list[tuple[str, ...]] = []
        self._weights: dict[str, float] = {}
        self._index: dict[str, list[tuple[int, float]]] = defaultdict(list)

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> NearestNeighbour:
        """Remember examples with gold (or a teacher's answer in its place)."""
        self = cls()
        studied = study(examples, with_grams=True)
        bags = [grams for _, grams in studied]
        self._templates = [shape for shape, _ in studied]
        documents = Counter(gram for bag in bags for gram in bag)
        self._weights = {gram: math.log(1 + len(bags) / count) for gram, count in documents.items()}
        for number, bag in enumerate(bags):
            norm = math.sqrt(sum((c * self._weights[g]) ** 2 for g, c in bag.items())) or 1.0
            for gram, count in bag.items():
                self._index[gram].append((number, count * self._weights[gram] / norm))
        return self

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """Rules of the nearest utterances, distinct, that run and mark some rows."""
        return [self._answer(prompt, k) for prompt in prompts]

    def _answer(self, prompt: Prompt, k: int) -> Answer:
        scores: dict[int, float] = defaultdict(float)
        for gram, count in count_grams(self.codec, prompt).items():
            if len(postings := self._index.get(gram, ())) <= 0.2 * len(self._templates) + 50:
                for number, weight in postings:
                    scores[number] += count * self._weights[gram] * weight
        ranked = sorted(scores, key=lambda n: -scores[n])[: NEIGHBOURS * 5]
        return filled_answer(self.codec, prompt, ((self._templates[n], scores[n]) for n in ranked), k)


class Majority:
    """The commonest templates of the training set, whatever is asked."""

    name = "majority"
    parameters: int | None = 0

    def __init__(self) -> None:
        self.codec = CFCodec()
        self._templates: list[tuple[tuple[str, ...], float]] = []

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> Majority:
        """Count the templates of examples with gold."""
        self = cls()
        self._templates = [(t, float(c)) for t, c in Counter(t for t, _ in study(examples)).most_common(100)]
        return self

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """The same templates for every prompt, set into its table."""
        return [filled_answer(self.codec, prompt, self._templates, k) for prompt in prompts]


def filled_answer(codec: CFCodec, prompt: Prompt, templates: Iterable[tuple[tuple[str, ...], float]], k: int) -> Answer:
    """The first k distinct rules that templates give for a prompt and that mark some but not all rows."""
    table = describe_table(prompt.context["table"])[0]
    found: dict[str, float] = {}
    seen: set[tuple[str, ...]] = set()
    for shape, score in templates:
        if shape in seen:
            continue
        seen.add(shape)
        text = fill(codec, prompt, shape)
        if text is not None and text not in found:
            marks = run_rule(parse(text), table)
            if any(marks) and (not all(marks) or shape[0] in ("ColorScale", "DataBar", "IconSet")):
                found[text] = score
        if len(found) == k or len(seen) > NEIGHBOURS:
            break
    if not found:
        return Answer(prompt_id=prompt.id, status="no_answer", reason="no template fits")
    return Answer(prompt_id=prompt.id, candidates=tuple(Candidate(text=t, score=s) for t, s in found.items()))
