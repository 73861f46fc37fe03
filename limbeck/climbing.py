"""`limbeck staircase`: generations of teacher and student, each an ordinary run whose data make the next, with controls beside it.

OUT/g0-sSEED trains student, larger and weaker model on the task's own gold. OUT/ARM-sSEED/gN asks the model that the arm names, keeps
what the task's verifier passes, adds it to what there was, and trains anew with the same steps and batch. Every folder is a run: it
resumes, it has a data card and terms, `limbeck terms` reads it. Students differ in data alone, and askers draw as many samples as equal
compute allows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.climbing_together import Part, work_together
from limbeck.distill.asking import NONE_KEPT
from limbeck.distill.staircase import Step as Rung
from limbeck.distill.staircase import ask_for, decide_gate, gains, overlaps, planted
from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import mean_interval
from limbeck.evaluate.compare import compare_seeds, over_seeds, right
from limbeck.judging import Runs, Score, can_be_judged, check_judge, get_judge
from limbeck.make import MAIN, make
from limbeck.recipe.schema import ArmSection, MixSection, Recipe
from limbeck.records import Answer, Candidate, Example, content_id
from limbeck.run import Run, write_atomically

Tell = Callable[[str, dict[str, Any]], None]
ASKERS = {"self": MAIN, "larger": "larger", "unverified": "larger", "replace": "larger", "weaker": "weaker"}
GATED_ON = 300  # examples kept apart on which a teacher must beat its student
PLANTED = 100  # wrong answers that the verifier is shown first
MOST_SAMPLES = 128
SPELT_FROM = 2_000  # requests and answers that a tokenizer of its own is learnt from


def climb(recipe: Recipe, out: Path, tell: Tell) -> dict[str, Any]:
    """All arms, seeds and generations; returns the results document and leaves it as staircase.json. Raises LimbeckError for what cannot climb."""
    check_climb(recipe)
    out.mkdir(parents=True, exist_ok=True)
    task = resolve.get_task(recipe.recipe.task)
    _try_verifier(recipe, task)
    recipe = _with_tokenizer(recipe, task, out)
    rungs = _rungs(recipe, out, tell)
    results = summarise(recipe, rungs)
    write_atomically(out / "staircase.json", json.dumps(results, indent=1).encode())
    from limbeck.report.staircase import write_page

    (out / "report").mkdir(exist_ok=True)
    write_page(results, out / "report" / "index.html")
    return results


def _rungs(recipe: Recipe, out: Path, tell: Tell) -> list[Rung]:
    """Grounds and arms of all seeds, side by side where there are cores; in the order of seeds and arms whatever ended first."""
    arms = [arm for arm in recipe.staircase.arms if arm != "seed"]
    grounds = [Part(f"g0-s{seed}", _ground_rung, (recipe, out, seed)) for seed in recipe.recipe.seeds]
    longest_first = sorted(arms, key=lambda arm: -_trainings(recipe, arm))  # so that the end does not wait for one
    parts = [*grounds, *(Part(f"{arm}-s{seed}", _climb_arm, (recipe, out, arm, seed), after=f"g0-s{seed}") for seed in recipe.recipe.seeds for arm in longest_first)]
    made = work_together(parts, _processes(recipe, len(parts)), tell)
    return [rung for seed in recipe.recipe.seeds for name in ("g0", *arms) for rung in made[f"{name}-s{seed}"]]


def _trainings(recipe: Recipe, arm: str) -> int:
    """Roughly how long an arm takes: the larger model is trained too."""
    return {"larger": 3, "weaker": 2}.get(ASKERS.get(arm, ""), 1)


def _processes(recipe: Recipe, parts: int) -> int:
    import torch

    return 1 if torch.cuda.is_available() else min(parts, recipe.staircase.processes or resolve.count_cores())


def _ground_rung(recipe: Recipe, out: Path, seed: int, tell: Tell) -> list[Rung]:
    task, ground = resolve.get_task(recipe.recipe.task), out / f"g0-s{seed}"
    _make(_ground(recipe, seed), ground, _named(tell, f"g0-s{seed}"))
    return [Rung(arm="seed", seed=seed, generation=0, records=_count(ground), result=_judged(recipe, task, ground, MAIN, seed, "test", tell), **_made_of(recipe, task, ground))]


def _make(recipe: Recipe, folder: Path, tell: Tell) -> None:
    """A generation's run, with the processor's seconds of its steps in cpu.json; what a kill cut off is not in them."""
    clock = Clock(tell)
    make(recipe, folder, clock.tell, until="train")
    if spent := clock.stop():
        path = folder / "cpu.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_atomically(path, json.dumps({part: round(before.get(part, 0.0) + spent.get(part, 0.0), 2) for part in ("distill", "train")}).encode())


class Clock:
    """Counts this process's processor seconds by step while it passes on what is told; steps that were done cost nothing."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._spent, self._part, self._since = tell, {}, "", time.process_time()

    def tell(self, event: str, facts: dict[str, Any]) -> None:
        """One event of the line."""
        if event in ("step", "skip"):
            self.stop()
            self._part = facts["name"].split("/")[0] if event == "step" else self._part if facts["name"].startswith("train/") and self._part == "train" else ""
        self._tell(event, facts)

    def stop(self) -> dict[str, float]:
        """Seconds by part until now."""
        now = time.process_time()
        if self._part:
            self._spent[self._part] = self._spent.get(self._part, 0.0) + now - self._since
        self._since = now
        return self._spent


