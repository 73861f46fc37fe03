"""`limbeck predict ...`: what a bigger student would reach, before paying for it. See docs/predict.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.predict.intervals import learnt
from limbeck.predict.scaling import Fit, Forecast, fit
from limbeck.predict.tables import NAMES, columns_of, numbers_of, read_runs


def parse_target(text: str) -> dict[str, float]:
    """'1e21' is a compute, '7e9,140e9' size and data."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return {"compute": numbers[0]}
    if len(numbers) == 2:
        return {"size": numbers[0], "data": numbers[1]}
    raise LimbeckError(f"'{text}' is no target", "--target", "give a compute in FLOP (1e21) or size,data (7e9,140e9)")


def parse_columns(pairs: Sequence[str]) -> dict[str, str]:
    """'loss=val_bpb' says which column holds what."""
    out = {}
    for pair in pairs:
        kind, _, name = pair.partition("=")
        if not name:
            raise LimbeckError(f"'{pair}' maps nothing", "--column", f"give KIND=NAME; kinds: {', '.join(NAMES)}")
        out[kind.lower()] = name
    return out


def read_fit(table: Path, law: str, columns: Sequence[str], unit: str, drop_missing: bool, only: Sequence[str] = ()) -> Fit:
    """The fit that the options ask for."""
    return fit(table, law=law, columns=parse_columns(columns), unit=unit, drop_missing=drop_missing, only=parse_only(only))


def parse_only(pairs: Sequence[str]) -> dict[str, str]:
    """'dataset=gadre' keeps the rows with that word in that column."""
    out = {}
    for pair in pairs:
        column, sign, word = pair.partition("=")
        if not sign or not column:
            raise LimbeckError(f"'{pair}' keeps nothing", "--only", "give COLUMN=WORD")
        out[column.strip()] = word.strip()
    return out


def show_fit(table: Path, target: Sequence[str] = (), law: str = "ensemble", columns: Sequence[str] = (), unit: str = "nats", drop_missing: bool = False, level: float = 0.9, page: Path | None = None, as_json: bool = False, only: Sequence[str] = ()) -> None:
    """Fit a table and forecast targets; the held-out rung comes first."""
    if law == "finetuning":
        if page:
            raise LimbeckError("no page is drawn of fine-tuning curves", "--page", "leave it out")
        show_finetuning(table, target, columns, unit, level, as_json)
        return
    fitted = read_fit(table, law, columns, unit, drop_missing, only)
    forecasts = [fitted.predict(**parse_target(t), level=level) for t in target]
    if page:
        from limbeck.predict.decision import write_page

        written = write_page(fitted, forecasts, page)
    if as_json:
        sys.stdout.write(json.dumps({"fit": fitted.as_dict(), "forecasts": [asdict(f) for f in forecasts], "record": learnt()["record"]}) + "\n")
        return
    out = sys.stdout.write
    out(_held_out(fitted))
    for forecast in forecasts:
        out(_forecast(forecast))
    out(f"\nruns       {len(fitted.runs)}" + "".join(f"; {note}" for note in fitted.runs.notes) + "\n")
    for f in fitted.fits:
        priors = ", ".join(f"{p} {m:.2f}±{w:.2f}" for p, m, w in zip(f.problem.law.parameters, f.problem.means, f.problem.widths, strict=True))
        out(f"{f.member.law:<10} weight {f.member.weight:.2f}, {f.problem.law.equation}; residuals {100 * f.problem.noise:.2f} %\n           prior (centred): {priors}\n")
    if fitted.chinchilla:
        c = fitted.chinchilla
        out(f"classical  E {c.E:.4f}  A {c.A:.4g}  B {c.B:.4g}  alpha {c.alpha:.4f}  beta {c.beta:.4f}: no prior, Huber 1e-3, for comparison with published coefficients\n")
    for finding in fitted.findings:
        out(f"doubt      {finding.what}; {finding.fix}\n")
    if forecasts:
        out(_record(forecasts[0]))
    if page:
        out(f"page       {written}\n")


