"""`limbeck predict ...`, as the command line has it. Each verb imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.options import Json, Out, Quiet, Setting

app = typer.Typer(no_args_is_help=True, help="What a bigger student would reach, before paying for it.")


@app.command("fit")
def predict_fit(
    table: Annotated[Path, typer.Argument(metavar="RUNS.csv", help="columns N, D (or C) and loss; a row a run")],
    target: Annotated[list[str] | None, typer.Option("--target", metavar="C|N,D", help="forecast this run: a compute in FLOP, or size,data; may be repeated")] = None,
    law: Annotated[str, typer.Option("--law", help="ensemble, or one alone: frontier, chinchilla, tied, coupled, farseer, broken, repeats; finetuning: curves by data alone")] = "ensemble",
    column: Annotated[list[str] | None, typer.Option("--column", metavar="KIND=NAME", help="which column holds n, d, c, loss, u, embeddings, run; may be repeated")] = None,
    unit: Annotated[str, typer.Option("--unit", help="of the losses: nats, bits or bits_per_byte")] = "nats",
    drop_missing: Annotated[bool, typer.Option("--drop-missing", help="leave out runs whose loss is nan or inf")] = False,
    level: Annotated[float, typer.Option("--level", help="of the interval: 0.5, 0.8, 0.9 or 0.95")] = 0.9,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="COLUMN=WORD", help="keep the rows that have this word there; may be repeated")] = None,
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE.html", help="also write the one-page decision with plots")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Fit a table of runs and forecast bigger ones, with intervals tested on other tables."""
    from limbeck.predicting import show_fit

    show_fit(table, target or (), law, column or (), unit, drop_missing, level, page, as_json, only or ())


@app.command("questions")
def predict_questions(
    table: Annotated[Path, typer.Argument(metavar="RUNS.csv", help="columns N, D, loss; a row a run")],
    loss: Annotated[float | None, typer.Option("--loss", help="nats to reach: the smallest student that does")] = None,
    probability: Annotated[float, typer.Option("--probability", help="with which chance")] = 0.9,
    most_data: Annotated[float | None, typer.Option("--most-data", help="no student may need more data")] = None,
    served: Annotated[float | None, typer.Option("--served", metavar="TOKENS", help="with --loss: the size cheapest to train and serve so many tokens")] = None,
    price: Annotated[float | None, typer.Option("--price", metavar="DOLLARS", help="of one FLOP: 2e-18 is about $2 an hour at 2.8e14 FLOP/s")] = None,
    run: Annotated[str, typer.Option("--run", metavar="N,D", help="a student: how far from the best split of its compute")] = "",
    rung: Annotated[str, typer.Option("--rung", metavar="N,D", help="with --run: is this one rung more worth it")] = "",
    seen: Annotated[float | None, typer.Option("--seen", metavar="D", help="with --run and --now: a run under way, after so much data")] = None,
    now: Annotated[float | None, typer.Option("--now", metavar="LOSS", help="its loss then; with --loss: the chance of reaching that")] = None,
    teacher: Annotated[list[str] | None, typer.Option("--teacher", metavar="NAME=LOSS", help="with --run and a column teacher_loss: teacher or none, and which; may be repeated")] = None,
    quantised: Annotated[Path | None, typer.Option("--quantised", metavar="RUNGS.csv", help="with --run: what quantising costs, from rungs with columns N, D, penalty")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", metavar="KIND=NAME", help="which column holds what; may be repeated")] = None,
    unit: Annotated[str, typer.Option("--unit", help="of the losses: nats, bits or bits_per_byte")] = "nats",
    as_json: Json = False,
) -> None:  # fmt: skip
    """How small, how dear, teacher or none, one rung more, stop now: answers from a table of runs."""
    from limbeck.predicting import answer_questions

    asked = {"loss": loss, "probability": probability, "most_data": most_data, "served": served, "price": price, "run": run, "rung": rung, "seen": seen, "now": now, "teacher": teacher or [], "quantised": quantised}
    answer_questions(table, asked, column or [], unit, as_json)


@app.command("plan")
def predict_plan(
    table: Annotated[Path | None, typer.Argument(metavar="[RUNS.csv]", help="runs you have already: what they tell is not paid for again")] = None,
    budget: Annotated[str, typer.Option("--budget", metavar="1e15|2h|$5", help="for the whole ladder: FLOP, time on this machine (measured), or dollars with --price")] = "",
    target: Annotated[str, typer.Option("--target", metavar="C|N,D", help="the run to forecast: a compute in FLOP, or size,data; with --recipe, the recipe's student")] = "",
    recipe: Annotated[str, typer.Option("--recipe", metavar="RECIPE", help="whose student the ladder is of: rungs are then widths and examples, with learning rates")] = "",
    price: Annotated[float, typer.Option("--price", help="dollars an hour of this machine, for a budget in dollars")] = 0.0,
    out: Out = None, set_: Setting = None, quiet: Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Choose the rungs that shrink a forecast's uncertainty most for a budget."""
    from limbeck.forecasting import show_plan

    show_plan(table, budget, target, recipe, price, out, as_json, set_ or (), quiet)


@app.command("ladder")
def predict_ladder(recipe: Annotated[str, typer.Argument(metavar="RECIPE")], out: Out = None, set_: Setting = None, budget: Annotated[str, typer.Option("--budget", metavar="1e15|2h", help="instead of the recipe's predict.share")] = "", check: Annotated[bool, typer.Option("--check", help="first see that activations keep their size across widths, and afterwards sweep the learning rate of a middle rung")] = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Train a recipe's rungs and write their table (a killed ladder goes on)."""
    from limbeck.forecasting import make_ladder

    make_ladder(recipe, out, set_ or (), budget, check, quiet, as_json)


@app.command("forecast")
def predict_forecast(source: Annotated[str, typer.Argument(metavar="RUN_OR_RUNS.csv", help="a run whose ladder is trained, or a table with columns N, D, C, loss (and score, score_n)")], target: Annotated[str, typer.Option("--target", metavar="C|N,D|xTIMES", help="a compute, size,data, or x4: so many times the run's own student; its own unless said")] = "", sealed: Annotated[bool, typer.Option("--seal", help="seal it: dated, hashed, entered in the ledger beside the run")] = False, page: Annotated[Path | None, typer.Option("--page", metavar="FILE.html", help="also write the one-page decision with plots")] = None, as_json: Json = False) -> None:
    """Forecast loss, score and pass rates from a ladder, and seal it."""
    from limbeck.forecasting import show_forecast

    show_forecast(Path(source), target, sealed, as_json, page)


@app.command("check")
def predict_check(run: Annotated[Path, typer.Argument(metavar="RUN|forecasts.jsonl", help="a run with a sealed forecast and a trained student, or the ledger of all forecasts")], as_json: Json = False) -> None:
    """Score a sealed forecast against what came; or show the ledger of forecasts and outcomes."""
    from limbeck.forecasting import show_check

    show_check(run, as_json)
