"""The whole line on one screen: distil, train and align each arm and seed, examine everybody, report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.recipe.load import dump_toml, with_arm
from limbeck.recipe.schema import Recipe, StudentSection, TrainSection
from limbeck.records import Example, Prompt, content_id
from limbeck.run import Run, Step, hash_file, open_run, write_atomically

Tell = Callable[[str, dict[str, Any]], None]
MAIN = "student"


@dataclass(frozen=True, slots=True)
class Arm:
    """One student to train: which variation, which seed."""

    name: str
    seed: int
    student: StudentSection
    train: TrainSection

    @property
    def folder(self) -> str:
        return f"{self.name}-s{self.seed}"


def arms_of(recipe: Recipe) -> list[Arm]:
    """The main student and each arm, once a seed."""
    out = [Arm(MAIN, seed, recipe.student, recipe.train) for seed in recipe.recipe.seeds]
    for arm in recipe.arm:
        student, train = with_arm(recipe, arm)
        out += [Arm(arm.name, seed, student, train) for seed in recipe.recipe.seeds]
    return out


def make(recipe: Recipe, out: Path, tell: Tell, until: str = "report") -> dict[str, Any]:
    """Run the line in a folder, skipping what is done; returns the results document. `until` names the last step."""
    from limbeck import teaching, tokenizing

    kinds = [arm.student.kind for arm in arms_of(recipe)]
    tokenizing.check_own_tokenizer(recipe)
    teaching.check_recipe(recipe, kinds)
    if recipe.align.method != "off":
        from limbeck.aligning import check_align

        check_align(recipe, kinds)
    task = resolve.get_task(recipe.recipe.task, code=recipe.distill.code or None)
    for name in recipe.evaluate.baselines if until == "report" else ():
        resolve.check_baseline(name, task)  # before hours of training, not after
    codec = resolve.get_codec(recipe.recipe.task, recipe.distill.slots) if set(kinds) != {"decoder"} else None
    for arm in arms_of(recipe):
        if arm.student.kind != "decoder":
            check_memory(arm, codec)
    if until != "distill":
        teaching.gate_before_asking(recipe, task, [arm.student for arm in arms_of(recipe)])
    if int(os.environ.get("RANK", "0")):
        follow(recipe, out, codec)
        return {}
    with open_run(out, dump_toml(recipe), recipe.recipe.seed) as run:
        dataset = _distill(run, recipe, task, codec, tell)
        if until == "distill":
            return {}
        recipe = tokenizing.with_own_tokenizer(recipe, run, dataset)
        binding = teaching.with_judge(teaching.gate_train(dataset, recipe, [arm.student for arm in arms_of(recipe)]), recipe)
        targets = _targets(run, recipe, dataset, tell)
        _seal(run, recipe, dataset, codec, targets, tell)
        _train(run, recipe, dataset, codec, targets, tell)
        _align(run, recipe, task, dataset, tell, until)
        _choose(run, recipe, until)
        teaching.write_terms(run.path / "expert", binding, recipe)
        if until in ("train", "align"):
            return {}
        results = _evaluate(run, recipe, task, dataset, tell)
        _weigh(run, recipe, tell)
        if recipe.predict.share:
            from limbeck.forecasting import judge_run

            judge_run(run, recipe, tell)
        _write_card(run, recipe, results)
        page = report_run(run.path, recipe)
        tell("report", {"path": str(page)})
        return results


def report_run(folder: Path, recipe: Recipe) -> Path:
    """The run's page, with the ledger of forecasts beside the run; a ledger that was changed is said, not shown."""
    from limbeck.report.page import write_report

    path, ledger = folder.resolve().parent / "forecasts.jsonl", None
    if path.exists():
        from limbeck.predict.seal import read_ledger

        try:
            ledger = {"lines": read_ledger(path)}
        except LimbeckError as problem:
            ledger = {"lines": [], "problem": f"{problem.what}; {problem.fix}"}
    return write_report(folder, recipe.report, ledger)


