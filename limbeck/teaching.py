"""What the distill step is handed by the roof: the teacher of a recipe, the origins of its records, gates, and what may not be kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck import resolve
from limbeck.catalog import terms
from limbeck.data.opt_out import OptOut
from limbeck.distill.asking import Desk, distill_texts
from limbeck.distill.mixing import MixedSet, load_set
from limbeck.empanelling import content_of, is_panel, load_threshold, panel_path, unposed
from limbeck.empanelling import lineage as panel_lineage
from limbeck.errors import LimbeckError
from limbeck.identifying import hash_weights, identify_set, identify_tokenizer, name_weights
from limbeck.judging import check_judge, get_judge
from limbeck.recipe.schema import KeepSection, Recipe, StudentSection, TeacherSection, TrainSection
from limbeck.records import Origin
from limbeck.run import Step

Tell = Callable[[str, dict[str, Any]], None]
ALIGNED_ON = 200  # records on which two tokenizers are tried before distributions go from one to the other


def reads_text(recipe: Recipe, kinds: Sequence[str]) -> bool:
    """Whether a recipe's data are texts: its teacher writes them, or a student of it reads them."""
    return "decoder" in kinds or resolve.is_language_model(recipe.teacher.model) or is_panel(recipe.teacher.model)


def check_recipe(recipe: Recipe, kinds: Sequence[str]) -> None:
    """Raises LimbeckError for what cannot work, before anything is asked."""
    teacher, text = recipe.teacher, reads_text(recipe, kinds)
    if not text and recipe.keep.model_copy(update={"opt_out": ()}) != KeepSection():  # type: ignore[call-arg]
        raise LimbeckError("experts and generators that teach native students are not filtered by [keep]", "[keep]", "leave it out (but opt_out), name a language model as teacher, or train a decoder")
    if not text and recipe.mix:
        raise LimbeckError("sets of text cannot be mixed in here", "[[mix]]", "train a decoder, or name a language model as teacher")
    check_judge(recipe)
    for name, budget in (("budget_usd", teacher.budget_usd), ("budget_tokens", teacher.budget_tokens)):
        if budget is not None and budget <= 0:
            raise LimbeckError(f"a budget of {budget:g} buys nothing", f"teacher.{name}", "give a sum above zero, or leave it out")
    has_weights = teacher.model.startswith("hf:") or teacher.model == "builtin:smollm2-135m"
    if recipe.distill.soft != "off" and not has_weights:
        raise LimbeckError("soft targets need a teacher whose weights are here", f"distill.soft = {recipe.distill.soft!r}, teacher.model = {teacher.model!r}", "name hf:ID-or-folder or builtin:smollm2-135m, or set distill.soft = 'off'")
    if recipe.train.on_policy_steps and not has_weights:
        raise LimbeckError("on-policy distillation needs a teacher whose weights are here", f"train.on_policy_steps, teacher.model = {recipe.teacher.model!r}", "name hf:ID-or-folder or builtin:smollm2-135m, or set it to 0")
    if recipe.distill.align and recipe.distill.soft != "top":
        raise LimbeckError("draws cannot be carried to another tokenizer: what the student has no token for would be lost", f"distill.align, distill.soft = {recipe.distill.soft!r}", "set distill.soft = 'top' (its tail keeps the rest), or distill.align = false")
    if recipe.distill.soft == "sampled" and recipe.train.divergence != "forward_kl":
        raise LimbeckError(f"{recipe.train.divergence} cannot be computed from draws", "train.divergence", "use forward_kl, or distill.soft = 'top'")
    if recipe.distill.soft != "off" and "decoder" not in kinds:
        raise LimbeckError("stored distributions over tokens teach decoders only", "distill.soft", "set student.kind = 'decoder'")