def _made_of(recipe: Recipe, task: Any, folder: Path) -> dict[str, Any]:
    """What a generation's data are and cost: yield, different answers, what they share with the tests, tokens, dollars, processor seconds."""
    from limbeck.train.encoded import read_lines

    kept, records = json.loads((folder / "distill" / "keep.json").read_text(encoding="utf-8")), list(read_lines(folder / "distill" / "data.jsonl.gz"))
    tests = [e for split in dict.fromkeys((*getattr(task, "never_trained_on", ()), *recipe.evaluate.splits)) if split != "generated" for e in task.examples(split)]
    spend = [kept.get("spend", {}).get(part) or {} for part in ("paid", "replayed")]
    tokens = {name: sum(s.get(name, 0) for s in spend) for name in ("tokens_in", "tokens_out")}
    cpu = json.loads((folder / "cpu.json").read_text(encoding="utf-8")) if (folder / "cpu.json").exists() else {}
    return {
        "asked": kept["asked"], "drawn": kept["draws"]["drawn"], "kept": kept["kept"], "refused": kept["refused"], "distinct": len({r["answer"] for r in records}), "fresh": len(records) - kept["mixed"],
        "overlap": overlaps(records, tests), "spend": {**tokens, "usd": sum(s.get("known_usd", 0.0) for s in spend), "cpu_s": cpu},
    }  # fmt: skip