def check_memory(arm: Arm, codec: Any) -> None:
    """Refuse before starting what cannot fit: weights, gradients, two moments and the mean, and a batch's activations."""
    from limbeck.models.expert import estimate_parameters

    tokens = arm.train.batch * 120
    layers = arm.student.encoder_layers + arm.student.decoder_layers + arm.student.denoiser_layers
    needed = estimate_parameters(arm.student, codec) * 24 + tokens * arm.student.width * layers * 80 + arm.train.batch * layers * arm.student.heads * 120 * 120 * 8
    there = _memory_bytes()
    if needed > 0.9 * there:
        raise LimbeckError(f"this student needs about {needed / 1e9:.1f} GB to train; the machine has {there / 1e9:.1f} GB", f"arm {arm.name!r}", "lower student.width, the layers, student.buckets or train.batch")


def _memory_bytes() -> float:
    info = Path("/proc/meminfo")
    if info.exists():
        return next(float(line.split()[1]) * 1024 for line in info.read_text().splitlines() if line.startswith("MemTotal"))
    return 8e9


def _ready(step: Step, tell: Tell) -> bool:
    done, why = step.state
    tell("skip" if done else "step", {"name": step.name, "why": why})
    if not done:
        step.begin()
    return done


def forbidden_texts(task: Any, recipe: Recipe) -> list[str]:
    """Every text that must not be trained on: all examined splits but the generated one, and people's sets always."""
    out: list[str] = []
    always = getattr(task, "never_trained_on", ())
    for split in dict.fromkeys((*always, *recipe.evaluate.splits)):
        if split != "generated":
            out += [e.prompt.text for e in task.examples(split)]
    return out


def _distill(run: Run, recipe: Recipe, task: Any, codec: Any, tell: Tell) -> Path:
    from limbeck import teaching

    model, kinds = recipe.teacher.model, [arm.student.kind for arm in arms_of(recipe)]
    inputs = {"teacher": teaching.identify(recipe.teacher), "task": [task.name, task.version], "splits": sorted(s for s in recipe.evaluate.splits if s != "generated")}
    text = teaching.reads_text(recipe, kinds)
    section = recipe.distill.model_dump()
    if text or recipe.keep.opt_out:
        section |= {"keep": recipe.keep.model_dump(), "mix": [m.model_dump(exclude={"source"}) for m in recipe.mix], "codec": codec is not None}
        inputs |= {"mixed": teaching.hash_sets(recipe), "opt_out": [hash_file(Path(p)) for p in recipe.keep.opt_out if Path(p).exists()]}
    rooms = ("distill", "models", "tasks", "teachers", *(("panel",) if model.startswith("panel:") else ()))  # how a panel comes to one answer
    step = run.step("distill", section, inputs, rooms)
    if not _ready(step, tell):
        forbidden = forbidden_texts(task, recipe)
        if text:
            teaching.distill_run(recipe, task, codec, step, forbidden, tell)
        else:
            from limbeck.distill.stage import distill

            teacher = None if model == "generator" else resolve.get_teacher_pool(model, task.name)
            distill(task, teacher, codec, recipe.distill, step, forbidden, lambda r: tell("distill", r), opt_out=teaching.opt_out(recipe), origins=teaching.origins_of(recipe, task))
        step.finish()
    return step.path


def _targets(run: Run, recipe: Recipe, dataset: Path, tell: Tell) -> dict[str, Path]:
    """The teacher's distributions over the very tokens that decoders will see: one store for each way of packing, by arm."""
    if recipe.distill.soft == "off":
        return {}
    from limbeck import teaching

    found: dict[str, Path] = {}
    made: dict[str, Path] = {}
    for arm in arms_of(recipe):
        if arm.student.kind != "decoder" or arm.train.soft_weight == 0:
            continue
        packing = teaching.identify_packing(teaching.packing_of(recipe, arm.student, arm.train))
        name = content_id(packing, 8)
        if name not in made:
            section = {"soft": recipe.distill.soft, "draws": recipe.distill.soft_draws, "top": recipe.distill.soft_top, "packing": packing} | ({"align": True} if recipe.distill.align else {})
            step = run.step(f"targets/{name}", section, {"dataset": hash_file(dataset / "data.jsonl.gz"), "teacher": teaching.identify(recipe.teacher)}, ("distill", "train"))
            if not _ready(step, tell):
                teaching.capture_run(recipe, arm.student, arm.train, dataset, step, tell)
                step.finish()
            made[name] = step.path
        found[arm.name] = made[name]
    return found


