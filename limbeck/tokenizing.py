"""`student.tokenizer = "own"`: a small tokenizer learnt from a run's own records, as a step of the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.identifying import identify_student, identify_tokenizer
from limbeck.recipe.schema import Recipe, StudentSection
from limbeck.run import Run, hash_file

OWN = "own"
READ = 20_000  # records: more change few merges


def check_own_tokenizer(recipe: Recipe) -> None:
    """Raises LimbeckError for what needs the teacher's own tokens, or a student that has none to learn."""
    if not _wants(recipe):
        return
    if recipe.student.kind != "decoder" or recipe.student.source:
        raise LimbeckError("a tokenizer of its own is for decoders that start from random weights", "student.tokenizer", "set student.kind = 'decoder' and leave student.source out, or leave the tokenizer out")
    if recipe.distill.soft != "off" and not recipe.distill.align:
        raise LimbeckError("the teacher's distributions are over its own tokens, and the student would have others", "student.tokenizer, distill.soft", "set distill.soft = 'off', or try distill.align = true, or take the teacher's tokenizer")
    if recipe.train.on_policy_steps:
        raise LimbeckError("on-policy distillation compares token by token, and the student would have other tokens than its teacher", "student.tokenizer, train.on_policy_steps", "set train.on_policy_steps = 0, or take the teacher's tokenizer")


def with_own_tokenizer(recipe: Recipe, run: Run, dataset: Path) -> Recipe:
    """The recipe with the folder of the tokenizer that its run has learnt, or learns now; as it is where it wants none."""
    if not _wants(recipe):
        return recipe
    step = run.step("tokenizer", {"vocabulary": recipe.student.vocabulary}, {"dataset": hash_file(dataset / "data.jsonl.gz")}, ("models",))
    if not step.state[0]:
        from limbeck.models.own_tokenizer import learn_tokenizer

        step.begin()
        learn_tokenizer(_texts(dataset), recipe.student.vocabulary, step.path)
        step.finish()
    return named(recipe, f"hf:{step.path}")


def named(recipe: Recipe, tokenizer: str) -> Recipe:
    """The recipe and its arms with a tokenizer in the place of `own`."""
    arms = tuple(arm.model_copy(update={"set": {**arm.set, "student.tokenizer": tokenizer}}) if arm.set.get("student.tokenizer") == OWN else arm for arm in recipe.arm)
    student = recipe.student.model_copy(update={"tokenizer": tokenizer}) if recipe.student.tokenizer == OWN else recipe.student
    return recipe.model_copy(update={"student": student, "arm": arms})


def unplaced(student: StudentSection, run: Run) -> dict[str, Any]:
    """A student's section for its manifest, without places; a tokenizer of the run's own hangs on its data, which the manifest has."""
    return identify_student(student, OWN if student.tokenizer == f"hf:{run.path / 'tokenizer'}" else identify_tokenizer(student.tokenizer))


def _wants(recipe: Recipe) -> bool:
    return recipe.student.tokenizer == OWN or any(arm.set.get("student.tokenizer") == OWN for arm in recipe.arm)


def _texts(dataset: Path) -> Iterator[str]:
    """What is asked and answered in a dataset's first records."""
    from limbeck.train.encoded import read_lines

    for number, record in enumerate(read_lines(dataset / "data.jsonl.gz")):
        if number == READ:
            return
        messages = record.get("context", {}).get("messages")
        yield from (m["content"] for m in messages) if messages else (record["text"],)
        yield record["answer"]
