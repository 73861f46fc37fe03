"""Are labels bought where a panel disagrees worth more than labels bought by chance? Both students learn from as many.

python benchmarks/panel_labels.py [--seeds 10] [--start 100] [--spend 100] [--pool 1500] [--test 600] [--task cf]: the job is to tell which
function the rule of a cf request begins with (bash: which command), learnt by the logistic regression that routes requests. For each seed a panel of five is
trained on resamples of `start` labelled requests and votes on a pool; `spend` of these are labelled (gold stands for the teacher), those
of most vote entropy for one student, as many drawn by chance for the other. Both start from the same labelled requests and are examined on the same others. Prints
each seed, and the mean gain with its 95 % interval over seeds (Student's). Exit 0 whatever it finds.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from itertools import islice

from limbeck import resolve
from limbeck.evaluate.paired import difference_interval
from limbeck.panel.labels import choose_by_chance, choose_requests
from limbeck.panel.router import Router, train_router
from limbeck.panel.vote import entropy_of
from limbeck.records import Prompt

MEMBERS = 5


def label_of(gold: str) -> str:
    """The first word of a gold answer: a rule's function, a command."""
    found = re.match(r"\W*(\w[\w.-]*)", gold)
    return found[1] if found else gold


def requests_of(task_name: str, seed: int, count: int) -> list[tuple[Prompt, str]]:
    """Different requests with the label of their gold."""
    found: dict[str, tuple[Prompt, str]] = {}
    for example in islice(resolve.get_task(task_name).generate(seed, 4 * count), 4 * count):
        found.setdefault(example.prompt.text, (example.prompt, label_of(example.gold[0])))
        if len(found) == count:
            break
    return list(found.values())


def learn(labelled: list[tuple[Prompt, str]]) -> Router:
    """A classifier of requests by label."""
    by_label: dict[str, list[Prompt]] = {}
    for prompt, label in labelled:
        by_label.setdefault(label, []).append(prompt)
    return train_router(by_label)


def votes_of(panel: list[Router], prompt: Prompt) -> dict[str, float]:
    """How many members say what."""
    votes: dict[str, float] = {}
    for member in panel:
        said = member.route(prompt)[0]
        votes[said] = votes.get(said, 0.0) + 1.0
    return votes


def right(student: Router, test: list[tuple[Prompt, str]]) -> float:
    """Share of requests whose label it tells."""
    return sum(student.route(prompt)[0] == label for prompt, label in test) / len(test)


def measure(task_name: str, seed: int, start: int, spend: int, pool_size: int, test_size: int) -> dict[str, float]:
    """Both students of one seed, and the one that bought nothing."""
    rng = random.Random(seed)
    found = requests_of(task_name, seed, start + pool_size + test_size)
    rng.shuffle(found)
    labelled, pool, test = found[:start], found[start : len(found) - test_size], found[-test_size:]
    panel = [learn([rng.choice(labelled) for _ in labelled]) for _ in range(MEMBERS)]
    chosen = choose_requests([entropy_of(votes_of(panel, prompt)) for prompt, _ in pool], spend)
    drawn = choose_by_chance(len(pool), spend, seed)
    return {"before": right(learn(labelled), test), "disagreement": right(learn([*labelled, *(pool[at] for at in chosen)]), test), "chance": right(learn([*labelled, *(pool[at] for at in drawn)]), test), "labels": len({label for _, label in found}), "pool": len(pool)}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("seeds", 10), ("start", 100), ("spend", 100), ("pool", 1500), ("test", 600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--task", default="cf")
    asked, began = parser.parse_args(), time.process_time()
    rows = []
    for seed in range(asked.seeds):
        rows.append(measure(asked.task, seed, asked.start, asked.spend, asked.pool, asked.test))
        print(json.dumps({"seed": seed, **{name: round(value, 4) for name, value in rows[-1].items()}}), flush=True)
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in ("before", "disagreement", "chance")}
    gain, low, high = difference_interval([row["disagreement"] - row["chance"] for row in rows])
    print(f"{asked.task}: {asked.start} labels, then {asked.spend} bought of {rows[0]['pool']}, {len(rows)} seeds, {asked.test} requests each: before {mean['before']:.1%}, by disagreement {mean['disagreement']:.1%}, by chance {mean['chance']:.1%}; gain {100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]; {time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