def follow(recipe: Recipe, out: Path, codec: Any) -> None:
    """What every process but the first does under `accelerate launch`: wait for the data, then train along, step for step."""
    from limbeck.tokenizing import with_own_tokenizer

    _meet()
    run = Run(out, None, recipe.recipe.seed)
    recipe = with_own_tokenizer(recipe, run, run.path / "distill")
    jobs = [job for job in _jobs(run, recipe, run.path / "distill", _made_targets(run)) if not job.step.state[0]]
    _meet()
    _train_jobs(jobs, len(arms_of(recipe)), run.path / "distill", codec, lambda name, record: None)


def _meet() -> None:
    """All processes of a launched run wait here for each other; nothing where there is only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from datetime import timedelta

        from accelerate import PartialState

        PartialState(cpu=not _has_gpu(), timeout=timedelta(days=2)).wait_for_everyone()  # the first one may be asking a teacher for hours


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _train(run: Run, recipe: Recipe, dataset: Path, codec: Any, targets: dict[str, Path], tell: Tell) -> None:
    """Every arm and seed: side by side on a CPU with several cores, one after another elsewhere."""
    write_atomically(run.path / "targets.json", json.dumps({name: str(path.relative_to(run.path)) for name, path in targets.items()}).encode())
    jobs = [job for job in _jobs(run, recipe, dataset, targets) if not _ready(job.step, tell)]
    _meet()
    _meet()
    if jobs:
        _train_jobs(jobs, len(arms_of(recipe)), dataset, codec, lambda name, record: tell("train", {"arm": name, **record}))


def _seal(run: Run, recipe: Recipe, dataset: Path, codec: Any, targets: dict[str, Path], tell: Tell) -> None:
    """A forecast of the main student, sealed before it is trained, where the recipe asks for one."""
    if recipe.predict.share:
        from limbeck.forecasting import seal_run

        main = next(job for job in _jobs(run, recipe, dataset, targets) if job.name == f"{MAIN}-s{recipe.recipe.seeds[0]}")
        seal_run(run, recipe, dataset, codec, tell, main.step.state[0])


def _made_targets(run: Run) -> dict[str, Path]:
    return {name: run.path / place for name, place in json.loads((run.path / "targets.json").read_text(encoding="utf-8")).items()}


def _jobs(run: Run, recipe: Recipe, dataset: Path, targets: dict[str, Path]) -> list[Any]:
    """One for each arm and seed, done or not."""
    from limbeck import teaching
    from limbeck.identifying import identify_training, name_weights
    from limbeck.tokenizing import unplaced
    from limbeck.train.together import Job

    jobs = []
    for arm in arms_of(recipe):
        start = resolve.expert_folder(arm.train.start) if arm.train.start else None
        inputs = {"dataset": [hash_file(dataset / f"{part}.jsonl.gz") for part in ("data", "dev")], "arm_seed": arm.seed} | ({"start": resolve.hash_weights(start)} if start else {})
        inputs |= {"targets": hash_file(targets[arm.name] / "manifest.json")} if arm.name in targets else {}
        teacher = teaching.weights_here(recipe) if arm.train.on_policy_steps else ""
        inputs |= {"teacher": found} if teacher and (found := name_weights(recipe.teacher.model)) else {}
        step = run.step(f"train/{arm.folder}", {"student": unplaced(arm.student, run), "train": identify_training(arm.train)}, inputs, ("models", "train"))
        section = arm.train.model_copy(update={"start": str(start)}) if start else arm.train
        jobs.append(Job(arm.folder, dataset, teaching.settle_student(recipe, arm.student), section, step, targets.get(arm.name), teacher))
    return jobs


def _train_jobs(jobs: list[Any], arms: int, dataset: Path, codec: Any, report: Callable[[str, dict[str, Any]], None]) -> None:
    """Threads a student hang on how many arms there are, not on how many are left: a killed run must end the same."""
    import torch

    from limbeck.train.encoded import encode_dataset
    from limbeck.train.fit import train
    from limbeck.train.together import train_together

    workers = 1 if torch.cuda.is_available() or "WORLD_SIZE" in os.environ else min(arms, torch.get_num_threads())
    if workers > 1:
        for part in ("data", "dev"):
            if codec is not None:
                encode_dataset(dataset, part, codec)  # once, before several processes would
        train_together(jobs, codec, workers, torch.get_num_threads() // workers, report)
    else:
        for job in jobs:
            train(dataset, job.student, job.section, codec if job.student.kind != "decoder" else None, job.step, lambda record, job=job: report(job.name, record), job.targets, job.teacher)
            if not int(os.environ.get("RANK", "0")):
                job.step.finish()
            _meet()
    for job in jobs if not int(os.environ.get("RANK", "0")) else ():
        (job.step.path / "checkpoint.safetensors").unlink(missing_ok=True)


def _align(run: Run, recipe: Recipe, task: Any, dataset: Path, tell: Tell, until: str) -> None:
    """Every arm and seed once more, towards the policy's better answers; a step of its own, so that the student from before stays."""
    if recipe.align.method == "off" or until == "train":
        return
    from limbeck import aligning

    for arm in arms_of(recipe):
        trained = run.path / "train" / arm.folder / "expert"
        step = run.step(f"align/{arm.folder}", {**aligning.align_knobs(recipe.align), "lora_rank": arm.student.lora_rank}, aligning.align_inputs(recipe, trained, dataset) | {"arm_seed": arm.seed}, ("align", "models"))
        if not _ready(step, tell):
            aligning.align_expert(recipe, arm.student.lora_rank, task, trained, dataset, step, tell, arm.folder)
            step.finish()


