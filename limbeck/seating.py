"""`limbeck panel`: who should sit in one, when it is sure enough, what the teacher is asked next, and a router's training."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import empanelling, resolve
from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import measures_of
from limbeck.evaluate.paired import difference_interval
from limbeck.evaluate.statistics import wilson
from limbeck.panel import cascade, choosing, labels
from limbeck.panel.members import Member, Seats
from limbeck.panel.panel import Hearing, Panel
from limbeck.panel.router import Router, choose_confidence, train_router
from limbeck.panel.vote import ballots_of, entropy_of
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.run import write_atomically
from limbeck.task import Task

BATCH = 64
FITTED, APART = 2_000, 300  # requests of each task that a router learns from; that its threshold is chosen on, and that it is tried on


def examples_of(task: Task, split: str, limit: int = 0) -> list[Example]:
    """Examples to choose on. Raises LimbeckError for what an examination is made of."""
    if any(word in split for word in ("test", "official", "unseen", "examination")):
        kept = [s for s in task.splits() if not any(word in s for word in ("test", "official", "unseen"))]
        raise LimbeckError(f"split {split!r} is for examinations: what is chosen on it looks better than it is", "--split", f"name another: {', '.join(kept) or 'give your task a dev split'}")
    found = task.examples(split, limit or None)
    if not found:
        raise LimbeckError("there is nothing to choose on", f"task {task.name}, split {split}", "name another split")
    return found


def judge_of(task: Task, examples: Sequence[Example]) -> choosing.Judge:
    """How right a text is by the task's deciding measure, 0 to 1; remembered."""
    main, known = measures_of(task)[0], {}

    def judge(at: int, text: str) -> float:
        if (at, text) not in known:
            verdict = task.score(examples[at], Answer(prompt_id=examples[at].prompt.id, candidates=(Candidate(text=text),)))
            known[at, text] = min(1.0, max(0.0, *verdict.measures.get(main, (0.0,))[:1], 0.0))
        return known[at, text]

    return judge


def _hear(panel: Panel, examples: Sequence[Example]) -> list[Hearing]:
    out: list[Hearing] = []
    for start in range(0, len(examples), BATCH):
        out += panel.hear([e.prompt for e in examples[start : start + BATCH]])
        sys.stderr.write(f"\rasked {len(out)} of {len(examples)}" if sys.stderr.isatty() else "")
    return out