def distill_run(recipe: Recipe, task: Any, codec: Any, step: Step, forbidden: Sequence[str], tell: Tell) -> None:
    """The dataset of a recipe whose data are texts."""
    teacher = get_teacher(recipe.teacher, task, step_run(step)) if asks(recipe, task) else None
    from limbeck.decontaminating import against_texts

    origins = origins_of(recipe, task)
    mixed = _load_sets(recipe)
    pose = resolve.get_pose(task)
    if teacher is not None and is_panel(recipe.teacher.model):
        teacher, pose = unposed(teacher, pose)
    elif teacher is not None and recipe.teacher.self_test and not recipe.teacher.offline:
        _try_teacher(recipe, task, teacher, step, tell)
    desk = Desk(
        task=task, teacher=teacher, pose=pose, origins=origins, by=tuple(range(len(origins))), codec=codec, contamination=_contamination(recipe, task, forbidden),
        opt_out=opt_out(recipe), against=tuple(against_texts(recipe.keep.against)) if recipe.keep.against else None, mixed=mixed, terms=terms.paragraph([*origins, *(o for m in mixed for o in m.origins)]),
        accounts=getattr(teacher, "accounts", dict), judge=get_judge(recipe, task),
    )  # fmt: skip
    distill_texts(desk, recipe.teacher, recipe.distill, recipe.keep, step, lambda record: tell("distill", record))


def get_teacher(section: TeacherSection, task: Any, run: str) -> Any:
    """Who answers: None for the task's own gold."""
    if section.model == "generator":
        return None
    if is_panel(section.model):
        return resolve.get_answerer(section.model, task)
    return resolve.get_teacher(section, run) if resolve.is_language_model(section.model) else resolve.get_expert(section.model, task, name=section.model)


def asks(recipe: Recipe, task: Any) -> bool:
    """Whether the teacher is asked for answers; else the task's gold, or its documents, are learnt."""
    return recipe.teacher.model != "generator" and recipe.distill.answers == "teacher" and getattr(task, "draws", True)


def origins_of(recipe: Recipe, task: Any) -> tuple[Origin, ...]:
    """Who has a hand in every record of a recipe: who answers, whom that one learnt from, and who wrote the requests."""
    teacher, licence = recipe.teacher, recipe.distill.licence or getattr(task, "licence", "")
    people = f"people:{task.name}" if licence else "generator"
    found = [terms.origin("prompt" if asks(recipe, task) else "generator", people, licence or "own")]
    if teacher.model == "generator":
        return tuple(found)
    roles = (["generator"] if asks(recipe, task) else []) + (["logits"] if recipe.distill.soft != "off" else [])
    for role in roles:
        if is_panel(teacher.model):
            found += panel_lineage(role, teacher.model, task.name)
            continue
        found += terms.lineage(role, teacher.model, teacher.terms, revision=teacher.revision or name_weights(teacher.model), host=_host(teacher))
    return tuple(dict.fromkeys(found))


def _host(section: TeacherSection) -> str:
    address = section.base_url or os.environ.get("OPENAI_BASE_URL", "")
    return urlsplit(address).hostname or "" if section.model.startswith("openai:") else ""


def _contamination(recipe: Recipe, task: Any, forbidden: Sequence[str]) -> Any:
    from limbeck.decontaminating import known_texts
    from limbeck.distill.contamination import Contamination

    if recipe.keep.contamination == "off":
        return None
    own = [(task.name, str(at), text) for at, text in enumerate(forbidden)]
    known = known_texts() if recipe.keep.contamination == "known" else None
    return Contamination([*own, *(known or ())], recipe.distill.ngram, not_looked_at=known.not_looked_at if known else None)


def opt_out(recipe: Recipe) -> Any:
    """People's objections that a recipe names; None where it names none."""
    return OptOut.load(recipe.keep.opt_out) if recipe.keep.opt_out else None


def identify(section: TeacherSection) -> Any:
    """What must be equal for two teachers to give the same answers: weights where they are here, else how a server is asked."""
    if section.model == "generator":
        return "generator"
    if is_panel(section.model):
        return [content_of(panel_path(section.model)), load_threshold(section.model), section.samples]
    if section.model.startswith("openai:"):
        return section.model_dump(exclude={"concurrency", "timeout_s", "deadline_s", "retries", "budget_usd", "budget_tokens", "when_spent", "failed_most", "price_in_usd", "price_out_usd", "key_env", "batch_file", "self_test", "offline"})
    if not resolve.is_language_model(section.model):
        return hash_weights(resolve.expert_folder(section.model))
    folder = Path(resolve.weights_of(section.model))
    return [hash_weights(folder) if folder.is_dir() else section.model, section.temperature, section.top_p, section.max_tokens, section.system, section.samples, section.seed]


def hash_sets(recipe: Recipe) -> list[Any]:
    """The sets that are mixed in, by content."""
    return [identify_set(mixed) for mixed in _load_sets(recipe)]