def expert_of(run: Run, recipe: Recipe, arm: Arm) -> Path:
    """Where an arm's expert lies: as it was aligned, or as it was trained where nothing is aligned."""
    return run.path / ("train" if recipe.align.method == "off" else "align") / arm.folder / "expert"


def _choose(run: Run, recipe: Recipe, until: str = "report") -> None:
    """The run's expert is the main student of the first seed, chosen before any score is seen."""
    main = arms_of(recipe)[0]
    source = run.path / "train" / main.folder / "expert" if until == "train" else expert_of(run, recipe, main)
    target = run.path / "expert"
    if not (target / "config.json").exists() or resolve.hash_weights(target) != resolve.hash_weights(source):
        fresh = run.path / ".expert.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def _examples(task: Any, split: str, dataset: Path, limit: int) -> list[Example]:
    if split != "generated":
        return task.examples(split, limit or None)
    from limbeck.train.encoded import read_lines

    out = []
    for record in read_lines(dataset / "held_out.jsonl.gz"):
        prompt = Prompt(id=record["id"], text=record["text"], context=record["context"])
        out.append(Example(id=record["id"], prompt=prompt, gold=(record["answer"],), source="generated", meta=record["meta"]))
    return out[:limit] if limit else out


def _trained_on(dataset: Path) -> list[Example]:
    from limbeck.train.encoded import read_lines

    records = read_lines(dataset / "data.jsonl.gz")
    return [Example(id=r["id"], prompt=Prompt(id=r["id"], text=r["text"], context=r["context"]), gold=(r["answer"],)) for r in records]


