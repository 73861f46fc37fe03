"""`limbeck align`: the grader examined, requests answered several times, answers weighed by a policy, a decoder trained to prefer the better ones.

No answer is ever printed. What was drawn lies in the step's folder, `draws.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.align.grader import (
    Grader,
    Labelled,
    examine_grader,
    examine_with_judge,
    examined_before,
    make_grader,
    packaged_classifier,
    read_labelled,
    require_accuracy,
)
from limbeck.align.judge import Judge
from limbeck.align.pairs import Asked, choose_requests, draw_answers, groups_that_differ, make_pairs, needs_draws
from limbeck.align.policy import Policy, load_policy
from limbeck.align.rewards import Reward, fit_weights
from limbeck.align.weights import cross_chances
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import AlignSection, Recipe
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.run import Step, derive_seed, hash_file, write_atomically

Tell = Callable[[str, dict[str, Any]], None]
PINNED = "rbr"  # labels that are a pinned source
GRPO_TRIED = 16  # requests whose draws are looked at before a reward is trained on
MOST_CHARS = 2_000  # of a task's request that is used: a pair must fit
JUDGE_TOKENS = 8
GATE = {"max_overrefusal", "min_task_score", "probe"}  # knobs that change no weights (the first does where shares are swept)


def check_align(recipe: Recipe, kinds: Sequence[str]) -> None:
    """Raises LimbeckError for what cannot be aligned, before anything is asked or trained: also for a grader that is not good enough."""
    section = recipe.align
    if section.method == "off":
        return
    other = next((kind for kind in kinds if kind != "decoder"), None)
    if other:
        raise LimbeckError(f"a student of kind {other} writes rules or code and has nothing to refuse", f"align.method = {section.method!r}", "set align.method = 'off', or train a decoder")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LimbeckError("alignment runs in one process", "align.method", "train as you do, then run `limbeck align` without accelerate launch; or set align.method = 'off'")
    policy = load_policy(section.policy)
    labelled = load_labels(section.labels) if section.labels else []
    if not section.judge:
        examine_first(make_grader(policy, labelled), labelled, section)


def load_labels(name: str, limit: int = 0) -> list[Labelled]:
    """Labelled answers by a file's name, or `rbr`: the pinned ones."""
    if name == PINNED:
        from limbeck.data.sources import fetch_source, read_source

        read_source(PINNED, "rbr_gold_train.jsonl")  # checked
        name = next(where for _, where in fetch_source(PINNED))
    found = read_labelled(Path(name))
    return sorted(found, key=lambda row: derive_seed(row.exchange.answer, row.exchange.request))[:limit] if limit else found


def get_judge(model: str, base_url: str = "") -> Judge | None:
    """Any language model as judge; None where none is named."""
    if not model:
        return None
    if not resolve.is_language_model(model):
        raise LimbeckError(f"{model!r} cannot be a judge", "align.judge", "name openai:NAME, hf:ID-or-folder or builtin:smollm2-135m")
    return Judge(resolve.get_language_model(model, base_url=base_url, sampling={"temperature": 0.0, "max_tokens": JUDGE_TOKENS}))


def examine_first(grader: Grader, labelled: Sequence[Labelled], section: AlignSection) -> dict[str, Any]:
    """The grader's examination; raises LimbeckError below the stated accuracy."""
    found = examine_grader(grader, labelled) if labelled else examined_before(grader)
    require_accuracy(found, grader.policy, section.min_grader_accuracy)
    return found


def align_knobs(section: AlignSection) -> dict[str, Any]:
    """The settings that an alignment hangs on."""
    return section.model_dump(mode="json", exclude=GATE - ({"max_overrefusal"} if section.sweep else set()))


def align_inputs(recipe: Recipe, expert: Path, dataset: Path) -> dict[str, Any]:
    """What an alignment hangs on beside its section."""
    labels = hash_file(Path(recipe.align.labels)) if recipe.align.labels not in ("", PINNED) else recipe.align.labels
    return {"expert": resolve.hash_weights(expert), "policy": load_policy(recipe.align.policy).content, "dataset": hash_file(dataset / "data.jsonl.gz"), "labels": labels, "task": recipe.recipe.task}


