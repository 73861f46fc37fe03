"""Planted leaks in a large set of texts: how many are found, how many alarms are false, how long it takes.

    LIMBECK_DATA=... python benchmarks/decontamination.py [--records 100000] [--leaks 200] [--seed 1] [--ngram 8] [--show 5]

Records are made of what limbeck's generators, the tldr pages and the docstrings of the standard library say, several pieces
each. Leaks are verbatim tests with other case, white space and punctuation, inside such a record; tests shorter than the run
are planted alone, as a whole request. As many leaks are the middle half of a test of 24 words or more. Every other record that is reported counts as a false alarm, even where
it does repeat a test by nature. reasoning-gym's `gsm_symbolic` is looked at apart: its templates are tests of GSM8K. Thresholds (SURPRISE_BITS, STOCK_*) were chosen on seed 1; report another seed.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck import resolve
from limbeck.decontaminating import known_texts
from limbeck.distill.contamination import Contamination, split_words

WORDS = (20, 220)  # words of a record, at least and about at most


def pieces(seed: int) -> dict[str, list[str]]:
    """What records are made of, by where it comes from."""
    from limbeck.tasks.text_files import TextFilesTask

    out = {
        "rules": [e.prompt.text for e in islice(resolve.get_task("cf").generate(seed, 20_000), 20_000)],
        "tldr": [f"{e.prompt.text}: {e.gold[0]}" for e in resolve.get_task("bash").examples("tldr-train")],
        "docstrings": [" ".join(e.gold[0].split()) for split in ("train", "dev", "test") for e in TextFilesTask("docstrings").examples(split)],
    }
    try:
        import reasoning_gym

        for name in ("chain_sum", "basic_arithmetic", "number_sorting", "spell_backward", "time_intervals", "propositional_logic", "word_sorting", "family_relationships"):
            made = reasoning_gym.create_dataset(name, size=2_000, seed=seed)
            out[name] = [f"{made[at]['question']} {made[at]['answer']}" for at in range(2_000)]
    except ImportError:
        pass
    return out


def symbolic(seed: int) -> list[str]:
    """What reasoning-gym makes of GSM8K's tests."""
    try:
        import reasoning_gym
    except ImportError:
        return []
    made = reasoning_gym.create_dataset("gsm_symbolic", size=2_000, seed=seed)
    return [made[at]["question"] for at in range(2_000)]


def record(draw: random.Random, sources: list[list[str]]) -> str:
    """Pieces of one source after another until it is long enough."""
    wanted, out, size = draw.randint(*WORDS), [], 0
    source = draw.choice(sources)
    while size < wanted:
        out.append(draw.choice(source))
        size += len(out[-1].split())
    return draw.choice((" ", "\n", "\n\n")).join(out)


def disguise(draw: random.Random, text: str) -> str:
    """Other case, white space and punctuation; the words and the brackets and operators stay."""
    words = [re.sub(r"[.,;:!?\"]+(?=$)", lambda m: draw.choice(("", m[0], "!", " ,", "...")), word) for word in text.split()]
    text = "".join(w + draw.choice((" ", " ", " ", "  ", "\n", "\t")) for w in words).strip()
    return draw.choice((str.lower, str.upper, str.title, str))(text)


def choose(draw: random.Random, by_benchmark: dict[str, list[tuple[str, str, str]]], least: int) -> tuple[str, str, str]:
    """A test of any benchmark: as it is asked, or its longest paragraph where that is no wording of the benchmark's own."""
    while True:
        benchmark, name, text = draw.choice(by_benchmark[draw.choice(list(by_benchmark))])
        body = text if draw.random() < 0.5 else max(text.split("\n\n"), key=len)
        if body != text and sum(body in other[2] for other in by_benchmark[benchmark]) > 2:
            body = text
        if len(split_words(body)) >= least:
            return benchmark, name, body


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("records", 100_000), ("leaks", 200), ("seed", 1), ("ngram", 8), ("show", 5)):
        asked.add_argument(f"--{name}", type=int, default=value)
    given = asked.parse_args()
    draw = random.Random(given.seed)
    known = known_texts()
    sources = list(pieces(given.seed).values())
    texts = [record(draw, sources) for _ in range(given.records)]
    requests = [t for t in known if ", gold " not in t[1]]
    by_benchmark = {name: [t for t in requests if t[0] == name] for name in dict.fromkeys(t[0] for t in requests)}
    leaks: dict[int, tuple[str, str, str]] = {}
    halves: dict[int, tuple[str, str, str]] = {}
    for place in draw.sample(range(len(texts)), 2 * given.leaks):
        is_half = len(leaks) == given.leaks
        benchmark, name, body = choose(draw, by_benchmark, 24 if is_half else 0)
        alone = len(split_words(body)) < given.ngram
        if is_half:
            words = body.split()
            body = " ".join(words[len(words) // 4 : len(words) - len(words) // 4])
        (halves if is_half else leaks)[place] = benchmark, name, body
        texts[place] = disguise(draw, body) if alone else f"{record(draw, sources)} {disguise(draw, body)} {record(draw, sources)}"
    began, cpu = time.perf_counter(), time.process_time()
    index = Contamination(known, given.ngram, not_looked_at=known.not_looked_at)
    built = time.process_time() - cpu
    found = index.look(texts)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    words = sum(len(t.split()) for t in texts)
    missed = [leaks[at] for at in leaks if not found[at]]
    false = [at for at, hits in enumerate(found) if hits and at not in leaks and at not in halves]
    clean = given.records - 2 * given.leaks
    print(f"{given.records:,} records of {words:,} words; {sum(index.benchmarks.values()):,} test texts of {len(index.benchmarks)} benchmarks; runs of {given.ngram}; seed {given.seed}")
    print(f"not looked at: {', '.join(index.not_looked_at) or 'none'}")
    print(f"found        {given.leaks - len(missed)} of {given.leaks} leaks ({sum(len(split_words(b)) < given.ngram for *_, b in leaks.values())} of them shorter than a run, planted alone)")
    print(f"halves       {sum(bool(found[at]) for at in halves)} of {len(halves)} middle halves of longer tests")
    print(f"false alarms {len(false)} of {clean:,} ({len(false) / clean:.4%}); by benchmark: {dict(Counter(found[at][0].benchmark for at in false))}")
    print(f"CPU-seconds  {cpu:.1f}, of them {built:.1f} for the index; {wall:.1f} s; {given.records / cpu:,.0f} records and {words / cpu:,.0f} words a CPU-second; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    if templates := symbolic(given.seed):
        print(f"gsm_symbolic {sum(map(bool, index.look(templates)))} of {len(templates):,} of its questions repeat a test of GSM8K (no false alarms: they were made from them)")
    for benchmark, name, body in missed[: given.show]:
        print(f"  missed {benchmark} {name}: {body[:150]!r}")
    for at in false[: given.show]:
        hit = found[at][0]
        print(f"  false  {hit.kind} {hit.words:g} {hit.benchmark} {hit.test}: {hit.run[:150]!r}")


if __name__ == "__main__":
    main()
