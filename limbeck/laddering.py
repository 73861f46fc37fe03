"""A recipe's ladder: what rungs may be, what they cost, how they are trained and measured. Joins predict/ to models/, train/ and evaluate/."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import resolve, teaching
from limbeck.errors import LimbeckError
from limbeck.predict.ladder import Rung, name_rungs, run_ladder, table_of
from limbeck.predict.plan import RESERVE, Candidate, Plan, choose_rungs
from limbeck.predict.transfer import LEAST_BATCH, Setting, transfer
from limbeck.recipe.schema import Recipe, StudentSection, TrainSection
from limbeck.run import Run, Step, hash_file, write_atomically
from limbeck.tokenizing import unplaced

Tell = Callable[[str, dict[str, Any]], None]
LEAST_TOKENS = 512  # of a decoder's batch
GROWS = 1.2  # from one width of the grid to the next, at least
RATIOS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # data to size of a rung, against the target's
COSTED = 32  # examples whose operations are counted at each width


def layers_of(student: StudentSection) -> int:
    """Blocks of a student, whatever they are for."""
    if student.kind == "decoder":
        return student.decoder_layers
    return student.encoder_layers + student.decoder_layers + (student.denoiser_layers if student.kind == "codefusion" else 0)


def setting_of(student: StudentSection, section: TrainSection) -> Setting:
    """How the recipe trains its own student."""
    batch = section.batch * section.accumulate
    return Setting(width=student.width, layers=layers_of(student), examples=section.steps * batch, batch=batch, lr=section.lr, warmup=section.warmup, ema=section.ema, optimizer=section.optimizer)


def student_at(student: StudentSection, width: int) -> StudentSection:
    """The same student at another width, heads of about the same width, which is even (rotary positions turn pairs)."""
    heads = max(1, round(width * student.heads / student.width))
    while heads > 1 and (width % heads or width // heads % 2):
        heads -= 1
    return student.model_copy(update={"width": width, "heads": heads})


def least_batch(student: StudentSection) -> int:
    """Examples of the smallest batch; of a decoder's rows as many as hold LEAST_TOKENS, if that is fewer."""
    return min(LEAST_BATCH, math.ceil(LEAST_TOKENS / student.length)) if student.kind == "decoder" else LEAST_BATCH