def align_expert(recipe: Recipe, lora_rank: int, task: Any, expert: Path, dataset: Path, step: Step, tell: Tell, name: str) -> Path:
    """An aligned copy of an expert in the step's folder, with align.json beside it: what was examined, drawn, paired, learnt, and what changed."""
    from limbeck.align.prefer import check_chat_template

    section, out = recipe.align, step.path / "expert"
    check_chat_template(str(expert))
    policy, labelled = load_policy(section.policy), load_labels(section.labels) if section.labels else []
    grader = make_grader(policy, labelled, get_judge(section.judge, section.judge_url))
    examination = examine_first(grader, labelled, section)
    examples, records = read_dataset(dataset)
    reward = Reward(grader=grader, weights=weigh(grader, labelled), task_weight=section.task_weight, scored=score_by(task, examples))
    student_now = _answerer(expert, section, step.seed("draws"))
    shares = {share: section.model_copy(update={"share": share}) for share in sorted({section.share, *section.sweep})}
    task_requests = _task_requests(examples, step.seed("requests"))
    asked = {share: choose_requests(one, policy, records, task_requests) for share, one in shares.items()}
    drawn = {} if section.method == "grpo" else _drawn(student_now, [a for a in max(asked.values(), key=len) if needs_draws(a, policy, section.method)], section, step, tell, name)
    held = choose_requests(section, policy, records, [], "held_out")
    before = count_refusals(student_now, held, policy, section)
    tried = []
    for share, one in shares.items():
        made = step.path / f"share-{share:g}"
        if not (made / "found.json").exists():  # a killed run goes on with the share that it stood at
            account, rows = _train_share(expert, made / "expert", asked[share], drawn, student_now, reward, policy, one, step, tell, name, lora_rank)
            counted = count_refusals(_answerer(made / "expert", section, 0), held, policy, section)
            write_atomically(made / "found.json", json.dumps({"share": share, "account": account, "learnt": rows, "held_out": {"before": before, "after": counted}}).encode())
        tried.append(json.loads((made / "found.json").read_text(encoding="utf-8")))
    chosen = choose_share(tried, section.max_overrefusal)
    if (best := step.path / f"share-{chosen['share']:g}" / "expert").exists():
        shutil.rmtree(out, ignore_errors=True)
        best.rename(out)
    found = {
        "method": section.method, "policy": policy.name, "policy_content": policy.content, "judge": section.judge, "records": records, "examination": examination, "account": chosen["account"], "unjudged": reward.missing,
        "weights": {kind: w.as_json() for kind, w in reward.weights.items()}, "learnt": chosen["learnt"], "held_out": chosen["held_out"], "share": chosen["share"],
        "sweep": [{"share": one["share"], "pairs": one["account"].get("pairs"), "held_out": one["held_out"]["after"]} for one in tried],
    }  # fmt: skip
    step.write_json("align.json", found)
    for share in shares:
        shutil.rmtree(step.path / f"share-{share:g}")
    for line in describe(found):
        tell("note", {"text": f"{name}: {line}"})
    return out