def print_staircase(results: dict[str, Any]) -> None:
    """One row an arm and generation, seeds pooled, with paired differences."""
    from rich.console import Console
    from rich.table import Table

    from limbeck.report.staircase import said

    table = Table(title=f"{results['name']}: right on the examination, paired differences in points [95 %]", title_justify="left")
    for name in ("arm", "generation", "seeds", "right, %", "less seeds alone", "less self-training", "n"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in results["rows"]:
        table.add_row(row["arm"], str(row["generation"]), str(row["seeds"]), f"{100 * row['score']:.1f}", said(row.get("minus_seed")), said(row.get("minus_self")), str(row["n"]))
    Console(width=100).print(table)
    for rung in results["rungs"]:
        if rung["skipped"] or rung["stopped"]:
            Console(width=100).print(f"{rung['arm']} s{rung['seed']}, generation {rung['generation']}: {'skipped' if rung['skipped'] else 'stopped'}, {rung['skipped'] or rung['stopped']}", highlight=False, markup=False)


def check_climb(recipe: Recipe) -> None:
    """Raises LimbeckError, before anything is trained, for a recipe that no staircase can be made of."""
    section = recipe.staircase
    if "staircase" not in recipe.model_fields_set:
        raise LimbeckError("this recipe has no [staircase]", f"recipe {recipe.recipe.name}", "add one (docs/staircase.md), or take a recipe that has: limbeck staircase countdown-staircase")
    if recipe.student.kind != "decoder" or recipe.student.source:
        raise LimbeckError("a staircase is climbed by decoders with random weights: each generation starts anew", "student.kind, student.source", "set student.kind = 'decoder' and leave source out")
    for name, change in (("larger", section.larger), ("weaker", section.weaker)):
        if any(ASKERS.get(arm) == name for arm in section.arms) and not change:
            raise LimbeckError(f"nothing says what the {name} model is", f"staircase.{name}", f"e.g. {name} = {{ 'student.width' = {recipe.student.width * (2 if name == 'larger' else 1) // (1 if name == 'larger' else 2)} }}, or leave its arms out")
    if recipe.teacher.model != "generator":
        raise LimbeckError("generation 0 learns from the task's own gold", f"teacher.model = {recipe.teacher.model!r}", "set it to generator; later generations ask their own models")
    if recipe.mix or recipe.arm:
        raise LimbeckError("a staircase has its own arms and sets", "[[arm]], [[mix]]", "name arms in staircase.arms")


def _try_verifier(recipe: Recipe, task: Any) -> None:
    """A verifier that passes answers to other questions filters nothing, and "verified" would be an empty word."""
    check_judge(recipe)
    asking = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"model": "self"})})  # as later generations do
    judge, count = get_judge(asking, task), (PLANTED + 1) * (3 if recipe.keep.run else 1)
    examples = list(islice(task.generate(int(content_id([recipe.recipe.seed, "planted"], 7), 16), count), count))
    examples = (can_be_judged(judge, examples) if recipe.keep.run and judge else examples)[: PLANTED + 1]  # many golds tell nothing when they are run
    if isinstance(judge, Runs):
        judge.see([(e, e.gold[0]) for e in examples])
        judge.see([(e, other.gold[0]) for e, other in pairwise(examples)])
    passed, right = planted(examples, lambda e, text: _passes(recipe, task, judge, e, text))
    if not examples or right < len(examples) * 0.9:
        raise LimbeckError(f"the verifier refuses {len(examples) - right} of {len(examples)} gold answers", f"task {task.name!r}", "mend the task's verify, or set keep.gold")
    pairs = len(examples) - 1
    if passed > 0.05 * pairs:
        fix = "its verifier looks at the form alone: set keep.gold = true, which judges by the task's scorer (bash, functions: keep.run = true, by what they do)" if judge is None else "mend the task's scorer"
        raise LimbeckError(f"the verifier passes {passed} of {pairs} planted wrong answers", f"task {task.name!r}", fix)


def _passes(recipe: Recipe, task: Any, judge: Score | None, example: Example, text: str) -> bool:
    if recipe.keep.verify and not task.verify(example.prompt, Candidate(text=text)).ok:
        return False
    if judge is None:
        return recipe.keep.verify
    verdict = judge(example, Answer(prompt_id=example.prompt.id, candidates=(Candidate(text=text),)))
    return verdict.status == "scored" and max(next(iter(verdict.measures.values()), (0.0,))) == 1.0


def _with_tokenizer(recipe: Recipe, task: Any, out: Path) -> Recipe:
    """`student.tokenizer = "own"`: a small byte-level one learnt from the task's own requests and answers."""
    if recipe.student.tokenizer != "own":
        return recipe
    step = Run(out, None, recipe.recipe.seed).step("tokenizer", {"vocabulary": recipe.staircase.vocabulary, "texts": SPELT_FROM}, {"task": [recipe.recipe.task, task.version]}, ("models", "tasks"))
    if not step.state[0]:
        from limbeck.models.own_tokenizer import learn_tokenizer

        step.begin()
        pose = resolve.get_pose(task)
        texts = [t for e in task.generate(recipe.recipe.seed, SPELT_FROM) for t in (pose(e.prompt).text, e.gold[0])]
        learn_tokenizer(texts, recipe.staircase.vocabulary, step.path)
        step.finish()
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"tokenizer": f"hf:{step.path}"})})


def _ground(recipe: Recipe, seed: int) -> Recipe:
    return _derived(recipe, seed, 0, "seed", [name for name in ("larger", "weaker") if any(ASKERS.get(arm) == name for arm in recipe.staircase.arms)])


def _derived(recipe: Recipe, seed: int, generation: int, arm: str, beside: list[str], **changes: Any) -> Recipe:
    """A generation as a recipe of its own; requests differ by seed and generation and are the same for every arm."""
    arms = tuple(ArmSection(name=name, set=getattr(recipe.staircase, name)) for name in beside)
    named = recipe.recipe.model_copy(update={"name": f"{recipe.recipe.name}-{arm}-g{generation}", "seed": int(content_id([recipe.recipe.seed, seed, generation], 7), 16), "seeds": (seed,)})
    return recipe.model_copy(update={"recipe": named, "arm": arms, **changes})