def _evaluate(run: Run, recipe: Recipe, task: Any, dataset: Path, tell: Tell) -> dict[str, Any]:
    """Everybody on every split; each answerer is a step of its own, so that a killed run asks nobody twice."""
    from limbeck import teaching
    from limbeck.economics import economics_of
    from limbeck.evaluate.summary import summarise
    from limbeck.identifying import identify_model
    from limbeck.sweeping import load_swept

    found: dict[str, dict[str, Any]] = {}
    seen: list[Example] = []
    makers: dict[str, Any] = {}
    if recipe.teacher.model != "generator" and recipe.evaluate.teacher:
        makers["teacher"] = (identify_model(recipe.teacher.model), lambda: teaching.get_examined(recipe.teacher, task, str(run.path.resolve())))
    if recipe.align.method != "off":
        unaligned = run.path / "train" / arms_of(recipe)[0].folder / "expert"
        makers["unaligned"] = (resolve.hash_weights(unaligned), lambda: resolve.get_expert(str(unaligned), task, name="unaligned"))
    if recipe.student.source and recipe.evaluate.before:
        makers["before"] = (identify_model(recipe.student.source), lambda: teaching.get_before(recipe, task, run.path / "expert"))
    ways, costs = {}, {}
    for arm in arms_of(recipe):
        path = expert_of(run, recipe, arm)
        ways[arm.name] = way = ways[arm.name] if arm.name in ways else _sweep(run, recipe, task, dataset, arm, path, tell)
        makers[arm.folder] = ([resolve.hash_weights(path), way], lambda path=path, arm=arm, way=way: load_swept(str(path), recipe.recipe.task, arm.folder, way))
        if recipe.evaluate.footprint and arm.name not in costs:
            costs[arm.name] = _footprint(run, recipe, task, dataset, arm, path, way, tell)
    for name in recipe.evaluate.baselines:
        makers[name] = (hash_file(dataset / "data.jsonl.gz"), lambda name=name: resolve.get_baseline(name, task, seen or seen.extend(_trained_on(dataset)) or seen))
    for name, (identity, maker) in makers.items():
        inputs = {"answerer": identity, "task": [task.name, task.version], "dataset": hash_file(dataset / "held_out.jsonl.gz")}
        found[name] = _examine(run, recipe, task, dataset, name, inputs, maker, tell)
    results = summarise(recipe.recipe.name, found, [a.folder for a in arms_of(recipe)], recipe.evaluate.splits, getattr(task, "compared", ()))
    results["economics"] = economics_of(run.path, recipe, found, results["groups"])
    _settle(run.path / "expert", ways.get(MAIN, {}))
    results |= {"ways": ways, "footprints": costs} if recipe.evaluate.sweep or costs else {}
    write_atomically(run.path / "results.json", json.dumps(results, indent=1).encode())
    return results


def _sweep(run: Run, recipe: Recipe, task: Any, dataset: Path, arm: Arm, path: Path, tell: Tell) -> dict[str, Any]:
    """The way to answer that served an arm's first seed best on examples of their own; nothing where no ways are given."""
    settings = recipe.evaluate.sweep.get(arm.student.kind, ())
    if not settings:
        return {}
    from limbeck.sweeping import sweep

    section = {"settings": list(settings), "split": recipe.evaluate.sweep_split, "k": recipe.evaluate.k, "limit": recipe.evaluate.limit}
    step = run.step(f"sweep/{arm.name}", section, {"answerer": resolve.hash_weights(path), "task": [task.name, task.version]}, ("evaluate", "models", "tasks"))
    if not _ready(step, tell):
        examples = _examples(task, recipe.evaluate.sweep_split, dataset, recipe.evaluate.limit)
        step.write_json("sweep.json", sweep(task, str(path), settings, examples, recipe.evaluate.k, lambda done, of: tell("evaluate", {"answerer": arm.name, "split": "sweep", "done": done, "of": of}), recipe.recipe.task))
        step.finish()
    return json.loads((step.path / "sweep.json").read_text(encoding="utf-8"))["chosen"]


def _settle(folder: Path, way: dict[str, Any]) -> None:
    """The run's expert answers from now on in the way that served it best."""
    if way:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= {"beams": way.get("beams", config["beams"]), "sampling": {name: value for name, value in way.items() if name != "beams"}}
        write_atomically(folder / "config.json", json.dumps(config, indent=1).encode())


