"""`limbeck make RECIPE --plan`: what a recipe will take, before anything starts: parameters, memory, operations, time, dollars, the command."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.catalog.accelerators import Accelerator, entered, load_accelerators, share_of_peak
from limbeck.errors import LimbeckError
from limbeck.models import sizing
from limbeck.models.sizing import Shape, Training
from limbeck.recipe.load import with_arm
from limbeck.recipe.schema import Recipe, StudentSection, TrainSection
from limbeck.tokenizing import OWN

USABLE = 0.92  # of an accelerator's memory: the driver, the libraries and what the allocator cannot use take the rest
RUNS = {"one": True, "ddp": True, "fsdp": False}  # tried with limbeck's loop; its running mean is not split yet, so FSDP stops at the first step
MOST_DEVICES = 8  # of one machine; more are not planned
LETTERS_A_TOKEN = 4  # of English, where no tokenizer is at hand


def make_plan(recipe: Recipe, command: str = "", probe: bool = True) -> dict[str, Any]:
    """The plan as one JSON document. `command` is how the recipe is named on the command line; `probe` times this machine for a second."""
    name = command or recipe.recipe.name
    arms = [("student", recipe.student, recipe.train), *((arm.name, *with_arm(recipe, arm)) for arm in recipe.arm)]
    students: list[dict[str, Any]] = []
    for arm, student, train in arms:
        plan = plan_student(recipe, arm, student, train, name, probe and not students)
        same = next((other for other in students if _facts(other) == _facts(plan)), None)
        if same:
            same["arm"] += f", {arm}"
        else:
            students.append(plan)
    share = share_of_peak()
    return {
        "recipe": name, "seeds": len(recipe.recipe.seeds), "students": students, "teacher": plan_teacher(recipe),
        "assumptions": {"share_of_peak": [share.low, share.high], "share_source": share.source, "usable_memory": USABLE, "prices_entered": entered(), "seconds_are": "training alone: no asking, no examination"},
    }  # fmt: skip


def _facts(plan: dict[str, Any]) -> dict[str, Any]:
    """What two arms have in common where they take the same: all but their names and what was timed."""
    return {key: value for key, value in plan.items() if key not in ("arm", "here")}


def plan_student(recipe: Recipe, arm: str, student: StudentSection, train: TrainSection, name: str, probe: bool) -> dict[str, Any]:
    """One arm's parameters, memory, operations and each accelerator's verdict."""
    if student.kind != "decoder":
        return _plan_native(recipe, arm, student, train)
    shape, known_by = decoder_shape(recipe, student, train)
    training = training_of(student, train)
    count = sizing.count_parameters(shape, student.lora_rank)
    tokens = train.steps * train.accumulate * training.tokens
    operations = tokens * sizing.flops_per_token(shape, training)
    rows = [plan_device(a, shape, training, operations, train, name) for a in load_accelerators()]
    plan = {
        "arm": arm, "kind": "decoder", "shape": shape.name, "shape_from": known_by, "parameters": {"total": count.total, "trained": count.trained, "embeddings": count.embeddings},
        "memory_bytes": sizing.memory_bytes(shape, training), "activations_bytes": {name: sizing.memory_bytes(shape, replace(training, checkpointing=name == "with"))["activations"] for name in ("without", "with")},
        "tokens": tokens, "flops": operations, "settings": {"rows": training.rows, "length": training.length, "lora_rank": student.lora_rank, "optimizer": train.optimizer, "bf16": training.bf16, "checkpointing": training.checkpointing},
        "devices": rows, "would_fit": _remedies(shape, training, student),
    }  # fmt: skip
    return plan | ({"here": plan_here(shape, training, operations)} if probe else {})


def decoder_shape(recipe: Recipe, student: StudentSection, train: TrainSection) -> tuple[Shape, str]:
    """The shape a student will have and how it is known: a folder's config.json, a known configuration, or the recipe's own numbers."""
    source = train.start or student.source
    if not source:
        return _random_shape(recipe, student)
    place = resolve.weights_of(source)
    folder = Path(place)
    if (folder / "config.json").exists():
        return sizing.read_shape(folder), "config.json"
    found = sizing.find_shape(place)
    if found is None:
        names = ", ".join(s.name for s in sizing.known_shapes())
        raise LimbeckError("the configuration of these weights is not here", source, f"fetch the folder and name it, or one of: {names}")
    return found, "known configuration"


def _random_shape(recipe: Recipe, student: StudentSection) -> tuple[Shape, str]:
    """A Llama shape of the recipe's numbers; its vocabulary is that of the tokenizer it will take."""
    from limbeck.models.decoder import llama_shape

    if student.tokenizer == OWN:
        return sizing.shape_of(llama_shape(student, student.vocabulary, 0).to_dict(), "Llama shape, random weights"), "the recipe"
    owner = student.tokenizer or (recipe.teacher.model if recipe.teacher.model.startswith(("hf:", "builtin:")) else "")
    place = resolve.weights_of(owner) if owner and owner != "builtin:smollm2-135m" else str(resolve.smollm2_folder()) if owner else ""
    path = Path(place) / "config.json"
    known = sizing.find_shape(place) or (sizing.find_shape("SmolLM2-135M") if owner == "builtin:smollm2-135m" else None)
    if place and path.exists():
        vocabulary = int(json.loads(path.read_text(encoding="utf-8"))["vocab_size"])
    elif known:
        vocabulary = known.vocabulary
    else:
        raise LimbeckError("nobody knows how many tokens this student will have", "student.tokenizer", "name a folder with config.json, or a known hub id")
    return sizing.shape_of(llama_shape(student, vocabulary, 0).to_dict(), "Llama shape, random weights"), "the recipe"


