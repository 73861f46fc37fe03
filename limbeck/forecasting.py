"""`limbeck predict plan|ladder|forecast|check`: rungs planned and trained, a forecast sealed before the run it speaks of and scored after it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.carrying_over import measure_activations, sweep_rung
from limbeck.errors import LimbeckError
from limbeck.laddering import (
    Ground,
    climb,
    held_out_examples,
    last_loss,
    refuse_untrainable,
    top_one,
)
from limbeck.predict import seal
from limbeck.predict.foretelling import fit_ladder, forecast_table
from limbeck.predict.ladder import read_rows
from limbeck.predict.plan import Candidate, Plan, as_dict, choose_rungs, parse_budget, plain_grid
from limbeck.predict.scaling import fit
from limbeck.predict.transfer import coordinate_band, holds, judge_sweep
from limbeck.recipe.schema import Recipe
from limbeck.run import Run, code_version, open_run, write_atomically
from limbeck.tokenizing import check_own_tokenizer, unplaced, with_own_tokenizer

SEAL, LEDGER = "seal.json", "forecasts.jsonl"


def read_passes(run: Path, rows: list[dict[str, Any]]) -> np.ndarray | None:
    """ln pass rates of single problems, (rungs, problems), where every rung has them."""
    paths = [run / "ladder" / str(row["run"]) / "pass.json" for row in rows]
    return np.array([json.loads(p.read_text(encoding="utf-8")) for p in paths]) if all(p.exists() for p in paths) else None


def seal_run(run: Run, recipe: Recipe, dataset: Path, codec: Any, tell: Any, trained: bool) -> None:
    """Plan, climb, forecast and seal, before training; nothing where the recipe asks for no forecast or the run has one."""
    if not recipe.predict.share:
        return
    path = run.path / "predict" / SEAL
    if path.exists():
        sealed = seal.read_seal(path)
        tell("skip", {"name": "predict", "why": f"sealed {sealed['made']}"})
        return
    if trained:
        tell("note", {"text": "predict: the student is trained already, so nothing is sealed; a forecast made now would be none"})
        return
    ground = Ground(recipe, dataset, codec)
    try:
        plan = ground.plan()
    except LimbeckError as problem:  # a student so small, or a share so small: it is trained all the same
        tell("note", {"text": f"predict: nothing is sealed: {problem.what} ({problem.fix})"})
        return
    write_atomically(run.path / "predict" / "plan.json", json.dumps(as_dict(plan), indent=1).encode())
    table = climb(run, ground, plan, tell)
    found = forecast_ladder(run, ground, table)
    if recipe.predict.sweep:
        middle = next(r for r in ground.rungs(plan)[len(plan.rungs) // 2 :] if r.role in ("rung", "held-out"))
        found["sweep"] = judge_sweep(sweep_rung(ground, run, middle, tell)) | {"rung": middle.name}
        if not found["sweep"]["agrees"]:
            found["doubts"].append(f"the transferred learning rate loses {100 * found['sweep']['lost']:.1f} % against {found['sweep']['best_factor']:g} times it on rung {middle.name}")
    document = seal_found(run, ground, table, found)
    tell("note", {"text": f"predict: sealed {document['sha256'][:12]}: " + describe(document)})


def forecast_ladder(run: Run, ground: Ground, table: Path) -> dict[str, Any]:
    """What a run's ladder says of the student it aims at."""
    rows = read_rows(table)
    try:
        found = forecast_table(rows, ground.target, *ground.gold, read_passes(run.path, rows))
    except LimbeckError as problem:  # rungs of which no law can be made: the target is trained all the same, and the refusal is sealed
        found = {"forecast": {name: {"refused": problem.what} for name in ("loss", "score")}, "tests": {}, "priors": "", "doubts": []}
    cost = sum(row["C"] for row in rows)
    return found | {"target": {"size": ground.target.size, "data": ground.target.data, "compute": ground.target.compute}, "rungs": len(rows), "ladder_compute": cost, "share": cost / ground.target.compute}