def section_of(section: TrainSection, setting: Setting) -> TrainSection:
    """The train section of a rung."""
    steps = setting.steps
    return section.model_copy(update={"steps": steps, "batch": setting.batch, "accumulate": 1, "lr": setting.lr, "warmup": setting.warmup, "ema": setting.ema, "evaluate_every": steps, "patience": 0, "checkpoint_every": max(250, steps // 4)})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one training example: tokens and operations (forward and backward, head and attention with them); sizes of the network."""

    tokens: float
    flops: float
    size: int
    size_total: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """This machine on a recipe's students: seconds that any step takes, FLOP a second of its examples beyond that, rungs at once."""

    step: float
    flops: float
    workers: int


@dataclass(frozen=True)
class Ground:
    """What a recipe's ladder stands on: its dataset, and what students cost on it."""

    recipe: Recipe
    dataset: Path
    codec: Any

    @cached_property
    def costs(self) -> dict[int, Cost]:
        """By width, as they were counted so far."""
        return {}

    def cost(self, width: int) -> Cost:
        """Counted on real batches with PyTorch's counter, so that padding, attention and the head are in it; the optimizer's own work is not."""
        if width not in self.costs:
            self.costs[width] = self._count(student_at(self.recipe.student, width))
        return self.costs[width]

    def course(self, student: StudentSection, batch: int, seed: int = 0, section: TrainSection | None = None) -> Any:
        """The network with its loss and its batches, as the loop would have them."""
        from limbeck.train import fit

        section = (section or self.recipe.train).model_copy(update={"batch": batch})
        if student.kind == "decoder":
            return fit._decoder_course(self.dataset, teaching.settle_student(self.recipe, student), section, seed, None)
        return fit._native_course(self.dataset, student, section, self.codec, seed)

    def _count(self, student: StudentSection) -> Cost:
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from limbeck.models.decoder import count_decoder
        from limbeck.models.expert import count_parameters

        torch.manual_seed(0)
        size = COSTED if student.kind != "decoder" else self.recipe.train.batch
        course = self.course(student, size)
        course.network.train()
        if hasattr(course.network, "set_progress"):
            course.network.set_progress(0.5)
        flops = tokens = 0.0
        batches = [course.batch(number) for number in range(2)]
        for batch in batches:
            with FlopCounterMode(display=False) as counter:
                loss, _ = course.network.loss(batch, soft_weight=0.0, generator=torch.Generator().manual_seed(0))
                loss.backward()
            flops += counter.get_total_flops()
            tokens += batch.tokens
        if student.kind == "decoder":
            total, inner = count_decoder(course.network.decoder.plain)
        else:
            total, inner = count_parameters(course.network), count_parameters(course.network, embeddings=False)
        return Cost(tokens=tokens / size / len(batches), flops=flops / size / len(batches), size=inner, size_total=total)

    @cached_property
    def gold(self) -> tuple[float, float]:
        """Mean symbols and bytes of an answer of the dev set; (NaN, bytes) for decoders."""
        from limbeck.train.encoded import encode_dataset, read_lines

        answers = [record["answer"] for record in read_lines(self.dataset / "dev.jsonl.gz")]
        letters = sum(len(a.encode()) for a in answers) / max(1, len(answers))
        if self.codec is None:
            return math.nan, letters
        dev = encode_dataset(self.dataset, "dev", self.codec)
        return len(dev.targets) / len(dev), letters

    @cached_property
    def ceiling(self) -> float:
        """Loss a symbol on the dev set of who knows only how often each occurs in the data."""
        counts = [np.bincount(self._symbols(part)) for part in ("data", "dev")]
        seen = np.zeros(max(map(len, counts))) + 0.5  # a symbol that the data never have must not cost infinity
        seen[: len(counts[0])] += counts[0]
        return float(-(counts[1] * np.log(seen / seen.sum())[: len(counts[1])]).sum() / counts[1].sum())

    def _symbols(self, part: str) -> Any:
        """Every symbol that is learnt in a part of the dataset."""
        if self.codec is not None:
            from limbeck.train.encoded import encode_dataset

            return encode_dataset(self.dataset, part, self.codec).targets
        from limbeck.models.decoder import load_tokenizer
        from limbeck.train.packing import pack_dataset

        student = teaching.settle_student(self.recipe, self.recipe.student)
        labels = pack_dataset(self.dataset, part, load_tokenizer(student.tokenizer), student.length, self.recipe.train.whole).label
        return labels[labels >= 0]

    @property
    def target(self) -> Candidate:
        """The student that is forecast: the recipe's own, or one so many times larger (`predict.larger`) at the same data to size."""
        known, larger = setting_of(self.recipe.student, self.recipe.train), self.recipe.predict.larger
        cost = self.cost(known.width)
        return Candidate(size=cost.size * larger, data=known.examples * cost.tokens * larger, compute=known.examples * cost.flops * larger**2, facts=(("width", known.width * math.sqrt(larger)),))

    def widths(self) -> list[int]:
        """Widths of the grid: multiples of 4 from 16 up, each larger than the one before by a fifth or more."""
        own, found = self.recipe.student.width, [16]
        while found[-1] < own:
            found.append(math.ceil(found[-1] * GROWS / 4) * 4)
        return [w for w in found if w <= own and (w < own or self.recipe.predict.larger > 1)]

    def grid(self, budget: float) -> list[Candidate]:
        """All runs that could be rungs."""
        target, least = self.target, self.recipe.predict.least_steps
        out = []
        for width in self.widths():
            cost = self.cost(width)
            for ratio in RATIOS:
                examples = round(target.ratio * ratio * cost.size / cost.tokens)
                setting = self.setting(width, max(1, examples))
                if setting.steps >= least and examples >= least * setting.batch and examples * cost.flops <= budget:
                    out.append(Candidate(size=cost.size, data=examples * cost.tokens, compute=examples * cost.flops, facts=(("width", width), ("examples", examples))))
            if cost.flops * least * least_batch(self.recipe.student) > budget:
                break
        return out

    def plan(self, budget: float | None = None, fits: Sequence[Any] = ()) -> Plan:
        """The best ladder for a budget in FLOP; a share of the target's (`predict.share`) unless said."""
        refuse_untrainable(self.recipe)
        budget = budget or self.recipe.predict.share * self.target.compute
        return choose_rungs(self.grid(budget), self.target, budget, fits)

    def rungs(self, plan: Plan) -> list[Rung]:
        """The plan's rungs with transferred settings."""
        facts = [dict(r.candidate.facts) for r in plan.rungs]
        return name_rungs(plan, [self.setting(int(f["width"]), int(f["examples"])) for f in facts])

    def setting(self, width: int, examples: int) -> Setting:
        """How a rung is trained."""
        known = setting_of(self.recipe.student, self.recipe.train)
        return transfer(known, width=width, layers=known.layers, examples=examples, least_steps=self.recipe.predict.least_steps, least_batch=least_batch(self.recipe.student))

    def pace(self, seconds: float = 2.0) -> Pace:
        """Timed here on a student of middling width: whole steps, the optimizer's work with them, at the least batch and at the recipe's (64 at most).

        Where several rungs are trained at once, each has one thread, and so has this.
        """
        import torch

        widths = self.widths()
        width = widths[len(widths) // 2]
        small, large = LEAST_BATCH, max(2 * LEAST_BATCH, min(self.recipe.train.batch, 64))
        threads = torch.get_num_threads()
        workers = 1 if torch.cuda.is_available() else threads
        torch.set_num_threads(1 if workers > 1 else threads)
        try:
            quick, slow = (self._step_seconds(width, batch, seconds) for batch in (small, large))
        finally:
            torch.set_num_threads(threads)
        flops = self.cost(width).flops
        each = max((slow - quick) / (large - small), 0.1 * slow / large)  # noise must not make examples free
        return Pace(step=max(0.0, slow - large * each), flops=flops / each, workers=workers)

    def _step_seconds(self, width: int, batch: int, seconds: float) -> float:
        import torch

        from limbeck.train.optimizer import make_optimizer

        section = self.recipe.train
        course = self.course(student_at(self.recipe.student, width), batch)
        course.network.train()
        optimizer = make_optimizer(course.network, section.optimizer, 1e-6, section.weight_decay)
        took: list[float] = []
        while len(took) < 4 or sum(took) < seconds:
            began = time.perf_counter()
            loss, _ = course.network.loss(course.batch(len(took) % 8), soft_weight=0.0, generator=torch.Generator().manual_seed(len(took)))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(course.network.parameters(), section.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            took.append(time.perf_counter() - began)
        return sorted(took[1:])[len(took[1:]) // 2]  # the first step pays for what is made once

    def seconds_of(self, plan: Plan, pace: Pace) -> float:
        """What training a plan's rungs takes on this machine, several at once; measuring them comes on top."""
        each = [rung.setting.steps * pace.step + rung.planned.compute / pace.flops for rung in self.rungs(plan)]
        return max(max(each), sum(each) / min(pace.workers, len(each)))

    def plan_seconds(self, seconds: float, pace: Pace, fits: Sequence[Any] = ()) -> Plan:
        """The best ladder that is trained here in so many seconds, a reserve kept back."""
        budget, allowed = seconds * pace.flops * pace.workers, seconds * (1 - RESERVE)
        for _ in range(20):
            try:
                plan = self.plan(budget, fits)
            except LimbeckError as problem:
                if "pays for no ladder" not in problem.what:
                    raise
                raise LimbeckError(f"{seconds / 3600:.3g} hours of this machine pay for no ladder: a step of the smallest student takes {1000 * pace.step:.0f} ms and its examples {pace.flops:.3g} FLOP/s", "--budget", f"give more time: a ladder has six rungs or more of at least {self.recipe.predict.least_steps} steps, and a larger one held out") from problem
            took = self.seconds_of(plan, pace)
            if took <= allowed:
                return plan
            budget *= min(0.9, allowed / took)
        raise LimbeckError(f"no ladder was found that takes {seconds / 3600:.3g} hours here", "--budget", "give more time, or FLOP")


def refuse_untrainable(recipe: Recipe) -> None:
    """Raises LimbeckError for recipes whose student has no sizes to climb."""
    if recipe.student.source or recipe.train.start:
        raise LimbeckError("this student starts from weights that exist: there are no smaller ones of its kind to climb on", "student.source, train.start", "a ladder needs a student that starts anew; for more data at one size fit a table of runs with `limbeck predict fit`")


def climb(run: Run, ground: Ground, plan: Plan, tell: Tell) -> Path:
    """Train and measure the plan's rungs in a run; the path of their table. A killed ladder goes on where it stood."""
    recipe, dataset = ground.recipe, ground.dataset
    inputs = {"dataset": [hash_file(dataset / f"{part}.jsonl.gz") for part in ("data", "dev")], "student": kind_of(run, recipe), "train": recipe.train.model_dump(exclude={"steps", "batch", "accumulate", "lr", "warmup", "ema", "evaluate_every", "patience", "checkpoint_every"})}
    measuring = {"held_out": hash_file(dataset / "held_out.jsonl.gz"), "examples": [recipe.predict.examples, recipe.predict.rung_examples], "k": recipe.evaluate.k, "beams": recipe.student.beams}
    rungs = ground.rungs(plan)
    rows = run_ladder(run, rungs, inputs, (("models", "train"), ("evaluate", "models", "tasks")), lambda pairs: train_rungs(ground, pairs, len(rungs), tell), lambda rung, path: measure(ground, rung, path, tell), measuring, tell)
    table = run.path / "ladder" / "runs.csv"
    write_atomically(table, table_of(rows).encode())
    return table


def kind_of(run: Run, recipe: Recipe) -> dict[str, Any]:
    """What all rungs' students have in common."""
    return {key: value for key, value in unplaced(recipe.student, run).items() if key not in ("width", "heads")}


def train_rungs(ground: Ground, pairs: Sequence[tuple[Rung, Step]], of: int, tell: Tell) -> None:
    """Every rung trained, largest first, as many at once as there are threads; on an accelerator one after another."""
    import torch

    from limbeck.train.encoded import encode_dataset
    from limbeck.train.fit import train
    from limbeck.train.together import Job, train_together

    recipe, codec = ground.recipe, ground.codec
    jobs = []
    for rung, step in sorted(pairs, key=lambda pair: -pair[0].planned.compute):
        student = student_at(recipe.student, rung.setting.width)
        jobs.append(Job(rung.name, ground.dataset, teaching.settle_student(recipe, student), section_of(recipe.train, rung.setting), step))
    workers = 1 if torch.cuda.is_available() else min(of, torch.get_num_threads())
    if codec is not None:
        for part in ("data", "dev"):
            encode_dataset(ground.dataset, part, codec)
    if workers > 1:
        train_together(jobs, codec, workers, 1, lambda name, record: tell("train", {"arm": name, **record}))
    else:
        for job in jobs:
            train(job.dataset, job.student, job.section, codec if job.student.kind != "decoder" else None, job.step, lambda record, job=job: tell("train", {"arm": job.name, **record}))
            job.step.finish()
    for _, step in pairs:
        (step.path / "checkpoint.safetensors").unlink(missing_ok=True)


def last_loss(step: Path) -> tuple[float, float]:
    """A trained student's loss per symbol on the dev set, in nats (of diffusion students the cross-entropy part), and its seconds."""
    lines = [json.loads(line) for line in (step / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    looks = [line for line in lines if "dev_loss" in line]
    if not looks:
        raise LimbeckError("this student was never measured on the dev set", str(step), "train it again")
    return float(looks[-1].get("dev_cross_entropy", looks[-1]["dev_loss"])), float(next((line["seconds"] for line in reversed(lines) if "seconds" in line), math.nan))


def measure(ground: Ground, rung: Rung, path: Path, tell: Tell) -> dict[str, Any]:
    """A rung's columns that only measuring tells; pass rates of single problems go to pass.json beside."""
    cost = ground.cost(rung.setting.width)
    loss, seconds = last_loss(path)
    examples = rung.setting.steps * rung.setting.batch
    symbols, letters = ground.gold
    row: dict[str, Any] = {"N": cost.size, "N_total": cost.size_total, "D": examples * cost.tokens, "C": examples * cost.flops, "loss": loss, "ceiling": ground.ceiling, "seconds": seconds}
    row["loss_per_byte"] = loss * symbols / letters if math.isfinite(symbols) else None
    if ground.recipe.predict.examples:
        row |= score_of(ground, path / "expert", rung.name, tell)
    passes = gold_log_pass(ground, path / "expert")
    if passes is not None:
        write_atomically(path / "pass.json", json.dumps([round(p, 4) for p in passes]).encode())
        row["log_pass"] = sum(passes) / len(passes)
    return row


def held_out_examples(ground: Ground) -> list[Any]:
    """The generated examples that scores are taken on."""
    from limbeck.make import _examples

    task = resolve.get_task(ground.recipe.recipe.task, code=ground.recipe.distill.code or None)
    return _examples(task, "generated", ground.dataset, ground.recipe.predict.examples)


def score_of(ground: Ground, expert: Path, name: str, tell: Tell) -> dict[str, Any]:
    """The share of held-out examples whose first answer is right by the task's first measure; an answer that is missing is not right."""
    from limbeck.evaluate.examine import examine

    recipe = ground.recipe
    task = resolve.get_task(recipe.recipe.task, code=recipe.distill.code or None)
    examples = held_out_examples(ground)[: recipe.predict.rung_examples]
    answerer = resolve.get_expert(str(expert), task, name=name)
    result = examine(task, answerer, examples, split="generated", k=recipe.evaluate.k, progress=lambda a, b, _: tell("evaluate", {"answerer": name, "split": "generated", "done": a, "of": b}))
    return top_one(task, result)


def top_one(task: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """The score that forecasts speak of, out of an examination's result."""
    from limbeck.evaluate.examine import measures_of

    main = measures_of(task)[0]
    values = [float((trial.get(main) or [0.0])[0]) for trial in result["trials"]]
    return {"score": sum(values) / max(1, len(values)), "score_n": len(values)}


def gold_log_pass(ground: Ground, expert: Path) -> list[float] | None:
    """ln of the chance that one draw at temperature 1 is the gold answer, for each held-out problem: exact for autoregressive students, None for others.

    It is a lower bound of the pass rate (another answer may be right too), and has no problem that was never solved.
    """
    if ground.recipe.student.kind != "autoregressive":
        return None
    import torch

    from limbeck.models.expert import load_expert
    from limbeck.train.batches import make_batch
    from limbeck.train.encoded import encode_dataset

    network: Any = load_expert(expert, ground.codec).network
    data = encode_dataset(ground.dataset, "held_out", ground.codec)
    count = min(len(data), ground.recipe.predict.examples or len(data))
    out: list[float] = []
    with torch.no_grad():
        for start in range(0, count, 64):
            batch = make_batch(data, range(start, min(start + 64, count)))
            logp = network(batch.source, batch.target_BL).float().log_softmax(-1).gather(2, batch.target_BL[..., None])[..., 0]
            out += (logp * (batch.target_BL > 0)).sum(1).tolist()
    return out
