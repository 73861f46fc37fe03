"""`limbeck panel ...`, as the command line has it. Each verb imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.options import Json

app = typer.Typer(no_args_is_help=True, help="Several answerers that act as one: who sits in it, when it is sure enough.")


@app.command("choose")
def panel_choose(
    task: Annotated[str, typer.Option("--task")], split: Annotated[str, typer.Option("--split", help="held-out examples with gold; never those of an examination")],
    model: Annotated[list[str], typer.Option("--model", metavar="MODEL", help="a candidate; may be repeated")],
    samples: Annotated[int, typer.Option("-n", min=1, max=128, help="answers asked of each")] = 1,
    most: Annotated[int, typer.Option("--most", min=0, help="members at most; 0: any number")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=0, help="at most so many examples; 0 is all")] = 0,
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Which models complement each other, beside the best single one asked as often."""
    from limbeck.seating import choose

    choose(task, split, model, limit=limit, samples=samples, most=most, base_url=base_url, as_json=as_json)


@app.command("calibrate")
def panel_calibrate(
    file: Annotated[str, typer.Argument(metavar="FILE.toml", help="a panel of kind cascade")],
    task: Annotated[str, typer.Option("--task")], split: Annotated[str, typer.Option("--split", help="held-out examples with gold; never those of an examination")],
    risk: Annotated[float, typer.Option("--risk", min=0.0001, max=0.9999, help="wanted: at most this share of wrong answers")] = 0.1,
    bound: Annotated[str, typer.Option("--bound", help="clopper-pearson (of the answers that the panel keeps), or conformal (of all requests, beyond the teacher's own errors, in the mean)")] = "clopper-pearson",
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.9999, help="clopper-pearson: how sure")] = 0.95,
    limit: Annotated[int, typer.Option("--limit", min=0, help="at most so many examples; 0 is all")] = 0,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Below which agreement the teacher is asked: accuracy against cost, and the threshold for a wanted risk."""
    from limbeck.seating import calibrate

    calibrate(file, task, split, limit=limit, risk=risk, bound=bound, confidence=confidence, as_json=as_json)


@app.command("ask-next")
def panel_ask_next(
    file: Annotated[str, typer.Argument(metavar="FILE.toml")],
    task: Annotated[str, typer.Option("--task")], split: Annotated[str, typer.Option("--split", help="requests to choose from; never those of an examination")],
    spend: Annotated[int, typer.Option("-n", min=1, help="requests that the teacher will be asked")] = 50,
    limit: Annotated[int, typer.Option("--limit", min=0, help="at most so many requests are looked at; 0 is all")] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.jsonl", help="write the chosen requests")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """What a teacher is asked next: the requests on which a panel disagrees most."""
    from limbeck.seating import ask_next

    ask_next(file, task, split, spend=spend, limit=limit, out=out, as_json=as_json)


@app.command("train-router")
def panel_train_router(
    file: Annotated[str, typer.Argument(metavar="FILE.toml", help="a panel of kind router")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.safetensors", help="where to; beside the panel's file unless said")] = None,
    examples: Annotated[int, typer.Option("--examples", min=10, help="requests of each task to learn from")] = 2000,
    accuracy: Annotated[float, typer.Option("--accuracy", min=0.5, max=1.0, help="of what the router keeps; what it is less sure of goes to the teacher")] = 0.99,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Teach a router which specialist gets a request, from its tasks' own requests."""
    from limbeck.seating import make_router

    make_router(file, out, count=examples, accuracy=accuracy, as_json=as_json)