def _train_share(expert: Path, out: Path, asked: Sequence[Asked], drawn: dict[str, dict[str, bool]], student: Any, reward: Reward, policy: Policy, section: AlignSection, step: Step, tell: Tell, name: str, lora_rank: int) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """An aligned copy at `out`, by one share: an account of what was learnt from, and what was logged on the way."""
    from limbeck.align.prefer import train_on_pairs, train_on_reward

    if section.method == "grpo":
        some = asked[:: max(1, len(asked) // GRPO_TRIED)]
        account: dict[str, Any] = {"requests": len(asked), "tried": len(some), "differ": groups_that_differ(some, draw_answers(student, some, section.samples, _bar(tell, name)), reward, policy)}
        return account, train_on_reward(expert, out, asked, reward, policy, section, step, _learning(tell, name), lora_rank)
    pairs, account = make_pairs(asked, [drawn.get(a.id) for a in asked], reward, policy, section.min_gap, section.contrast, section.method == "best_of_n")
    return account, train_on_pairs(expert, out, pairs, section, step, _learning(tell, name), lora_rank)


def choose_share(tried: Sequence[dict[str, Any]], most: float) -> dict[str, Any]:
    """Of the shares that refuse at most `most` more allowed requests the one that answers fewest disallowed ones; where none is, the least of both together."""

    def rate(one: dict[str, Any], when: str, what: str) -> float:
        count, of = one["held_out"][when][what]
        return count / max(1, of)

    def risen(one: dict[str, Any]) -> float:
        return rate(one, "after", "allowed_refused") - rate(one, "before", "allowed_refused")

    fit = [one for one in tried if risen(one) <= most]
    if fit:
        return min(fit, key=lambda one: (rate(one, "after", "disallowed_answered"), one["share"]))
    return min(tried, key=lambda one: (rate(one, "after", "disallowed_answered") + risen(one), one["share"]))


def describe(found: dict[str, Any]) -> list[str]:
    """An alignment in a few lines, without a word of what was said."""
    before, after = found["held_out"]["before"], found["held_out"]["after"]
    rows = found["learnt"]
    lines = [f"{key.replace('_', ' ')} {before[key][0]} of {before[key][1]} before, {after[key][0]} of {after[key][1]} after (held-out requests)" for key in ("disallowed_answered", "allowed_refused")]
    if len(found["sweep"]) > 1:
        each = [f"{100 * one['share']:g} %: {one['held_out']['disallowed_answered'][0]} and {one['held_out']['allowed_refused'][0]}" for one in found["sweep"]]
        lines.append(f"shares tried, disallowed answered and allowed refused: {'; '.join(each)}; {100 * found['share']:g} % serves")
    if rows and "rewards/margins" in rows[-1]:
        lines.append(f"margin {rows[0]['rewards/margins']:.3f} at step {rows[0]['step']}, {rows[-1]['rewards/margins']:.3f} at step {rows[-1]['step']}")
    return lines


def count_refusals(student: Any, asked: Sequence[Asked], policy: Policy, section: AlignSection) -> dict[str, list[int]]:
    """Of held-out requests, [how many, of how many]: disallowed ones answered, allowed ones turned down; by rules, one greedy answer each."""
    from limbeck.align.refusals import classify

    said = student.answer([Prompt(id=a.id, text=a.text, context={"messages": [dict(m) for m in a.messages], "sampling": {"temperature": 0.0}}) for a in asked], k=1)
    pairs = [(policy.kind_of(a.category), classify(answer.candidates[0].text if answer.candidates else "")) for a, answer in zip(asked, said, strict=True)]
    bad, good = [label for kind, label in pairs if kind == "hard_refuse"], [label for kind, label in pairs if kind == "comply"]
    return {"disallowed_answered": [sum(label != "refuse" for label in bad), len(bad)], "allowed_refused": [sum(label == "refuse" for label in good), len(good)]}


def read_dataset(dataset: Path) -> tuple[list[Example], int]:
    """Requests of the training set with the answers learnt, those of a length that fits; and how many records there are in all."""
    from limbeck.train.encoded import read_lines

    records = list(read_lines(dataset / "data.jsonl.gz"))
    fits = (r for r in records if (r["text"] or r["context"].get("messages")) and len(r["text"]) <= MOST_CHARS)
    return [Example(id=str(r["id"]), prompt=Prompt(id=str(r["id"]), text=r["text"], context=r["context"]), gold=(r["answer"],), meta=r.get("meta", {})) for r in islice(fits, 20_000)], len(records)


def _task_requests(examples: Sequence[Example], seed: int) -> list[Asked]:
    from limbeck.align.pairs import task_requests

    return task_requests(examples, lambda prompt: prompt, seed)  # as they were learnt: the dataset holds them as they are posed


def score_by(task: Any, examples: Sequence[Example]) -> Callable[[Sequence[str], Sequence[str]], list[float | None]]:
    """A task's own deciding measure for answers to its requests, by id; None where it gives no verdict."""
    from limbeck.evaluate.examine import measures_of

    known, main, tidy = {e.id: e for e in examples}, measures_of(task)[0], getattr(task, "tidy", str)

    def scored(ids: Sequence[str], texts: Sequence[str]) -> list[float | None]:
        asked = [known[name] for name in ids]
        answers = [Answer(prompt_id=e.prompt.id, candidates=(Candidate(text=tidy(text)),)) for e, text in zip(asked, texts, strict=True)]
        verdicts = task.score_all(asked, answers) if getattr(task, "score_all", None) else [task.score(e, a) for e, a in zip(asked, answers, strict=True)]
        return [float(v.measures[main][0]) if v.status == "scored" and v.measures.get(main) else 0.0 if v.status in ("refused", "no_answer") else None for v in verdicts]

    return scored


def weigh(grader: Grader, labelled: Sequence[Labelled]) -> Any:
    """Weights of the reward: by the labels as the grader reads them without having seen them, where there are any."""
    if not labelled or grader.classifier is None:
        return fit_weights(grader.policy)
    exchanges = [row.exchange for row in labelled]
    crossed = cross_chances(exchanges, [row.truth for row in labelled], grader.classifier.names)
    return fit_weights(grader.policy, labelled, grader.chances(exchanges, crossed))


def _answerer(expert: Path, section: AlignSection, seed: int) -> Any:
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.local import LocalModel

    return LocalModel(str(expert), name=str(expert), sampling=Sampling(temperature=section.temperature, max_tokens=section.max_tokens, seed=seed % 2**31))


def _drawn(student: Any, asked: Sequence[Asked], section: AlignSection, step: Step, tell: Tell, name: str) -> dict[str, dict[str, bool]]:
    """Draws by request, kept in the step's folder: a killed run does not draw again."""
    path = step.path / "draws.jsonl.gz"
    if path.exists():
        kept = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        if [row["id"] for row in kept] == [a.id for a in asked]:
            return {row["id"]: dict(zip(row["said"], row["cut"], strict=True)) for row in kept}
    drawn = draw_answers(student, asked, section.samples, _bar(tell, name))
    lines = "".join(json.dumps({"id": a.id, "category": a.category, "said": list(said), "cut": list(said.values())}, ensure_ascii=False) + "\n" for a, said in zip(asked, drawn, strict=True))
    step.write_bytes("draws.jsonl.gz", gzip.compress(lines.encode(), mtime=0))
    return {a.id: said for a, said in zip(asked, drawn, strict=True)}


def _bar(tell: Tell, name: str) -> Callable[[int, int], None]:
    return lambda done, of: tell("align", {"arm": name, "done": done, "of": of})


def _learning(tell: Tell, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: tell("align", {"arm": name, **record})


# ---- the grader's examination by itself ----


def examine(file: str, policy_name: str, judge_model: str, judge_url: str, limit: int, as_json: bool) -> None:
    """`limbeck align --examine FILE`: how often the grader and people agree, by proposition and by response type."""
    policy, judge = load_policy(policy_name), get_judge(judge_model, judge_url)
    labelled = load_labels(file, limit)
    grader = Grader(policy, packaged_classifier(), judge)
    found: dict[str, dict[str, Any]] = {"rules alone": examine_grader(Grader(policy, None, None, "rules"), labelled), "grader": examine_grader(grader, labelled)}
    if judge is not None:
        found |= examine_with_judge(policy, judge, labelled, lambda done, of: sys.stderr.write(f"  judge {judge.name}: proposition {done} of {of}\n"))
    if as_json:
        sys.stdout.write(json.dumps({"file": file, "judge": judge_model, "examined": found}) + "\n")
    else:
        sys.stdout.write("\n".join(show_examination(found)) + "\n")


def show_examination(found: dict[str, dict[str, Any]]) -> list[str]:
    """The tables as lines: accuracies in % with 95 % intervals."""
    ways = list(found)
    first, grader = found[ways[0]], found["grader"]
    lines = [f"{grader['n']} labelled answers, policy {grader['policy']}" + (f"; {grader['cross_validated']} of them taught the classifier, and were judged by ones fitted without them" if grader["cross_validated"] else ""), ""]
    lines += [f"{'accuracy in %, 95 % interval':38}{''.join(f'{way:>24}' for way in ways)}   true  always the commoner"]
    for at, row in enumerate(first["propositions"]):
        grader_row = grader["propositions"][at]
        cells = "".join(f"{cell:>24}" for cell in [_cell(found[way]["propositions"][at]) for way in ways])
        lines.append(f"{row['name']:38}{cells}{grader_row['true']:>7}{100 * (grader_row['always_the_commoner'] or 0):>9.1f}")
    lines.append(f"{'all propositions':38}{''.join(f'{_cell(found[way]):>24}' for way in ways)}")
    lines += ["", f"{'by response type':38}{''.join(f'{way:>24}' for way in ways)}      n"]
    for at, row in enumerate(first["kinds"]):
        cells = [_cell(found[way]["kinds"][at]) for way in ways]
        lines.append(f"{row['kind']:38}{''.join(f'{cell:>24}' for cell in cells)}{row['n']:>7}")
        for measure, called in (("rank", "  the same rank"), ("good_or_bad", "  good or bad")):
            shares = [found[way]["kinds"][at][measure] for way in ways]
            lines.append(f"{called:38}" + "".join(f"{_cell({**share, 'accuracy': share['value']}):>24}" for share in shares))
    if any(row["missing"] for way in ways for row in found[way]["propositions"]):
        lines.append(f"missing (neither yes nor no): {sum(row['missing'] for way in ways for row in found[way]['propositions'])}")
    if grader["unlabelled"]:
        lines.append(f"no label speaks of: {', '.join(grader['unlabelled'])}")
    return lines


def _cell(row: dict[str, Any]) -> str:
    return "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def show_alignment(folder: Path, as_json: bool) -> None:
    """What a run's alignments did, and where the expert lies."""
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "align").glob("*/align.json"))}
    if as_json:
        sys.stdout.write(json.dumps({"run": str(folder), "expert": str(folder / "expert"), "align": found}) + "\n")
        return
    for name, one in found.items():
        sys.stdout.writelines(f"{name}  {line}\n" for line in describe(one))
    sys.stdout.write(f"expert  {folder / 'expert'}\n")