def training_of(student: StudentSection, train: TrainSection, bf16: bool | None = None) -> Training:
    """What of a recipe decides memory and operations; `bf16` overrules it where the machine has none."""
    return Training(
        rows=train.batch, length=student.length, lora_rank=student.lora_rank, muon=train.optimizer == "muon", checkpointing=bool(student.extra.get("gradient_checkpointing")),
        bf16=train.precision == "bf16" if bf16 is None else bf16, accumulate=train.accumulate, chunk_tokens=train.chunk_tokens,
    )  # fmt: skip


def _peak(shape: Shape, training: Training, **changes: Any) -> int:
    return sizing.memory_bytes(shape, replace(training, **changes))["peak"]


def plan_device(device: Accelerator, shape: Shape, training: Training, operations: float, train: TrainSection, name: str) -> dict[str, Any]:
    """How many of an accelerator it takes and by which strategy, for how long and how much: the share of the peak and the rents as ranges."""
    room = device.memory_GB * 1e9 * USABLE
    count, strategy = _fewest(shape, training, room)
    row: dict[str, Any] = {"accelerator": device.name, "memory_GB": device.memory_GB, "fits_one": _peak(shape, training) <= room, "devices": count, "strategy": strategy, "standing": device.standing}
    if count is None:
        return row | {"hours": None, "usd": None, "command": None}
    hours = None
    if device.bf16_flops:
        share = share_of_peak()
        hours = [operations / (count * device.bf16_flops * s) / 3600 for s in (share.high, share.low)]
    rent = device.rent_range
    usd = [hours[0] * count * rent[0], hours[1] * count * rent[2]] if hours and rent else None
    if count == 1 and _peak(shape, training, devices=MOST_DEVICES, strategy="ddp") <= room:
        row["spread"] = {"devices": MOST_DEVICES, "strategy": "ddp", "hours": [h / MOST_DEVICES for h in hours] if hours else None, "command": launch_command(name, MOST_DEVICES, "ddp", train, shape, training.bf16)}
    return row | {
        "peak_bytes": _peak(shape, training, devices=count, strategy=strategy), "hours": hours, "usd": usd, "usd_an_hour": list(rent) if rent else None,
        "command": launch_command(name, count, strategy or "one", train, shape, training.bf16), "runs": RUNS[strategy or "one"],
    }  # fmt: skip


def _fewest(shape: Shape, training: Training, room: float) -> tuple[int | None, sizing.Strategy | None]:
    """One device where it fits; else as few as share the weights; None where MOST_DEVICES do not do."""
    if _peak(shape, training) <= room:
        return 1, "one"
    for count in (2, 4, MOST_DEVICES):
        if _peak(shape, training, devices=count, strategy="fsdp") <= room:
            return count, "fsdp"
    return None, None


