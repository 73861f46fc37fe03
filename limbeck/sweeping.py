"""Each student answers in the way that suits it: its ways are tried on examples apart, the best serves, and what it costs is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.records import Example

Progress = Callable[[int, int], None]


def set_sampling(expert: Any, setting: dict[str, Any]) -> Any:
    """An expert that answers in one way: `beams`, `temperature`, `steps` and whatever else its kind knows; what is not said stays as it was made."""
    if not setting:
        return expert
    rest = dict(setting)
    expert.beams = int(rest.pop("beams", expert.beams))
    expert.sampling = {**expert.sampling, **rest}
    return expert


def load_swept(path: str, task_name: str, name: str, setting: dict[str, Any]) -> Any:
    """An expert from its folder with its way to answer: a function of plain values, so that another process can call it."""
    return set_sampling(resolve.get_expert(path, resolve.get_task(task_name), name=name), setting)


def sweep(task: Any, path: str, settings: Sequence[dict[str, Any]], examples: Sequence[Example], k: int, progress: Progress, task_name: str = "") -> dict[str, Any]:
    """Every setting's scores on the same examples; `chosen` has the highest mean of top 1 and top k, the first of equals."""
    from limbeck.evaluate.examine import examine, measures_of

    main = measures_of(task)[0]
    tried = []
    for number, setting in enumerate(settings):
        expert = load_swept(path, task_name or task.name, "swept", setting)
        result = examine(task, expert, examples, split="sweep", k=k)
        best = [[max(t.get(main, [])[:rank], default=0.0) for t in result["trials"]] for rank in (1, k)]
        means = [sum(values) / max(1, len(values)) for values in best]
        named = {s["name"]: s["value"] for s in result["scores"]}
        tried.append({
            "setting": setting, "top_1": means[0], f"top_{k}": means[1], "mean": sum(means) / 2, "valid": named.get("valid"),
            "distinct_4": named.get("distinct-4"), "cpu_seconds_per_answer": result["cpu_seconds_per_answer"],
        })  # fmt: skip
        progress(number + 1, len(settings))
    best_one = max(range(len(tried)), key=lambda n: (tried[n]["mean"], -n))
    return {"n": len(examples), "k": k, "measure": main, "tried": tried, "chosen": tried[best_one]["setting"]}


def footprint(path: Path, task_name: str, setting: dict[str, Any], examples: Sequence[Example], k: int) -> dict[str, Any]:
    """Waiting time and memory of one expert, with one thread and with as many as there are cores."""
    from limbeck.evaluate.footprint import measure_footprint
    from limbeck.models.decoder import read_facts
    from limbeck.models.expert import read_config

    load = partial(load_swept, str(path), task_name, "timed", setting)
    prompts = [e.prompt for e in examples]
    cores = resolve.count_cores()
    return {
        "file_bytes": sum(f.stat().st_size for f in path.glob("*.safetensors")), "parameters": (read_facts(path) or read_config(path))["parameters"],
        "runs": [measure_footprint(load, prompts, k, threads) for threads in dict.fromkeys((1, cores))],
    }  # fmt: skip
