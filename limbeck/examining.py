"""`limbeck evaluate`: any model on any task, logged as it goes, shown as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.evaluate.log import TrialLog
from limbeck.progress import Progress
from limbeck.run import write_atomically


def evaluate_model(
    task: str, model: str, *, settings: dict[str, Any], split: str | None, limit: int, k: int | None, out: Path | None, as_json: bool, quiet: bool, asking: dict[str, Any], judging: dict[str, Any], log_format: str = "limbeck",
) -> None:
    """Examine, keep the log and the result under `out`, print scores or the JSON document."""
    settings = {**settings, "judge": _grader(settings.get("judge"), judging)}
    if task.startswith("openai-evals:"):
        settings["complete"] = resolve.get_language_model(model, **asking) if resolve.is_language_model(model) else None
    job = resolve.get_task(task, **settings)
    if hasattr(job, "ready"):
        job.ready()  # type: ignore[attr-defined]
    split = split or job.splits()[0]
    examples = job.examples(split, limit or None)
    if not examples:
        raise LimbeckError("there is nothing to examine", f"task {task}, split {split}", "see that its data are complete")
    if not model.startswith("openai:"):
        _use_all_cores()
    speaks = resolve.is_language_model(model)
    answerer = resolve.get_answerer(model, job, **(asking if speaks else {}))
    k = k or (1 if speaks else 5)
    log = None
    if out:
        header = {"task": job.name, "version": job.version, "split": split, "answerer": answerer.name, "k": k, "settings": answerer.settings() if hasattr(answerer, "settings") else {}}
        log = TrialLog(out / f"{split}.jsonl", header)
    with Progress(quiet or as_json) as progress:
        result = examine(job, answerer, examples, split=split, k=k, log=log, progress=lambda a, b, usd: progress.tell("evaluate", {"answerer": model, "split": split, "done": a, "of": b, "usd": usd}))
    if log and out:
        log.close()
        write_atomically(out / f"{split}.json", json.dumps(result, indent=1).encode())
        if log_format == "inspect":
            _write_inspect_log(result, out / "inspect")
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    if out:
        sys.stdout.write(f"result  {out / f'{split}.json'}  (its page: limbeck report {out / f'{split}.json'})\n")
    from limbeck.report.printing import print_scores

    print_scores(result)


def _write_inspect_log(result: dict[str, Any], folder: Path) -> None:
    """One log for `inspect view --log-dir`, in the place of an earlier one of the same examination."""
    from limbeck.evaluate.inspect_log import inspect_log, log_name

    log = inspect_log(result)
    name, ending = log_name(log)
    earlier = [p for p in folder.glob(f"*{ending}") if p.name != name] if folder.exists() else []
    write_atomically(folder / name, json.dumps(log).encode())
    for path in earlier:
        path.unlink()


def _grader(judge: str | None, judging: dict[str, Any]) -> Any:
    """The judge: asked as tasks prescribe, without the system prompt or temperature of the model it judges."""
    if not judge:
        return None
    if not resolve.is_language_model(judge):
        raise LimbeckError(f"{judge!r} cannot judge", "--judge", "name a language model: openai:NAME, hf:FOLDER or builtin:smollm2-135m")
    return resolve.get_language_model(judge, **judging)


def _use_all_cores() -> None:
    """As many threads as cores we may use: two a core can be many times slower."""
    import os

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or resolve.count_cores()))


def report_results(paths: list[Path], out: Path | None, figure: Path | None, kind: str, benchmark: str | None, setting: str | None) -> None:
    """The page of results of one task and split, the first compared with the others; or one figure of them."""
    from limbeck.evaluate.compare import compare
    from limbeck.report.examined import read_result, write_examined
    from limbeck.report.examined_figures import draw

    results = [read_result(path) for path in paths]
    comparisons = [compare(results[0], other) for other in results[1:]]
    if figure:
        write_atomically(figure, draw(kind, results, benchmark, setting).encode())
        sys.stdout.write(f"figure  {figure}\n")
        return
    page = write_examined(results, comparisons, (out or paths[0].parent) / f"{results[0]['split']}.html")
    sys.stdout.write(f"report  {page}\n")