def _load_sets(recipe: Recipe) -> tuple[MixedSet, ...]:
    found = [(mix, load_set(mix.source, mix.weight, mix.terms)) for mix in recipe.mix]
    return tuple(replace(mixed, name=mix.name) if mix.name else mixed for mix, mixed in found)


def gate_train(dataset: Path, recipe: Recipe, students: Sequence[StudentSection]) -> terms.Binding:
    """What binds a dataset and the weights its students start from. Raises LimbeckError where training on them is not allowed."""
    binding = terms.read_binding(dataset)
    starts = [s.source for s in students] + [recipe.train.start, *(str(arm.set.get("train.start", "")) for arm in recipe.arm)]
    for source in dict.fromkeys(s for s in starts if s):
        binding = binding.join_origin(f"weights {source}", *terms.lineage("base", source))
    for student in students:
        terms.gate(binding, "train", terms.Student(family=family_of(student), name=recipe.terms.name or recipe.recipe.name), recipe.terms.accept)
    return binding


def gate_before_asking(recipe: Recipe, task: Any, students: Sequence[StudentSection]) -> None:
    """Raises LimbeckError where what the teacher, or a member of it, will say may not be trained on: nothing is paid for answers of no use."""
    if asks(recipe, task):
        binding = terms.Binding().join_origin("every answer", *origins_of(recipe, task))
        for student in students:
            terms.gate(binding, "train", terms.Student(family=family_of(student), name=recipe.terms.name or recipe.recipe.name), recipe.terms.accept)


def with_judge(binding: terms.Binding, recipe: Recipe) -> terms.Binding:
    """What binds a dataset and also the answers that a judge chose among. Raises LimbeckError where the judge's terms forbid it."""
    if recipe.align.method == "off" or not recipe.align.judge:
        return binding
    joined = binding.join_origin(f"judge {recipe.align.judge}", *terms.lineage("judge", recipe.align.judge))
    terms.gate(joined, "train", terms.Student(family=family_of(recipe.student), name=recipe.terms.name or recipe.recipe.name), recipe.terms.accept)
    return joined


def family_of(student: StudentSection) -> str:
    """Whose model a student is, as licences mean it: the family of the weights it starts from, or its own."""
    return terms.family_of(student.source) if student.source else "own"


def write_terms(expert: Path, binding: terms.Binding, recipe: Recipe) -> None:
    """terms.json and NOTICE beside an expert's weights: what it owes, to be joined again when it teaches."""
    terms.write_terms(expert, binding, recipe.terms.accept)


def _try_teacher(recipe: Recipe, task: Any, teacher: Any, step: Step, tell: Tell) -> None:
    """The self-test, once for a step, before anything is spent; warnings are told and kept. Raises LimbeckError where it fails."""
    if (step.path / "self_test.json").exists():
        return
    from limbeck.teachers.self_test import self_test

    soft = recipe.distill.soft != "off" and not recipe.distill.align  # the pair of two tokenizers has a self-test of its own
    tokenizer = None
    if soft:
        from limbeck.models.decoder import load_tokenizer

        tokenizer = load_tokenizer(settle_student(recipe, recipe.student).tokenizer)
    pose = resolve.get_pose(task)
    first = task.examples(recipe.distill.split, 2) if recipe.distill.split else list(task.generate(step.seed("prompts"), 2))
    texts = [str((pose(e.prompt).context.get("messages") or [{"content": e.prompt.text}])[-1]["content"]) for e in first[:2]]
    report = self_test(teacher, tokenizer, texts, recipe.distill.soft_top, soft=soft, top=recipe.distill.soft == "top", student=recipe.student.source or recipe.recipe.name)
    report.raise_failures()
    step.write_json("self_test.json", report.as_json())
    for line in report.warnings():
        tell("note", {"text": f"teacher: {line}"})


def step_run(step: Step) -> str:
    """The name under which a run folder keeps accounts in the ledger."""
    return str(step.path.resolve().parent)


def get_examined(section: TeacherSection, task: Any, run: str) -> Any:
    """The teacher as it is examined: greedy where it is a language model, through the same ledger and within the same budget."""
    if is_panel(section.model):
        answerer = resolve.get_answerer(section.model, task)
        answerer.name = "teacher"
        return answerer
    if not resolve.is_language_model(section.model):
        return resolve.get_expert(section.model, task, name="teacher")
    answerer = resolve.get_teacher(section.model_copy(update={"temperature": 0.0, "samples": 1}), f"{run} examination")
    answerer.name = "teacher"
    return answerer