def _missing(hearings: Sequence[Hearing]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for h in hearings:
        for said in h.heard:
            if said.missing:
                counts[said.member.name] = counts.get(said.member.name, 0) + 1
    return counts


def calibrate(file: str, task_name: str, split: str, *, limit: int, risk: float, bound: str, confidence: float, as_json: bool) -> None:
    """Ask panel and teacher on held-out examples; write curve and threshold beside the panel's file, and print them. Raises LimbeckError where no threshold holds."""
    task, path = resolve.get_task(task_name), empanelling.panel_path(file)
    if empanelling.open_panel(file).panel.kind != "cascade":
        raise LimbeckError("this panel has no threshold of agreement", file, "calibrate a panel of kind = \"cascade\"")
    examples = examples_of(task, split, limit)
    panel = empanelling.load_panel(file, task, threshold=1.0)
    assert panel.teacher
    hearings, judge = _hear(panel, examples), judge_of(task, examples)
    taught = _first_answers(panel.teacher, examples)
    if not any(taught):
        raise LimbeckError("the teacher answered nothing", panel.teacher.name, "see that it can be reached, then calibrate again")
    from limbeck.panel.vote import agreement_of, rank_votes

    first = [rank_votes(h.ballots, 1) for h in hearings]
    own = [judge(at, c[0].text) if c else 0.0 for at, c in enumerate(first)]
    theirs = [judge(at, text) if text else 0.0 for at, text in enumerate(taught)]
    points = cascade.curve([agreement_of(h.votes(), h.asked) for h in hearings], own, theirs, sum(m.cost * m.samples for m in panel.members), panel.teacher.cost, 1 - confidence)
    chosen = cascade.choose_threshold(points, risk, bound)
    facts = {"panel": path.name, "content": empanelling.content_of(path), "task": task.name, "version": task.version, "split": split, "n": len(examples), "risk": risk, "bound": bound, "confidence": confidence, "missing": _missing(hearings)}
    if chosen is None:
        best = min((p for p in points if p.kept), key=lambda p: p.upper if bound == "clopper-pearson" else p.loss)
        raise LimbeckError(f"no threshold keeps the risk at {risk:g} on these {len(examples)} examples: the strictest that keeps anything has a bound of {best.upper:.3f} (kept {best.kept}, wrong {best.wrong_kept:g})", f"task {task.name}, split {split}", "give more examples, allow more risk with --risk, or take better members")
    cascade.write_calibration(empanelling.calibration_path(path), facts, points, chosen)
    if as_json:
        sys.stdout.write(json.dumps({**facts, "threshold": chosen.threshold, "chosen": asdict(chosen), "curve": [asdict(p) for p in points]}) + "\n")
        return
    sys.stdout.write(f"{'threshold':>9} {'kept':>6} {'wrong kept':>10} {'at most':>8} {'score':>7} {'cost':>8} {'of teacher':>10}\n")
    for p in points:
        sys.stdout.write(f"{p.threshold:>9.3f} {p.kept:>6} {p.wrong_kept:>10.4g} {p.upper:>8.3f} {p.score:>7.3f} {p.cost:>8.4g} {p.share:>10.0%}{'  <- chosen' if p is chosen else ''}\n")
    said = f"with confidence {confidence:.0%} at most {chosen.upper:.1%} of the answers that the panel keeps are wrong" if bound == "clopper-pearson" else f"in the mean at most {risk:.1%} of all requests are wrong where the teacher would have been right"
    sys.stdout.write(f"\nthreshold {chosen.threshold:.3f}: {said} (n = {len(examples)}, {split})\nwritten   {empanelling.calibration_path(path)}\n")


def _first_answers(member: Member, examples: Sequence[Example]) -> list[str]:
    found = Seats().ask([(member, [e.prompt for e in examples], 1)])[0]
    return [h.candidates[0].text if h.candidates else "" for h in found]


def choose(task_name: str, split: str, models: Sequence[str], *, limit: int, samples: int, most: int, base_url: str, as_json: bool) -> None:
    """Print who helps whom: correlations of errors, the oracle, the greedy choice on one half, and on the other half that panel beside the best single member asked as often."""
    if len(set(models)) < 2:
        raise LimbeckError(f"there is nothing to choose from: {len(set(models))} model", "--model", "name two or more, each once")
    task = resolve.get_task(task_name)
    examples = examples_of(task, split, limit)
    reading, judge = empanelling.reading_of(task), judge_of(task, examples)
    asking = {"base_url": base_url, "sampling": {"temperature": 0.7 if samples > 1 else 0.0}}
    members = [Member(name=m, answerer=resolve.get_answerer(m, task, **(asking if resolve.is_language_model(m) else {})), samples=samples) for m in dict.fromkeys(models)]
    prompts = [e.prompt for e in examples]
    heard = Seats().ask([(m, prompts, samples) for m in members])
    sheet = choosing.Sheet(names=tuple(m.name for m in members), ballots=[[ballots_of(e.prompt, h, reading) for e, h in zip(examples, said, strict=True)] for said in heard], judge=judge)
    on, apart = choosing.halves(len(examples))
    chosen = choosing.choose_members(sheet, on, most)
    everyone = range(len(members))
    singles = {sheet.names[m]: sheet.scores([m], apart) for m in everyone}
    scores_MN = np.stack(list(singles.values()))
    best = chosen.members[0]
    calls = samples * len(chosen.members)
    often = _asked_often(members[best], prompts, calls, reading, judge, apart) if len(chosen.members) > 1 else singles[sheet.names[best]]
    together = sheet.scores(chosen.members, apart)
    gain, low, high = difference_interval(list(together - often))
    told = {
        "task": task.name, "split": split, "n_chosen_on": len(on), "n_reported_on": len(apart), "single": {name: float(s.mean()) for name, s in singles.items()}, "error_correlation": _plain(choosing.error_correlation(scores_MN)),
        "oracle": choosing.oracle(scores_MN), "chosen": [sheet.names[m] for m in chosen.members], "refused": chosen.refused, "score_chosen_on": chosen.scores[-1], "panel": float(together.mean()), "calls": calls,
        "best_single": sheet.names[best], "best_single_asked_as_often": float(often.mean()), "gain": gain, "gain_low": low, "gain_high": high, "missing": {m.name: sum(bool(h.missing) for h in said) for m, said in zip(members, heard, strict=True)},
    }  # fmt: skip
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    _print_choice(told, chosen)


def _asked_often(member: Member, prompts: Sequence[Any], calls: int, reading: Any, judge: choosing.Judge, examples: Sequence[int]) -> Any:
    heard = Seats().ask([(member, prompts, calls)])[0]
    sheet = choosing.Sheet(names=(member.name,), ballots=[[ballots_of(p, h, reading) for p, h in zip(prompts, heard, strict=True)]], judge=judge)
    return sheet.scores([0], examples)


def _plain(matrix: Any) -> list[list[float | None]]:
    return [[None if value != value else round(float(value), 4) for value in row] for row in matrix]


def _print_choice(told: dict[str, Any], chosen: choosing.Chosen) -> None:
    names = list(told["single"])
    write = sys.stdout.write
    write(f"task {told['task']}, split {told['split']}: chosen on {told['n_chosen_on']} examples, reported on {told['n_reported_on']} others\n\n")
    for number, (name, row) in enumerate(zip(names, told["error_correlation"], strict=True), 1):
        cells = " ".join("    -" if v is None else f"{v:>5.2f}" for v in row)
        write(f"{number:>2} {name:<32} {told['single'][name]:>6.1%}   errors correlate {cells}" + (f"   missing {told['missing'][name]}" if told["missing"][name] else "") + "\n")
    write(f"\noracle (whoever is right)          {told['oracle']:.1%}\n")
    write(f"chosen                             {', '.join(told['chosen'])}\n")
    for name, score in told["refused"].items():
        write(f"refused                            {name}: {score:.1%} with it on the choosing half, {chosen.scores[-1]:.1%} without\n")
    write(f"panel, {told['calls']} calls                    {told['panel']:.1%}\n")
    write(f"{told['best_single']} asked {told['calls']} times: {told['best_single_asked_as_often']:.1%}\n")
    write(f"gain over it                       {100 * told['gain']:+.1f} points [{100 * told['gain_low']:+.1f}, {100 * told['gain_high']:+.1f}]\n")


def ask_next(file: str, task_name: str, split: str, *, spend: int, limit: int, out: Path | None, as_json: bool) -> None:
    """Rank a split's requests by how far the panel disagrees, and print or write the first ones: what the teacher is asked next. Where gold is known, also what they are worth."""
    task = resolve.get_task(task_name)
    examples = examples_of(task, split, limit)
    panel = empanelling.load_panel(file, task, threshold=1.0)
    hearings, judge = _hear(panel, examples), judge_of(task, examples)
    from limbeck.panel.vote import rank_votes

    apart = [entropy_of(h.votes()) if h.votes() else float("inf") for h in hearings]  # where nobody can be read, nobody knows
    chosen = labels.choose_requests(apart, spend)
    told: dict[str, Any] = {"task": task.name, "split": split, "of": len(examples), "chosen": [{"id": examples[at].id, "text": examples[at].prompt.text, "disagreement": None if apart[at] == float("inf") else round(apart[at], 4)} for at in chosen]}
    if all(e.gold for e in examples):
        first = [rank_votes(h.ballots, 1) for h in hearings]
        told["worth"] = asdict(labels.worth_of(apart, [(judge(at, c[0].text) if c else 0.0) < 1.0 for at, c in enumerate(first)], spend))
    if out:
        write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in told["chosen"]).encode())
    if as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    for row in told["chosen"][: 20 if out else None]:
        sys.stdout.write(f"{'unread' if row['disagreement'] is None else format(row['disagreement'], '.3f'):>7}  {row['id']:<20} {row['text'][:90]}\n")
    if "worth" in told:
        w = told["worth"]
        sys.stdout.write(f"\nthe panel is wrong on {w['by_disagreement']:.1%} of these {w['spend']}; of as many drawn by chance {w['by_chance']:.1%} [{w['low']:.1%}, {w['high']:.1%}]\n")
    if out:
        sys.stdout.write(f"written  {out}\n")