LAYER = {"llama": "LlamaDecoderLayer", "mistral": "MistralDecoderLayer", "qwen2": "Qwen2DecoderLayer", "qwen3": "Qwen3DecoderLayer"}


def launch_command(name: str, devices: int, strategy: str, train: TrainSection, shape: Shape, bf16: bool) -> str:
    """The line to type. Each process takes a batch of its own, so n of them see the same tokens in a n-th of the steps."""
    if devices == 1:
        return f"limbeck make {name}"
    steps = math.ceil(train.steps / devices)
    parts = ["accelerate launch", f"--num_processes {devices}", f"--mixed_precision {'bf16' if bf16 else 'no'}"]
    if strategy == "fsdp":
        parts += ["--use_fsdp", "--fsdp_version 2", "--fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP", f"--fsdp_transformer_layer_cls_to_wrap {LAYER[shape.family]}", "--fsdp_state_dict_type FULL_STATE_DICT"]
    else:
        parts.append("--multi_gpu")
    return " ".join([*parts, f"-m limbeck make {name} --set train.steps={steps}"])


def _remedies(shape: Shape, training: Training, student: StudentSection) -> list[dict[str, Any]]:
    """Settings that need less memory, each with the peak it leads to, smallest last."""
    tries: list[tuple[str, dict[str, Any]]] = []
    if not training.checkpointing:
        tries.append(("student.extra = { gradient_checkpointing = true }", {"checkpointing": True}))
    if training.rows > 1:
        tries.append((f"train.batch = 1, train.accumulate = {training.rows * training.accumulate}", {"rows": 1, "accumulate": training.rows * training.accumulate}))
    if training.muon and not training.lora_rank:
        tries.append(('train.optimizer = "adamw"', {"muon": False}))
    if not student.lora_rank and student.source:
        tries.append(("student.lora_rank = 16", {"lora_rank": 16}))
    found = [{"set": text, "peak_bytes": _peak(shape, training, **changes)} for text, changes in tries]
    if len(tries) > 1:
        together: dict[str, Any] = {}
        for _, changes in tries:
            together |= changes
        found.append({"set": "all of these", "peak_bytes": _peak(shape, training, **together)})
    return sorted((f for f in found if f["peak_bytes"] < _peak(shape, training)), key=lambda f: -f["peak_bytes"])


def _plan_native(recipe: Recipe, arm: str, student: StudentSection, train: TrainSection) -> dict[str, Any]:
    from limbeck.models.expert import estimate_parameters

    codec = resolve.get_codec(recipe.recipe.task, recipe.distill.slots)
    total, inner = (estimate_parameters(student, codec, embeddings=e) for e in (True, False))
    layers = student.encoder_layers + student.decoder_layers + student.denoiser_layers
    return {
        "arm": arm, "kind": student.kind, "parameters": {"total": total, "trained": total, "embeddings": total - inner},
        "memory_bytes": sizing.native_memory_bytes(total, student.width, layers, student.heads, train.batch), "tokens": None, "flops": None, "devices": [], "would_fit": [],
        "examples": train.steps * train.accumulate * train.batch, "command": f"limbeck make {recipe.recipe.name}",
    }  # fmt: skip


def plan_here(shape: Shape, training: Training, operations: float) -> dict[str, Any]:
    """This machine: its memory, the operations a second of a block's matrices forward and backward as measured now, and the hours from that."""
    import torch

    from limbeck.models.precision import is_bf16_native

    bf16 = training.bf16 and is_bf16_native()
    mine = replace(training, bf16=bf16)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    room = float(torch.cuda.get_device_properties(0).total_memory) if where == "cuda" else _machine_bytes()
    speed = measure_speed(shape, where, torch.bfloat16 if bf16 else torch.float32)
    peak = _peak(shape, mine)
    return {"device": torch.cuda.get_device_name(0) if where == "cuda" else "processor", "threads": torch.get_num_threads(), "memory_bytes": room, "peak_bytes": peak, "fits": peak <= room * USABLE, "flops_per_s": speed, "hours": operations / speed / 3600}