def _held_out(fitted: Fit) -> str:
    held = fitted.held_out
    if held is None:
        return "held out   nothing: too few runs lie a factor of 2 or more below the largest; the forecast is untested on this table\n"
    return f"held out   the top rung ({held.held_out} run{'s' * (held.held_out > 1)}) from {held.fitted} runs of {held.times:.0f} times less compute: off by {100 * held.error:.2f} % (worst {100 * held.worst:.2f} %; its interval is ±{100 * held.half_width:.1f} %)\n"


def _forecast(f: Forecast) -> str:
    where = f"C {f.compute:.3g}" + (f", N {f.size:.3g}, D {f.data:.3g}" if f.size else "")
    lines = [f"forecast   {f.loss:.4f} nats [{f.low:.4f}, {f.high:.4f}], {100 * f.level:g} %, at {where}: {f.reach:,.0f} times the largest run\n"]
    lines += [f"warning    {w}\n" for w in f.warnings]
    lines.append("           by law: " + ", ".join(f"{k} {v:.4f}" for k, v in f.by_law.items()) + "; spread: " + ", ".join(f"{k} {100 * v:.2f} %" for k, v in f.parts.items()) + "\n")
    return "".join(lines)


def nearest_record(reach: float) -> tuple[str, dict[str, Any]]:
    """The tested extrapolation nearest to a reach, and what happened there."""
    by_r = learnt()["record"]["by_r"]
    r = min(by_r, key=lambda k: abs(float(k) / reach - 1) if float(k) < reach else float(k) / reach - 1)
    return r, by_r[r]


def _record(f: Forecast) -> str:
    r, row = nearest_record(f.reach)
    return f"record     {r} times beyond the runs, on {row['tables']} tables of other people's runs: mean error {row['mean_error']} %, 90 % intervals held {100 * row['coverage']:.0f} % of {row['targets']} targets ({100 * row['coverage_by_table']:.0f} % by table), each table left out of what was learnt\n"


def show_finetuning(table: Path, target: Sequence[str], columns: Sequence[str], unit: str, level: float, as_json: bool) -> None:
    """Forecast each curve of a table of fine-tuning losses; a target is an amount of data."""
    from limbeck.predict.finetuning import learnt as tuning_record
    from limbeck.predict.finetuning import read_curves

    curves = read_curves(table, parse_columns(columns), unit)
    wanted = [parse_target(t).get("compute") for t in target]
    if None in wanted:
        raise LimbeckError("a fine-tuning target is one number", "--target", "give an amount of data in the table's own count: 1.6e6")
    forecasts = [curve.predict(data, level) for curve in curves for data in wanted if data is not None]
    record = tuning_record()["record"]
    if as_json:
        sys.stdout.write(json.dumps({"curves": [{"run": c.run, "points": len(c.data), "largest": float(c.data[-1])} for c in curves], "forecasts": [asdict(f) for f in forecasts], "record": record}) + "\n")
        return
    out = sys.stdout.write
    for curve in curves:
        out(f"curve      {curve.run}: {len(curve.data)} amounts of data, {curve.data[0]:,.0f} to {curve.data[-1]:,.0f}; loss {curve.losses[0]:.4f} to {curve.losses[-1]:.4f} nats\n")
    for f in forecasts:
        out(f"forecast   {f.loss:.4f} nats [{f.low:.4f}, {f.high:.4f}], {100 * f.level:g} %, at {f.data:,.0f} ({f.times:,.1f} times): {f.run}\n           by law: " + ", ".join(f"{k} {v:.4f}" for k, v in f.by_law.items()) + "\n")
        out("".join(f"warning    {w}\n" for w in f.warnings))
    for times, row in record.items():
        out(f"record     {times} times the data, {row['curves']} public curves: mean error {row['mean_error']} % (a straight line {row['straight_line']} %), 90 % intervals held {100 * row['coverage']:.0f} %\n")


def pair(text: str, option: str) -> tuple[float, float]:
    """'1e9,2e10' is a size and data."""
    found = parse_target(text)
    if "size" not in found:
        raise LimbeckError(f"'{text}' is no size and data", option, "give size,data such as 1e9,2e10")
    return found["size"], found["data"]