def _footprint(run: Run, recipe: Recipe, task: Any, dataset: Path, arm: Arm, path: Path, way: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Waiting time and memory of an arm's first seed, answering as it is examined."""
    from limbeck.sweeping import footprint

    section = {"requests": recipe.evaluate.footprint, "k": recipe.evaluate.k, "way": way}
    step = run.step(f"footprint/{arm.name}", section, {"answerer": resolve.hash_weights(path)}, ("models",))
    if not _ready(step, tell):
        examples = _examples(task, recipe.evaluate.splits[0], dataset, recipe.evaluate.footprint)
        step.write_json("footprint.json", footprint(path, recipe.recipe.task, way, examples, recipe.evaluate.k))
        step.finish()
    return json.loads((step.path / "footprint.json").read_text(encoding="utf-8"))


def _examine(run: Run, recipe: Recipe, task: Any, dataset: Path, name: str, inputs: dict[str, Any], maker: Any, tell: Tell) -> dict[str, Any]:
    from limbeck.evaluate.examine import examine

    step = run.step(f"evaluate/{name}", recipe.evaluate.model_dump(exclude={"baselines"}), inputs, ("evaluate", "models", "tasks"))
    if not _ready(step, tell):
        answerer = maker()
        for split in recipe.evaluate.splits:
            examples = _examples(task, split, dataset, recipe.evaluate.limit)
            result = examine(task, answerer, examples, split=split, k=recipe.evaluate.k, progress=lambda a, b, _, s=split: tell("evaluate", {"answerer": name, "split": s, "done": a, "of": b}))
            _show_tables(task, examples, result, recipe.report.examples)
            step.write_json(f"{split}.json", result)
        step.finish()
    return {split: json.loads((step.path / f"{split}.json").read_text(encoding="utf-8")) for split in recipe.evaluate.splits}


def _show_tables(task: Any, examples: list[Example], result: dict[str, Any], count: int) -> None:
    """Tables and marked cells for the first examples, so that the report can draw them."""
    marked = getattr(task, "marked_cells", None)
    if marked is None:
        return
    for example, trial in list(zip(examples, result["trials"], strict=True))[:count]:
        trial["table"] = example.prompt.context["table"]
        trial["gold_cells"] = marked(example.prompt, example.gold[0])
        trial["answer_cells"] = marked(example.prompt, trial["candidates"][0]) if trial["candidates"] else []


def _weigh(run: Run, recipe: Recipe, tell: Tell) -> None:
    """Both sides of the scale, before and after alignment: what the gate says lies beside the expert, and `limbeck export` reads it."""
    limits = (recipe.align.max_overrefusal, recipe.align.min_task_score)
    if recipe.align.method == "off":
        return
    from limbeck.probing import weigh_run

    main, split = arms_of(recipe)[0], recipe.evaluate.splits[0]
    before, after = run.path / "train" / main.folder / "expert", expert_of(run, recipe, main)
    results = [run.path / "evaluate" / name / f"{split}.json" for name in ("unaligned", main.folder)]
    step = run.step("scale", [*limits, recipe.align.policy, recipe.align.probe], {"before": resolve.hash_weights(before), "after": resolve.hash_weights(after), "scores": [_scores_of(p) for p in results]}, ("align", "tasks"))
    if not _ready(step, tell) or not (run.path / "expert" / "scale.json").exists():
        weigh_run(run.path, before, after, (results[0], results[1]), limits, step.path, tell, recipe.align.policy, recipe.align.probe)
        step.finish()


def _scores_of(result: Path) -> Any:
    """What an examination found, without the seconds it took."""
    return json.loads(result.read_text(encoding="utf-8"))["scores"]


def _write_card(run: Run, recipe: Recipe, results: dict[str, Any]) -> None:
    from limbeck.report.card import write_card

    write_card(run.path / "expert", {"recipe": recipe.model_dump(), "results": results})