def make_router(file: str, out: Path | None, *, count: int, accuracy: float, as_json: bool) -> None:
    """Train a router on requests of its members' tasks, choose its threshold on requests apart, try it on others, save it beside the panel's file, and print how it did."""
    path, found = empanelling.panel_path(file), empanelling.open_panel(file)
    if found.panel.kind != "router":
        raise LimbeckError("this panel is no router", file, "set kind = \"router\", and a task for every [[member]]")
    tasks = [m.task for m in found.member]
    parts = {name: _requests(name, count) for name in tasks}
    began = time.process_time()
    router = train_router({name: p[0] for name, p in parts.items()})
    took = time.process_time() - began
    sure = [(*router.route(prompt), name) for name, p in parts.items() for prompt in p[1]]
    threshold = choose_confidence([s for _, s, _ in sure], [said == name for said, _, name in sure], accuracy)
    router = Router(labels=router.labels, weights_CK=router.weights_CK, bias_C=router.bias_C, threshold=threshold, meta={"examples": count})
    target = out or path.with_suffix(".safetensors")
    router.save(target)
    told = {"router": str(target), "train_cpu_seconds": took, "threshold": threshold, **try_router(router, {name: p[2] for name, p in parts.items()})}
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for name, t in told["tasks"].items():
        sys.stdout.write(f"{name:<12} {t['right']:.1%} right [{t['low']:.1%}, {t['high']:.1%}], n = {t['n']}\n")
    sys.stdout.write(
        f"all          {told['right']:.1%} right [{told['low']:.1%}, {told['high']:.1%}], n = {told['n']}\n"
        f"threshold    {threshold:.3f}: {told['to_teacher']:.1%} go to the teacher, {told['right_of_kept']:.1%} of the others are right\n"
        f"time         {told['ms_per_request']:.2f} ms of CPU a request; trained in {took:.1f} s of CPU\nwritten      {target}  (router = \"{target.name}\" in {path.name})\n"
    )