def answer_questions(table: Path, asked: dict[str, Any], columns: list[str], unit: str, as_json: bool) -> None:
    """Answer what was asked: a loss to reach, a run to judge, teachers to weigh, rungs to quantise."""
    answers: dict[str, Any] = {}
    if asked["teacher"]:
        answers |= _teachers(table, asked, columns, unit)
    if asked["loss"] is not None or asked["run"]:
        answers |= _of_fit(table, asked, columns, unit)
    if asked["quantised"]:
        answers["quantised"] = _quantised(asked)
    if not answers:
        raise LimbeckError("nothing was asked", "limbeck predict questions", "--loss 2.5 asks for the smallest student; --run N,D how good that split is; --teacher NAME=LOSS with --run: teacher or none")
    if as_json:
        sys.stdout.write(json.dumps(answers) + "\n")
        return
    for name, found in answers.items():
        sys.stdout.write(f"{name:<10} {_line(found)}\n")


def _line(found: dict[str, Any]) -> str:
    said = lambda v: f"{v:.4g}" if isinstance(v, float) else ", ".join(f"{k} {said(x)}" for k, x in v.items()) if isinstance(v, dict) else " to ".join(said(x) for x in v) if isinstance(v, tuple) else str(v)  # noqa: E731
    return "; ".join(f"{k.replace('_', ' ')} {said(v)}" for k, v in found.items() if v not in (None, ()))


def _of_fit(table: Path, asked: dict[str, Any], columns: list[str], unit: str) -> dict[str, Any]:
    from limbeck.predict import questions

    fitted = read_fit(table, "ensemble", columns, unit, False)
    out: dict[str, Any] = {}
    price = asked["price"]
    if asked["loss"] is not None and asked["seen"] is None:
        out["smallest"] = asdict(questions.smallest_student(fitted, asked["loss"], asked["probability"], asked["most_data"], price))
        if asked["served"] is not None:
            out["served"] = asdict(questions.cheapest_to_serve(fitted, asked["loss"], asked["served"], asked["most_data"], price))
    if asked["run"]:
        size, data = pair(asked["run"], "--run")
        out["split"] = questions.gap_to_best(fitted, size, data)
        if asked["rung"]:
            out["rung"] = questions.one_more_rung(fitted, size, data, pair(asked["rung"], "--rung"))
        if asked["seen"] is not None:
            if asked["now"] is None:
                raise LimbeckError("the running loss is not said", "--now", "give the loss measured after --seen data")
            out["course"] = questions.on_course(fitted, size, data, asked["seen"], asked["now"], asked["loss"])
    return out


def _teachers(table: Path, asked: dict[str, Any], columns: list[str], unit: str) -> dict[str, Any]:
    from limbeck.predict.distillation import fit_distillation

    if not asked["run"]:
        raise LimbeckError("which student?", "--run", "with --teacher give the student's size,data")
    teachers = {}
    for text in asked["teacher"]:
        name, _, loss = text.partition("=")
        try:
            teachers[name] = float(loss)
        except ValueError:
            raise LimbeckError(f"'{text}' names no teacher's loss", "--teacher", "give NAME=LOSS, the loss in nats on the students' own text") from None
    size, data = pair(asked["run"], "--run")
    asked["run"] = ""  # the split is judged of students alone, whose rows are not asked for here
    return {"teacher": asdict(fit_distillation(read_runs(table, parse_columns(columns), unit)).choose(size, data, teachers))}


def _quantised(asked: dict[str, Any]) -> dict[str, float]:
    if not asked["run"]:
        raise LimbeckError("which student?", "--run", "with --quantised give the student's size,data")
    from limbeck.predict import questions

    table, name = columns_of(asked["quantised"])
    missing = [c for c in ("N", "D", "penalty") if c not in table]
    if missing:
        raise LimbeckError(f"the table of quantised rungs lacks {', '.join(missing)}", name, "columns N, D and penalty (loss after less loss before, nats)")
    columns = {c: numbers_of(table[c], c, name) for c in ("N", "D", "penalty")}
    rows = [{c: float(columns[c][j]) for c in columns} for j in range(len(columns["N"]))]
    return questions.quantisation_cost(rows, *pair(asked["run"], "--run"))