def measure_speed(shape: Shape, where: str, kind: Any, seconds: float = 1.0, tokens: int = 256) -> float:
    """Operations a second of one gated feed-forward of this width, forward and backward: what the machine does, not what it could.

    The best round counts: others may have waited for a processor that was busy with something else.
    """
    import torch
    from torch.nn import functional

    wide = min(shape.feed_forward, 8192)
    gate, up, down = (torch.randn(a, b, device=where, dtype=kind, requires_grad=True) for a, b in ((wide, shape.width), (wide, shape.width), (shape.width, wide)))
    x = torch.randn(tokens, shape.width, device=where, dtype=kind, requires_grad=True)

    def once() -> None:
        functional.linear(functional.silu(functional.linear(x, gate)) * functional.linear(x, up), down).sum().backward()
        if where == "cuda":
            torch.cuda.synchronize()

    once()
    end, best = time.perf_counter() + seconds, float("inf")
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - began)
    return 6.0 * tokens * 3 * wide * shape.width / best


def _machine_bytes() -> float:
    info = Path("/proc/meminfo")
    if not info.exists():
        return 8e9
    return next(float(line.split()[1]) * 1024 for line in info.read_text().splitlines() if line.startswith("MemTotal"))


def plan_teacher(recipe: Recipe) -> dict[str, Any]:
    """What the teacher will cost at most: requests, draws, tokens and dollars. Tokens read are known only by the letters of some requests."""
    from limbeck.teaching import asks

    teacher, asked = recipe.teacher, recipe.distill.prompts
    plan: dict[str, Any] = {"model": teacher.model, "requests": asked, "draws": asked * teacher.samples, "usd_at_most": None, "why_unknown": ""}
    try:
        task = resolve.get_task(recipe.recipe.task, code=recipe.distill.code or None)
    except LimbeckError:
        task = None
    if not asks(recipe, task):
        return plan | {"usd_at_most": 0.0, "draws": 0, "answers_from": "the task's own gold or documents"}
    if teacher.model.startswith("panel:"):
        return plan | {"why_unknown": "a panel's bill is that of its members"}
    if not resolve.is_language_model(teacher.model):
        return plan | {"usd_at_most": 0.0, "answers_from": "an expert's weights here: time, no bill"}
    letters = _letters_asked(recipe, task)
    written = asked * teacher.samples * teacher.max_tokens
    plan |= {"tokens_out_at_most": written, "tokens_in_about": None if letters is None else round(asked * letters / LETTERS_A_TOKEN), "tokens_in_at_most": None if letters is None else round(asked * letters)}
    if not teacher.model.startswith("openai:"):
        return plan | {"usd_at_most": 0.0, "answers_from": "weights here: time, no bill"}
    price = resolve.get_price(teacher.model.removeprefix("openai:"))
    if teacher.price_in_usd is not None and teacher.price_out_usd is not None:
        price = (teacher.price_in_usd, teacher.price_out_usd)
    if price is None:
        return plan | {"why_unknown": "nobody knows its price: give teacher.price_in_usd and price_out_usd"}
    plan |= {"price_in_usd": price[0], "price_out_usd": price[1], "budget_usd": teacher.budget_usd}
    if letters is None:
        return plan | {"usd_written_at_most": written * price[1] / 1e6, "why_unknown": "the requests are not here, so what is read is unknown"}
    return plan | {"usd_at_most": (asked * letters * price[0] + written * price[1]) / 1e6}


def _letters_asked(recipe: Recipe, task: Any, sample: int = 64) -> float | None:
    """Mean bytes of a request as it is posed, over the first few; None where they cannot be had here."""
    try:
        found = task.examples(recipe.distill.split, sample) if recipe.distill.split else list(islice(task.generate(recipe.recipe.seed, sample), sample))
    except (LimbeckError, AttributeError):
        return None
    posed = [resolve.get_pose(task)(example.prompt) for example in found[:sample]]
    lengths = [sum(len(str(m["content"]).encode()) for m in p.context.get("messages") or [{"content": p.text}]) for p in posed]
    return sum(lengths) / len(lengths) + len(recipe.teacher.system.encode()) if lengths else None


def show_plan(recipe: Recipe, as_json: bool, command: str = "") -> None:
    """Print the plan: one JSON document, or tables."""
    plan = make_plan(recipe, command)
    if as_json:
        sys.stdout.write(json.dumps(plan) + "\n")
        return
    from limbeck.report.plan import print_plan

    print_plan(plan)