def seal_found(run: Run, ground: Ground, table: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Seal a forecast in its run and enter it in the ledger beside the run."""
    recipe = ground.recipe
    content = {"run": recipe.recipe.name, "student": unplaced(recipe.student, run), "train": recipe.train.model_dump(), "examples": len(held_out_examples(ground)) if recipe.predict.examples else 0, "larger": recipe.predict.larger, **found}
    document = seal.write_seal(run.path / "predict" / SEAL, table, code_version("predict", "models", "train"), content)
    seal.append(run.path.parent / LEDGER, {"kind": "sealed", "at": document["made"], "run": run.path.name, "seal": document["sha256"], "table_sha256": document["table_sha256"], "forecast": _short(document["forecast"]), "share": document["share"]})
    return document


def _short(forecast: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: value for key, value in said.items() if key != "places"} for name, said in forecast.items()}


def describe(document: dict[str, Any]) -> str:
    """The forecast in a line."""
    parts = []
    for name in ("loss", "score"):
        said = document["forecast"].get(name, {})
        unit, times = ("%", 100) if name == "score" else ("nats", 1)
        parts.append(f"{name} {said['refused']}" if "refused" in said else f"{name} {times * said['value']:.4g} [{times * said['low']:.4g}, {times * said['high']:.4g}] {unit}" if said else f"{name} not asked")
    return "; ".join(parts) + f"; from a ladder of {document['rungs']} rungs and 1/{1 / document['share']:,.0f} of the compute"


def check_run(folder: Path) -> dict[str, Any]:
    """A run's sealed forecast scored against what came, and entered in the ledger. Raises LimbeckError for a seal that cannot be believed."""
    document = seal.read_seal(folder / "predict" / SEAL)
    if document["larger"] != 1:
        raise LimbeckError("this forecast speaks of a larger student than the run trains", str(folder), f"train that one ({document['target']['size']:,.0f} parameters without embeddings) and compare its loss: `limbeck predict check --loss`")
    step = next(iter(sorted((folder / "train").glob("student-s*"))), None)
    manifest = _manifest(step) if step else None
    if step is None or manifest is None:
        raise LimbeckError("the student this forecast speaks of is not trained yet", str(folder), "run `limbeck make` to its end, then check")
    ended = datetime.fromisoformat(manifest["finished"])
    started = step / "started.json"
    began = min(ended - timedelta(seconds=manifest["seconds"] - 1), datetime.fromtimestamp(started.stat().st_mtime, UTC) if started.exists() else ended)  # dates are whole seconds
    how = seal.standing(document, folder / "ladder" / "runs.csv", began, ended)
    _same_student(document, manifest)
    outcome: dict[str, float | None] = {"loss": last_loss(step)[0]}
    per_byte = document["forecast"].get("loss_per_byte", {}).get("value")
    if per_byte:
        outcome["loss_per_byte"] = outcome["loss"] * per_byte / document["forecast"]["loss"]["value"]  # type: ignore[operator]
    outcome |= _scored(folder, document, step)
    judged = {"standing": how, "sealed": document["made"], "seal": document["sha256"], "share": document["share"], "outcome": outcome, "judged": seal.judge(document, outcome)}
    write_atomically(folder / "predict" / "outcome.json", json.dumps(judged, indent=1).encode())
    ledger = folder.parent / LEDGER
    known = seal.read_ledger(ledger) if ledger.exists() else []
    if not any(line.get("kind") == "outcome" and line.get("seal") == document["sha256"] and line.get("judged") == judged["judged"] for line in known):
        seal.append(ledger, {"kind": "outcome", "at": datetime.now(UTC).isoformat(timespec="seconds"), "run": folder.name, "seal": document["sha256"], "standing": how, "judged": judged["judged"]})
    return judged


def _same_student(document: dict[str, Any], manifest: dict[str, Any]) -> None:
    section = manifest["fingerprint"]["section"]
    for name in ("student", "train"):
        changed = [key for key, value in document[name].items() if section[name].get(key, value) != value and key not in ("evaluate_every", "checkpoint_every")]
        if changed:
            raise LimbeckError(f"the student trained is not the one forecast: {name}.{changed[0]} differs", "seal.json", "train the student that was sealed, or seal a new forecast")


def _manifest(step: Path) -> dict[str, Any] | None:
    path = step / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _scored(folder: Path, document: dict[str, Any], step: Path) -> dict[str, float | None]:
    """Score and pass rates of the trained student on the examples that the ladder was scored on; nothing where it was not examined on them."""
    from limbeck import resolve
    from limbeck.laddering import gold_log_pass
    from limbeck.recipe.load import load_recipe

    recipe = load_recipe(str(folder / "recipe.toml"), ())
    found: dict[str, float | None] = {}
    result = folder / "evaluate" / step.name / "generated.json"
    if result.exists() and document["examples"]:
        task = resolve.get_task(recipe.recipe.task, code=recipe.distill.code or None)
        scored = top_one(task, json.loads(result.read_text(encoding="utf-8")))
        found["score"] = scored["score"] if scored["score_n"] == document["examples"] else None
    buckets = {name: said for name, said in document["forecast"].items() if name.startswith("log_pass_bucket")}
    if buckets:
        codec = resolve.get_codec(recipe.recipe.task, recipe.distill.slots)
        passes = gold_log_pass(Ground(recipe, folder / "distill", codec), step / "expert") or []
        found |= {name: -sum(passes[at] for at in said["places"]) / len(said["places"]) for name, said in buckets.items() if passes}
    return found


def judge_run(run: Run, recipe: Recipe, tell: Any) -> None:
    """After the examination: the forecast's score, where one was sealed of this student."""
    if recipe.predict.share and recipe.predict.larger == 1 and (run.path / "predict" / SEAL).exists():
        judged = check_run(run.path)
        tell("note", {"text": f"predict: {judged['standing']}; " + "; ".join(_judgement(name, row) for name, row in judged["judged"].items() if name in ("loss", "score"))})


def _judgement(name: str, row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"{name}: {row['refused']} (came {row['came']})"
    times = 100 if name == "score" else 1
    return f"{name} {times * row['came']:.4g}, forecast {times * row['said']:.4g} ({row['error']:+.2f} {row['unit']}, {'inside' if row['inside'] else 'OUTSIDE'} [{times * row['low']:.4g}, {times * row['high']:.4g}])"


def show_plan(table: Path | None, budget: str, target: str, recipe: str, price: float, out: Path | None, as_json: bool, settings: Any = (), quiet: bool = False) -> None:
    """Print the ladder that a budget pays for."""
    if not budget:
        raise LimbeckError("a plan needs a budget", "limbeck predict plan", "--budget 1e15 (FLOP), 2h (this machine) or $5 (with --price)")
    kind, amount = parse_budget(budget)
    if recipe:
        found = _plan_recipe(recipe, out, kind, amount, price, table, settings, quiet or as_json)
    else:
        found = as_dict(_plan_plain(table, target, kind, amount))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    sys.stdout.write(f"target   N {found['target']['size']:.3g}, D {found['target']['data']:.3g}, {found['target']['compute']:.3g} FLOP\nladder   {found['cost']:.3g} of {found['budget']:.3g} FLOP, 1/{1 / found['share_of_target']:,.0f} of the target; the rest is a reserve for a rung that must be run again\nspread   {100 * found['spread']:.2f} % at the target, {100 * found['prior_spread']:.1f} % without runs (a standard deviation by the laws' own account, before the factor of `predict fit`)\n")
    if "seconds" in found:
        sys.stdout.write(f"time     {found['seconds'] / 60:.1f} minutes of training here ({1000 * found['seconds_a_step']:.1f} ms a step and {found['flops_a_second']:.3g} FLOP/s measured, {found['rungs_at_once']} rungs at once)" + (f", ${found['dollars']:.2f}" if "dollars" in found else "") + "; scoring the rungs comes on top\n")
    for r in found["rungs"]:
        extra = f"  width {r['width']:.0f}, {r['examples']:,.0f} examples, batch {r['batch']}, lr {r['lr']:.4g}" if "lr" in r else ""
        sys.stdout.write(f"  {r['role']:<13}N {r['size']:<9.3g} D {r['data']:<9.3g} {r['compute']:<9.3g} FLOP  seed {r['seed']}{extra}\n")


def _plan_plain(table: Path | None, target: str, kind: str, amount: float) -> Plan:
    if kind != "flop":
        raise LimbeckError(f"a budget in {kind} needs to know what is trained", "--budget", "name --recipe (its student is timed on this machine), or give FLOP")
    if not target:
        raise LimbeckError("a plan needs a target", "--target", "a compute in FLOP (1e21) or size,data (7e9,140e9); or name --recipe")
    from limbeck.predicting import parse_target

    fitted, asked = (fit(table) if table else None), parse_target(target)
    if "compute" in asked and fitted is not None and fitted.guide is not None:
        size, data = fitted.best_split(asked["compute"])
    elif "compute" in asked:
        size = float(np.sqrt(asked["compute"] / 120.0))  # 20 tokens a parameter (arXiv 2203.15556), until a table says otherwise
        data = 20 * size
    else:
        size, data = asked["size"], asked["data"]
    aim = Candidate(size=size, data=data, compute=6 * size * data)
    return choose_rungs(plain_grid(aim), aim, amount, fitted.fits if fitted else ())


def _ground(run: Run, recipe: Recipe, tell: Any) -> Ground:
    """The recipe's dataset, made if it is not there, and the codec of its task."""
    from limbeck import resolve
    from limbeck.make import _distill
    from limbeck.teaching import check_recipe

    refuse_untrainable(recipe)
    check_own_tokenizer(recipe)
    check_recipe(recipe, [recipe.student.kind])
    codec = resolve.get_codec(recipe.recipe.task, recipe.distill.slots) if recipe.student.kind != "decoder" else None
    dataset = _distill(run, recipe, resolve.get_task(recipe.recipe.task, code=recipe.distill.code or None), codec, tell)
    return Ground(with_own_tokenizer(recipe, run, dataset), dataset, codec)


def plan_for(ground: Ground, kind: str, amount: float, price: float = 0.0, fits: Any = ()) -> tuple[Plan, dict[str, float]]:
    """The ladder that a budget pays for; of hours (dollars: of the hours that they pay for) also what was measured of this machine and what training will take."""
    if kind == "flop":
        return ground.plan(amount, fits), {}
    if kind == "dollars" and price <= 0:
        raise LimbeckError("a budget in dollars needs the price of this machine's hour", "--price", "--price 2.50; or give hours or FLOP")
    seconds = 3600 * (amount if kind == "hours" else amount / price)
    pace = ground.pace()
    plan = ground.plan_seconds(seconds, pace, fits)
    took = ground.seconds_of(plan, pace)
    measured = {"seconds": took, "seconds_a_step": pace.step, "flops_a_second": pace.flops, "rungs_at_once": pace.workers}
    return plan, measured | ({"dollars": took / 3600 * price} if price > 0 else {})


def _plan_recipe(name: str, out: Path | None, kind: str, amount: float, price: float, table: Path | None, settings: Any, quiet: bool) -> dict[str, Any]:
    from limbeck.progress import Progress
    from limbeck.recipe.load import dump_toml, load_recipe

    recipe = load_recipe(name, settings)
    refuse_untrainable(recipe)
    with Progress(quiet) as progress, open_run(out or Path("runs") / recipe.recipe.name, dump_toml(recipe), recipe.recipe.seed) as run:
        ground = _ground(run, recipe, progress.tell)
        plan, measured = plan_for(ground, kind, amount, price, fit(table).fits if table else ())
        found: dict[str, Any] = {**as_dict(plan), **measured}
        for row, rung in zip(found["rungs"], ground.rungs(plan), strict=True):
            row |= {"lr": rung.setting.lr, "batch": rung.setting.batch, "steps": rung.setting.steps, "name": rung.name}
        return found


def make_ladder(name: str, out: Path | None, settings: Any, budget: str, check: bool, quiet: bool, as_json: bool) -> None:
    """Train a ladder in the recipe's run folder and say where its table is."""
    from limbeck.progress import Progress
    from limbeck.recipe.load import dump_toml, load_recipe

    path = Path(name)
    if (path / "run.json").exists():
        name, out = str(path / "recipe.toml"), out or path
    recipe = load_recipe(name, settings)
    refuse_untrainable(recipe)
    if not budget and not recipe.predict.share:
        raise LimbeckError("nothing says what the ladder may cost", "predict.share", "--budget 1e12, or predict.share = 0.01 in the recipe")
    found: dict[str, Any] = {}
    with Progress(quiet or as_json) as progress, open_run(out or Path("runs") / recipe.recipe.name, dump_toml(recipe), recipe.recipe.seed) as run:
        ground = _ground(run, recipe, progress.tell)
        plan, measured = plan_for(ground, *parse_budget(budget)) if budget else (ground.plan(), {})
        if check:
            widths = sorted({int(dict(r.candidate.facts)["width"]) for r in plan.rungs} | {recipe.student.width})
            band = coordinate_band(measure_activations(ground, widths))
            found["coordinates"] = {"band": band, "holds": holds(band), "widths": widths}
        table = climb(run, ground, plan, progress.tell)
        write_atomically(run.path / "ladder" / "plan.json", json.dumps(as_dict(plan), indent=1).encode())
        if check:
            middle = next(r for r in ground.rungs(plan)[len(plan.rungs) // 2 :] if r.role in ("rung", "held-out"))
            found["sweep"] = judge_sweep(sweep_rung(ground, run, middle, progress.tell)) | {"rung": middle.name}
    found |= measured | {"table": str(table), "rungs": len(plan.rungs), "compute": plan.compute, "share": plan.compute / plan.target.compute}
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    if check:
        c, s = found["coordinates"], found["sweep"]
        sys.stdout.write(f"widths   activations within a factor of {max(c['band'].values()):.2f} over widths {c['widths']}: {'holds' if c['holds'] else 'DOES NOT HOLD: the learning rate does not carry over'}\nsweep    rung {s['rung']}: best at {s['best_factor']:g} times the transferred learning rate, {100 * s['lost']:.2f} % lost: {'agrees' if s['agrees'] else 'DOES NOT AGREE: tune the recipe at this size'}\n")
    sys.stdout.write(f"ladder   {found['rungs']} rungs, {found['compute']:.3g} FLOP, 1/{1 / found['share']:,.0f} of the target\ntable    {table}\n")


def show_forecast(source: Path, target: str, sealed: bool, as_json: bool, page: Path | None = None) -> None:
    """Print what a ladder says of a target; seal it, draw the page of it, where asked."""
    from limbeck.predicting import parse_target

    if source.suffix == ".csv":
        if not target or target.startswith("x"):
            raise LimbeckError("a table knows no student of its own", "--target", "give a compute (1e21) or size,data (7e9,140e9)")
        rows, asked = read_rows(source), parse_target(target)
        try:
            fitted, _ = fit_ladder(rows)
            size, data = (asked["size"], asked["data"]) if "size" in asked else fitted.best_split(asked["compute"])
        except LimbeckError as problem:  # the rows know no file
            raise LimbeckError(problem.what, problem.where.replace("runs", str(source), 1) if problem.where.startswith("runs") else problem.where, problem.fix) from problem
        aim = Candidate(size=size, data=data, compute=asked.get("compute", 6 * size * data))
        found = forecast_table(rows, aim, float("nan"), 12.0)
        _say(found, as_json, _draw(rows, aim, found, page))
        return
    from limbeck.recipe.load import load_recipe

    if not (source / "ladder" / "runs.csv").exists():
        raise LimbeckError("this run has no ladder", str(source), "`limbeck predict ladder` first")
    recipe = load_recipe(str(source / "recipe.toml"), ())
    if target.startswith("x"):
        try:
            recipe = recipe.model_copy(update={"predict": recipe.predict.model_copy(update={"larger": float(target[1:])})})
        except ValueError:
            raise LimbeckError(f"'{target}' is no target", "--target", "x4 is a student of four times the size and data") from None
    elif target:
        raise LimbeckError("a run's forecast speaks of its own student or of one so many times larger", "--target", "x4; or name the table ladder/runs.csv with a compute")
    with open_run(source, (source / "recipe.toml").read_text(encoding="utf-8"), recipe.recipe.seed) as run:
        ground = _ground(run, recipe, lambda *_: None)
        table = run.path / "ladder" / "runs.csv"
        found = forecast_ladder(run, ground, table)
        if sealed:
            steps = list((run.path / "train").glob("student-s*/manifest.json"))
            if recipe.predict.larger == 1 and steps:
                raise LimbeckError("the student this forecast speaks of is trained already", str(source), "nothing can be sealed after the run: forecast another one (--target x4)")
            found = seal_found(run, ground, table, found)
        drawn = _draw(read_rows(table), ground.target, found, page)
    _say(found, as_json, drawn)


def _draw(rows: list[dict[str, Any]], target: Candidate, found: dict[str, Any], page: Path | None) -> Path | None:
    """The decision's page of a ladder and what was found of its target's loss; a forecast that is refused is said on it."""
    if page is None:
        return None
    from limbeck.predict.decision import write_page

    fitted, said = fit_ladder(rows)[0], found["forecast"]["loss"]
    if "refused" in said:
        return write_page(fitted, [], page, refused=said["refused"])
    loss = fitted.predict(size=target.size, data=target.data, compute=target.compute)
    return write_page(fitted, [replace(loss, low=said["low"], high=said["high"])], page)


def _say(found: dict[str, Any], as_json: bool, page: Path | None = None) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    held = found["tests"].get("loss")
    sys.stdout.write(f"held out   off by {100 * held['error']:.2f} % from {held['times']:.0f} times less compute (interval ±{100 * held['half_width']:.1f} %)\n" if held else "held out   nothing: too few rungs; untested\n")
    for name, said in found["forecast"].items():
        times = 100 if name == "score" else 1
        sys.stdout.write(f"{name:<18} {said['refused']}\n" if "refused" in said else f"{name:<18} {times * said['value']:.4f} [{times * said['low']:.4f}, {times * said['high']:.4f}]\n")
    sys.stdout.writelines(f"doubt      {d}\n" for d in found["doubts"])
    if "sha256" in found:
        sys.stdout.write(f"sealed     {found['made']}  sha256 {found['sha256']}\n")
    if page:
        sys.stdout.write(f"page       {page}\n")


def show_check(path: Path, as_json: bool) -> None:
    """A run's forecast scored, or the ledger."""
    if path.is_file():
        lines = seal.read_ledger(path)
        if as_json:
            sys.stdout.write(json.dumps(lines) + "\n")
            return
        for line in lines:
            sys.stdout.write(f"{line['at']}  {line['kind']:<8} {line['run']}  {line['seal'][:12]}\n")
            sys.stdout.writelines(f"    {_judgement(n, r)}\n" for n, r in line.get("judged", {}).items() if r.get("came") is not None)
        return
    judged = check_run(path)
    if as_json:
        sys.stdout.write(json.dumps(judged) + "\n")
        return
    sys.stdout.write(f"{judged['standing']} ({judged['sealed']}, {judged['seal'][:12]}), ladder 1/{1 / judged['share']:,.0f} of the compute\n")
    sys.stdout.writelines(_judgement(name, row) + "\n" for name, row in judged["judged"].items())