def settle_student(recipe: Recipe, student: StudentSection) -> StudentSection:
    """A decoder whose weights and tokenizer are named by folder or hub id, as the training room takes them."""
    if student.kind != "decoder":
        return student
    tokenizer = student.source or student.tokenizer or (recipe.teacher.model if resolve.is_language_model(recipe.teacher.model) and not recipe.teacher.model.startswith("openai:") else "")
    if not tokenizer:
        raise LimbeckError("a decoder with random weights needs a tokenizer", "student.tokenizer", "name whose it takes: hf:ID-or-folder, builtin:smollm2-135m, or own")
    if tokenizer == "own":
        raise LimbeckError("this student's own tokenizer is learnt by `limbeck make`, and is not there yet", "student.tokenizer", "make the run first, or name a tokenizer: hf:RUN/tokenizer")
    return student.model_copy(update={"source": resolve.weights_of(student.source) if student.source else "", "tokenizer": resolve.weights_of(tokenizer)})


def get_before(recipe: Recipe, task: Any, expert: Path) -> Any:
    """The weights that a decoder started from, asked as it is now and given as much room for an answer."""
    from limbeck.models.decoder import read_facts

    longest = int((read_facts(expert) or {}).get("longest_answer", 256) * 1.5) + 8
    answerer = resolve.posed(resolve.get_local(recipe.student.source, {"temperature": 0.0, "max_tokens": longest}), task)
    answerer.name = "before"
    return answerer


def weights_here(recipe: Recipe) -> str:
    """Folder or hub id of a teacher whose weights are here; empty for any other."""
    model = recipe.teacher.model
    return resolve.weights_of(model) if model.startswith("hf:") or model == "builtin:smollm2-135m" else ""


def packing_of(recipe: Recipe, student: StudentSection, train: TrainSection) -> dict[str, Any]:
    """What decides which tokens stand where."""
    return {"tokenizer": train.start or settle_student(recipe, student).tokenizer, "length": student.length, "whole": train.whole}


def identify_packing(packing: dict[str, Any]) -> dict[str, Any]:
    """The same for a manifest: whose tokens they are by content."""
    return packing | {"tokenizer": identify_tokenizer(packing["tokenizer"])}


def capture_run(recipe: Recipe, student: StudentSection, train: TrainSection, dataset: Path, step: Step, tell: Tell) -> None:
    """The teacher's distributions over a dataset as its students will see it."""
    from limbeck.models.decoder import load_tokenizer
    from limbeck.train.capture import capture_targets
    from limbeck.train.packing import pack_dataset

    tokenizer = load_tokenizer(resolve.weights_of(packing_of(recipe, student, train)["tokenizer"]))
    packed = pack_dataset(dataset, "data", tokenizer, student.length, train.whole)
    source = resolve.weights_of(recipe.teacher.model)
    aligned = _aligned(source, tokenizer, dataset, step, tell) if recipe.distill.align else None
    capture_targets(source, packed, tokenizer, recipe.distill, step, lambda record: tell("targets", record), aligned)


def _aligned(source: str, tokenizer: Any, dataset: Path, step: Step, tell: Tell) -> Any:
    """How a teacher's tokens meet the student's; None where they are the same. Raises LimbeckError where the self-test fails."""
    from limbeck.models.decoder import load_tokenizer
    from limbeck.teachers.alignment import align, align_self_test
    from limbeck.train.capture_aligned import Aligned, by_tokens
    from limbeck.train.encoded import read_lines

    theirs = load_tokenizer(source)
    if theirs.get_vocab() == tokenizer.get_vocab():
        return None
    records = list(read_lines(dataset / "data.jsonl.gz"))
    texts = [r["answer"] for r in records[:ALIGNED_ON]]
    report = align_self_test(theirs, tokenizer, texts)
    step.write_json("alignment.json", asdict(report))
    pair = align(theirs, tokenizer, texts)
    tell("note", {"text": f"two tokenizers: {report.shared:.0%} of the student's positions begin where a token of the teacher's does, at {report.unlike:.2%} of these the next tokens differ"})
    return Aligned(pair, theirs, by_tokens(records, tokenizer))