def _climb_arm(recipe: Recipe, out: Path, arm: str, seed: int, tell: Tell) -> list[Rung]:
    """The generations of one arm and seed, from the ground that is there."""
    task, section, before, rungs = resolve.get_task(recipe.recipe.task), recipe.staircase, out / f"g0-s{seed}", []
    last = _judged(recipe, task, before, MAIN, seed, "test", tell)
    for generation in range(1, section.generations + 1):
        folder, asker = out / f"{arm}-s{seed}" / f"g{generation}", ASKERS.get(arm)
        gate: dict[str, Any] = {}
        if asker in ("larger", "weaker"):
            gate = decide_gate(_judged(recipe, task, before, asker, seed, "gate", tell), _judged(recipe, task, before, MAIN, seed, "gate", tell), compare_seeds)
            if not gate["open"] and arm == "larger":  # its controls go on: they show what the gate is worth
                tell("note", {"text": f"{arm} s{seed}, generation {generation}: skipped, {gate['said']}"})
                rungs.append(Rung(arm=arm, seed=seed, generation=generation, records=_count(before), result=last, skipped=gate["said"], gate=gate))
                break
        try:
            _make(_generation(recipe, arm, seed, generation, before, out / f"g0-s{seed}"), folder, _named(tell, f"{arm}-s{seed}/g{generation}"))
        except LimbeckError as problem:
            if problem.what != NONE_KEPT:
                raise
            tell("note", {"text": f"{arm} s{seed}, generation {generation}: ended, none of its answers passed"})
            rungs.append(Rung(arm=arm, seed=seed, generation=generation, records=_count(before), result=last, skipped="none of its answers passed", gate=gate))
            break
        result = _judged(recipe, task, folder, MAIN, seed, "test", tell)
        rungs.append(Rung(arm=arm, seed=seed, generation=generation, records=_count(folder), result=result, gate=gate, **_made_of(recipe, task, folder)))
        gained = gains(result, last, compare_seeds)
        tell("note", {"text": f"{arm} s{seed}, generation {generation}: {gained['said']}"})
        before, last = folder, result
        if section.stop and arm in ("self", "larger") and not gained["gained"]:
            rungs[-1].stopped = gained["said"]
            break
    return rungs


def _generation(recipe: Recipe, arm: str, seed: int, generation: int, before: Path, ground: Path) -> Recipe:
    section, asker = recipe.staircase, ASKERS.get(arm)
    mix = () if arm == "replace" else (MixSection(source=str(before), name=before.relative_to(ground.parent).as_posix()),)  # type: ignore[call-arg]
    distill = recipe.distill.model_copy(update={"prompts": section.requests})
    if asker is None:
        return _derived(recipe, seed, generation, arm, [], mix=mix, distill=distill)
    expert = before / "train" / f"{asker}-s{seed}" / "expert"
    teacher = recipe.teacher.model_copy(update={"model": f"hf:{expert}", "temperature": section.temperature, "samples": _samples(recipe, ground, before, asker, seed), "self_test": False, "max_tokens": section.max_tokens, "terms": "own", "seed": generation})
    keep = recipe.keep.model_copy(update={"verify": False, "gold": False, "run": False}) if arm in ("unverified", "replace") else recipe.keep
    beside = [asker] if asker != MAIN and generation < section.generations else []  # whom nobody will ask is not trained
    return _derived(recipe, seed, generation, arm, beside, mix=mix, distill=distill, teacher=teacher, keep=keep)


def _samples(recipe: Recipe, ground: Path, before: Path, asker: str, seed: int) -> int:
    """Draws a request at equal compute: `samples` of the larger model, more of a smaller one."""
    larger = ground / "train" / f"larger-s{seed}" / "expert"
    if not larger.exists():
        return recipe.staircase.samples
    return min(MOST_SAMPLES, ask_for(recipe.staircase.samples, _parameters(larger), _parameters(before / "train" / f"{asker}-s{seed}" / "expert")))


def _parameters(expert: Path) -> int:
    from limbeck.models.decoder import read_facts

    facts = read_facts(expert) or {}
    return int(facts.get("parameters_without_embeddings") or facts.get("parameters") or 1)