def _requests(name: str, count: int) -> tuple[list[Prompt], list[Prompt], list[Prompt]]:
    """A task's requests: to learn from, to choose the threshold on, to try on; none twice. Apart by the task where it can keep some apart, else by another seed."""
    task: Any = resolve.get_task(name)
    try:
        learnt = [e.prompt for e in islice(task.generate(1, count), count)]
        fresh = [[e.prompt for e in islice(task.apart(p) if hasattr(task, "apart") else task.generate(seed, APART * 2), APART * 2)] for seed, p in ((2, "dev"), (3, "examination"))]
    except LimbeckError:
        known = [e.prompt for s in task.splits() if not any(w in s for w in ("test", "official", "unseen")) for e in task.examples(s)]
        learnt, fresh = known[::2][:count], [known[1::4], known[3::4]]
    seen = {p.text for p in learnt}
    parts = []
    for prompts in fresh:
        new = [p for text, p in {p.text: p for p in prompts}.items() if text not in seen][:APART]
        seen.update(p.text for p in new)
        parts.append(new)
    return learnt, parts[0], parts[1]


def try_router(router: Router, requests: dict[str, Sequence[Prompt]]) -> dict[str, Any]:
    """How often each task's requests go to their specialist, with Wilson intervals; what the threshold does; milliseconds of CPU a request."""
    began = time.process_time()
    said = {name: [router.route(prompt) for prompt in prompts] for name, prompts in requests.items()}
    n = sum(map(len, requests.values()))
    ms = 1000 * (time.process_time() - began) / max(1, n)
    out: dict[str, Any] = {"tasks": {}, "ms_per_request": ms, "n": n}
    for name, routed in said.items():
        hits = sum(label == name for label, _ in routed)
        low, high = wilson(hits, len(routed))
        out["tasks"][name] = {"right": hits / max(1, len(routed)), "low": low, "high": high, "n": len(routed)}
    pairs = [(label == name, confidence) for name, routed in said.items() for label, confidence in routed]
    hits, kept = sum(ok for ok, _ in pairs), [ok for ok, c in pairs if c >= router.threshold]
    low, high = wilson(hits, n)
    return out | {"right": hits / max(1, n), "low": low, "high": high, "to_teacher": 1 - len(kept) / max(1, n), "right_of_kept": sum(kept) / len(kept) if kept else float("nan")}