def _judged(recipe: Recipe, task: Any, folder: Path, who: str, seed: int, part: str, tell: Tell) -> dict[str, Any]:
    """A model of a generation on the examination ("test") or on what is kept apart for gates ("gate"); kept beside its weights."""
    from limbeck.evaluate.examine import examine

    expert = folder / "train" / f"{who}-s{seed}" / "expert"
    path = folder / f"judged-{who}-{part}.json"
    identity = content_id([resolve.hash_weights(expert), task.version, recipe.evaluate.limit, part], 12)
    if path.exists() and (held := json.loads(path.read_text(encoding="utf-8")))["identity"] == identity:
        return held
    examples = task.examples(recipe.evaluate.splits[0], recipe.evaluate.limit or None) if part == "test" else _gate_examples(recipe, task)
    answerer = resolve.get_expert(str(expert), task, name=who)
    result = examine(task, answerer, examples, split=part, k=1, progress=lambda done, of, _: tell("evaluate", {"answerer": f"{folder.name} {who}", "split": part, "done": done, "of": of}))
    result["identity"] = identity
    write_atomically(path, json.dumps(result).encode())
    return result


def _gate_examples(recipe: Recipe, task: Any) -> list[Example]:
    """What nobody learns from: kept apart by the task, or made from a seed of its own where it makes its requests at will."""
    if hasattr(task, "apart"):
        return list(task.apart("examination"))[:GATED_ON]
    return list(islice(task.generate(int(content_id([recipe.recipe.seed, "gate"], 7), 16), GATED_ON), GATED_ON))


def _count(folder: Path) -> int:
    return int(json.loads((folder / "distill" / "keep.json").read_text(encoding="utf-8"))["records"])


def _named(tell: Tell, name: str) -> Tell:
    """What a run of the staircase tells, with its name before it; its own notes are left out."""
    return lambda kind, facts: tell(kind, {**facts, "name": f"{name}/{facts['name']}"} if "name" in facts else facts)


def summarise(recipe: Recipe, rungs: list[Rung]) -> dict[str, Any]:
    """Each rung, and by arm and generation the mean over seeds with its paired difference from seeds alone and from self-training."""
    groups: dict[tuple[str, int], list[Rung]] = {}
    for rung in rungs:
        groups.setdefault((rung.arm, rung.generation), []).append(rung)
    rows = []
    for (arm, generation), found in groups.items():
        row: dict[str, Any] = {"arm": arm, "generation": generation, "seeds": len(found), "score": sum(r.score for r in found) / len(found), "each": [r.score for r in found], "n": found[0].result["n"]}
        for name, other in (("seed", ("seed", 0)), ("self", ("self", generation))):
            if other in groups and other != (arm, generation):
                beside = {r.seed: r for r in groups[other]}
                shared = [r for r in found if r.seed in beside]
                if shared:
                    c = compare_seeds([r.result for r in shared], [beside[r.seed].result for r in shared])
                    each = [r.score - beside[r.seed].score for r in shared]
                    row[f"minus_{name}"] = [c["difference"], *over_seeds(c["difference_low"], c["difference_high"], each)]
                    row[f"minus_{name}_each"] = each
        cpu = {part: sum(r.spend.get("cpu_s", {}).get(part, 0.0) for r in found) for part in ("distill", "train")}
        row["made"] = {name: sum(getattr(r, name) for r in found) for name in ("records", "asked", "drawn", "kept", "distinct", "fresh")} | {name: sum(r.overlap.get(name, 0) for r in found) for name in ("requests", "answers")}
        row["spend"] = {name: sum(r.spend.get(name, 0) for r in found) for name in ("tokens_in", "tokens_out", "usd")} | {"cpu_s": cpu}
        rights = [right(r.result) for r in found]
        _, low, high = mean_interval([sum(r[name] for r in rights) / len(rights) for name in rights[0]])
        row["low"], row["high"] = (min(1.0, max(0.0, end)) for end in over_seeds(low, high, row["each"]))
        rows.append(row)
    return {"name": recipe.recipe.name, "task": recipe.recipe.task, "seeds": list(recipe.recipe.seeds), "rows": rows, "rungs": [{k: v for k, v in asdict(r).items() if k != "result"} | {"score": r.score} for r in rungs]}
