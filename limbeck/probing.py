"""`limbeck probe`: requests that must be refused, requests that must not, steering and facts, put to one model; `limbeck scale`: stages beside each other.

Answers go into the probe's folder, one log a family (a killed probe goes on), and on its page, escaped and folded. None is ever printed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck import resolve
from limbeck.align.probe import ProbeTask
from limbeck.align.scale import FILE, Reading, Stage, make_scale, write_scale
from limbeck.errors import LimbeckError
from limbeck.evaluate import safety
from limbeck.evaluate.examine import examine
from limbeck.evaluate.log import TrialLog
from limbeck.progress import Progress
from limbeck.records import Answer, Example, Prompt, content_id
from limbeck.run import write_atomically
from limbeck.tasks import probing as requests
from limbeck.tasks.choices import TruthfulQaTask
from limbeck.tasks.steering import SteeringTask

SCHEMA = 1
BATCH = 32  # requests that local weights answer at a time: short ones
PARTS = (*requests.FAMILIES, "sensitive", "steering", "factuality")
OWN_ALLOWED, OWN_DISALLOWED = "own-allowed", "own-disallowed"  # held-out requests of limbeck's own: where XSTest is not here
ALLOWED = (requests.SAFE, OWN_ALLOWED)
PLAIN = (requests.UNSAFE, "harmbench", OWN_DISALLOWED)  # unsafe requests as they are: what counts as disallowed
LINE_TOKENS = 64  # of an answer that the line's own gate weighs


def probe_model(model: str, parts: Sequence[str], *, seeds: int, limit: int, out: Path | None, against: Path | None, truthfulqa: str, policy: str, as_json: bool, quiet: bool, raw: bool, asking: dict[str, Any]) -> None:
    """Ask, read, count; the folder, its page and the table. `parts` empty is all whose data are here."""
    chosen, absent = choose_parts(parts, seeds, truthfulqa, policy)
    answerer = _answerer(model, raw, asking)
    earlier = _read_probe(against) if against else None
    folder = out or Path("probes") / re.sub(r"[^\w.-]+", "-", model).strip("-")
    _say_where_it_goes(model, asking, sum(1 for part in chosen if part in requests.FAMILIES and part != requests.SAFE), quiet)
    with Progress(quiet or as_json) as progress:
        found, results = probe_answerer(model, answerer, chosen, folder, limit=limit, absent=absent, tell=progress.tell)
    if earlier:
        found["against"] = {"model": earlier["model"], "folder": str(against), "changes": changes_between(earlier["folder"], folder, results)}
    write_atomically(folder / "probe.json", json.dumps(found, indent=1, ensure_ascii=False).encode())
    from limbeck.report.probe import print_probe, write_page

    page = write_page(found, results, folder / "index.html")
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    print_probe(found)
    sys.stdout.write(f"\nresult  {folder / 'probe.json'}\npage    {page}  (the answers are on it, folded; some may be harmful)\n")


def probe_answerer(
    model: str, answerer: Any, chosen: dict[str, Any], folder: Path, *, limit: int = 0, absent: dict[str, str] | None = None, tell: Callable[[str, dict[str, Any]], None] | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The probe's document and each part's result, for any answerer; logs and results are kept in `folder`, and what they hold is not asked again."""
    began = time.perf_counter()
    results: dict[str, dict[str, Any]] = {}
    for part, task in chosen.items():
        results |= _examine_part(part, task, answerer, folder, limit, lambda a, b, usd, part=part: tell("evaluate", {"answerer": model, "split": part, "done": a, "of": b, "usd": usd}) if tell else None)
    return summarise(model, answerer, results, absent or {}) | {"seconds": time.perf_counter() - began}, results


def choose_parts(parts: Sequence[str], seeds: int = requests.SEEDS, truthfulqa: str = "", policy: str = "default") -> tuple[dict[str, Any], dict[str, str]]:
    """Each part's task, and why others are absent. A part that was named and is not here is an error."""
    unknown = next((p for p in parts if p not in PARTS), None)
    if unknown is not None:
        raise LimbeckError(f"there is no family called {unknown!r}", "--family", f"known: {', '.join(PARTS)}")
    chosen: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for part in dict.fromkeys(parts or PARTS):
        try:
            if part == "steering":
                chosen[part] = SteeringTask()
            elif part == "sensitive":
                chosen[part] = resolve.get_task(f"policy:{policy}")
            elif part == "factuality":
                facts = TruthfulQaTask(by="text", adversarial=True, file=truthfulqa)
                facts.examples("test", 1)
                chosen[part] = facts
            else:
                chosen[part] = ProbeTask(part, requests.family_examples(part, seeds), requests.version_of(part))
        except LimbeckError as problem:
            if parts or (part == "factuality" and truthfulqa) or (part == "sensitive" and policy != "default"):
                raise
            absent[part] = f"{problem.what}; {problem.fix}"
    if not chosen:
        raise LimbeckError("there is nothing to ask: no source of requests is here", "limbeck probe", "run `limbeck data get xstest` and `limbeck data get harmbench`, or set LIMBECK_DATA")
    return chosen, absent


def _answerer(model: str, raw: bool, asking: dict[str, Any]) -> Any:
    """Whoever speaks: a language model, or a decoder that limbeck trained. Raises LimbeckError for what writes rules or code, or knows no chat."""
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.local import LocalModel

    if model.startswith("openai:"):
        return resolve.get_language_model(model, **asking)
    source = ""
    if resolve.is_language_model(model):
        source = resolve.weights_of(model)
    else:
        if model.startswith(("baseline:", "panel:")):
            raise LimbeckError(f"{model!r} cannot be probed", "MODEL", "name a language model (openai:, hf:, builtin:smollm2-135m) or a decoder's run or folder")
        from limbeck.models.decoder import read_facts

        folder = resolve.expert_folder(model)
        is_ours = read_facts(folder) is not None
        if not is_ours and not (folder / "tokenizer_config.json").exists():
            raise LimbeckError("this expert writes rules or code, no free text: it has nothing to refuse", model, "probe a decoder or a language model")
        source = str(folder)
    answerer = LocalModel(source, name=model, sampling=Sampling(**asking["sampling"]), batch=BATCH)
    answerer.weights = resolve.hash_weights(Path(source)) if Path(source).is_dir() else ""  # trained anew, it is another model: its log is not gone on with
    if not raw and not answerer.has_chat:
        raise LimbeckError("this model has no chat template, so a request cannot be put to it as its makers meant", model, "set chat_template in its tokenizer_config.json, or ask it as plain text with --raw")
    return answerer


def _say_where_it_goes(model: str, asking: dict[str, Any], unsafe: int, quiet: bool) -> None:
    """Before anything leaves this machine."""
    if not model.startswith("openai:") or not unsafe:
        return
    import os

    host = urlsplit(asking.get("base_url") or os.environ.get("OPENAI_BASE_URL", "")).hostname or "?"
    if host not in resolve.OWN_MACHINE:
        sys.stderr.write(f"note: unsafe requests are now sent to {host}; its owner may log or act on them. Ctrl-C stops\n")


def _examine_part(part: str, task: Any, answerer: Any, folder: Path, limit: int, progress: Any) -> dict[str, dict[str, Any]]:
    """The results of one part by name; steering has a second one, without system messages."""
    names = {"steering": ("asked", "unasked"), "factuality": ("test",), "sensitive": ("sensitive",)}.get(part, ("requests",))
    out = {}
    for split in names:
        name = f"{part}-{split}" if part == "steering" else part
        examples = _limited(task, split, limit)
        header = {"task": task.name, "version": task.version, "split": split, "answerer": answerer.name, "k": 1, "settings": answerer.settings() if hasattr(answerer, "settings") else {}, "weights": getattr(answerer, "weights", "")}
        log = TrialLog(folder / f"{name}.jsonl", header)
        try:
            out[name] = examine(task, Repeating(answerer) if split == "unasked" else answerer, examples, split=split, k=1, log=log, progress=progress)
        finally:
            log.close()
        write_atomically(folder / f"{name}.json", json.dumps(out[name], indent=1, ensure_ascii=False).encode())
    return out


def _limited(task: Any, split: str, limit: int) -> list[Any]:
    """At most so many, some of every kind."""
    from limbeck.tasks.text_task import spread

    examples = task.examples(split)
    return spread(examples, limit) if limit and len(examples) > limit else examples


class Repeating:
    """An answerer that is asked once for prompts that read alike."""

    def __init__(self, answerer: Any) -> None:
        self._answerer, self._known = answerer, {}
        self.name: str = answerer.name
        self.parameters: int | None = answerer.parameters

    def settings(self) -> dict[str, Any]:
        """The answerer's own."""
        return self._answerer.settings() if hasattr(self._answerer, "settings") else {}

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """As the answerer answers the first of each."""
        keys = [content_id([p.text, p.context]) for p in prompts]
        new = {key: p for key, p in zip(keys, prompts, strict=True) if key not in self._known}
        self._known |= dict(zip(new, self._answerer.answer(list(new.values()), k=k), strict=True))
        return [replace(self._known[key], prompt_id=p.id) for key, p in zip(keys, prompts, strict=True)]


def summarise(model: str, answerer: Any, results: dict[str, dict[str, Any]], absent: dict[str, str]) -> dict[str, Any]:
    """The probe as one document, without a word of what was asked or said."""
    families = [_family(name, results) for name in results if name in (*requests.FAMILIES, *ALLOWED, *PLAIN)]
    safe = [t for name in ALLOWED if name in results for t in results[name]["trials"]]
    plain = [t for name in PLAIN if name in results for t in results[name]["trials"]]
    out: dict[str, Any] = {
        "schema": SCHEMA, "model": model, "parameters": answerer.parameters, "settings": answerer.settings() if hasattr(answerer, "settings") else {}, "families": families,
        "disallowed_answered": safety.rate(plain, "answered") if plain else None, "disallowed_of": [n for n in PLAIN if n in results],
        "allowed_refused": safety.rate(safe, "refused") if safe else None,
        "allowed_partly": safety.rate([_partly(t) for t in safe], "partly") if safe else None, "absent": absent,
        "answered_now": sum(r["asked"] for r in results.values()), "notes": [note for r in results.values() for note in r["notes"]],
    }  # fmt: skip
    if "steering-asked" in results:
        asked, unasked = results["steering-asked"]["trials"], results["steering-unasked"]["trials"]
        out["steering"] = {**safety.rate(asked, "followed"), "unasked": safety.rate(unasked, "followed"), "kinds": safety.by_kind(asked, "followed"), "unasked_kinds": safety.by_kind(unasked, "followed")}
    if "sensitive" in results:
        out["sensitive_by_policy"] = {**safety.rate(results["sensitive"]["trials"], "by_policy"), "policy": results["sensitive"]["task"], "kinds": safety.by_kind(results["sensitive"]["trials"], "by_policy")}
    if "factuality" in results:
        trials = results["factuality"]["trials"]
        reasons = sorted({t["reason"] for t in trials if t["status"] != "scored"})
        out["factuality"] = {**safety.rate(trials, "per_byte"), "whole": safety.rate(trials, "whole"), "why_missing": reasons[:3]}
    return out


def _partly(trial: dict[str, Any]) -> dict[str, Any]:
    return trial if trial["status"] != "scored" else trial | {"partly": [trial["answered"][0] - trial["wholly"][0]]}


def _family(name: str, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    trials, unsafe = results[name]["trials"], name not in ALLOWED
    measure = "answered" if unsafe else "refused"
    row = {"family": name, "unsafe": unsafe, "measure": measure, **safety.rate(trials, measure), "wholly": safety.rate(trials, "wholly"), "statuses": safety.statuses(trials), "kinds": safety.by_kind(trials, measure)}
    if name in requests.CLOTHED and requests.UNSAFE in results:
        row["against_plain"] = safety.against_plain(trials, results[requests.UNSAFE]["trials"], measure)
    return row


def _read_probe(place: Path) -> dict[str, Any]:
    """An earlier probe by its folder or its probe.json."""
    path = place / "probe.json" if place.is_dir() else place
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA or not isinstance(found["families"], list):
            raise ValueError(f"it is of schema {found['schema']}")
        return found | {"folder": path.parent}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise LimbeckError(f"this is no probe: {problem}", str(path), "name a folder that `limbeck probe --out` wrote") from problem


def changes_between(before: Path, after: Path, names: Sequence[str] | dict[str, Any]) -> list[dict[str, Any]]:
    """Paired changes of every part that both folders have."""
    out = []
    for name in names:
        if (before / f"{name}.json").exists() and (after / f"{name}.json").exists():
            a, b = _result(before, name), _result(after, name)
            out += [{"part": name, **change} for change in _change(a, b, _measure(name))]
    return out


def _change(before: dict[str, Any], after: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    """The paired change; none where no request was answered by both."""
    same = before["task"] == after["task"] and before["version"] == after["version"]
    return [safety.before_after(before, after, measure)] if not same or safety.answered_by_both(before["trials"], after["trials"]) else []


def _measure(part: str) -> str:
    return {requests.SAFE: "refused", OWN_ALLOWED: "refused", "steering-asked": "followed", "steering-unasked": "followed", "factuality": "per_byte", "sensitive": "by_policy"}.get(part, "answered")


def _result(folder: Path, name: str) -> dict[str, Any]:
    from limbeck.report.examined import read_result

    return read_result(folder / f"{name}.json")


# ---- the scale ----


def weigh(stages: Sequence[str], tasks: Sequence[str], policies: Sequence[str], *, out: Path, expert: Path | None, limits: tuple[float, float] | None, as_json: bool) -> int:
    """`limbeck scale`: probes (and results of a task, and of a policy) of several stages as one document, page and plot; 1 where the gate does not pass."""
    folders = _named(stages, "NAME=PROBE")
    more = {"task_score": _named(tasks, "--task NAME=RESULT.json"), "sensitive_by_policy": _named(policies, "--policy NAME=RESULT.json")}
    stray = next((name for kind in more.values() for name in kind if name not in folders), None)
    if stray is not None:
        raise LimbeckError(f"there is no stage called {stray!r}", "--task or --policy", f"stages: {', '.join(folders)}")
    probes = {name: _read_probe(Path(place)) for name, place in folders.items()}
    results = {name: {measure: _examined(Path(kind[name])) for measure, kind in more.items() if name in kind} for name in folders}
    rows = [stage_from(name, probes[name], results[name]) for name in folders]
    first = next(iter(folders))
    changes = [change for name in folders if name != first for change in _stage_changes(first, name, probes, results)]
    scale = make_scale(rows, changes, limits)
    from limbeck.report.scale import print_scale, write_scale_page

    for folder in (out, *((resolve.expert_folder(str(expert)),) if expert else ())):
        write_scale(folder / FILE, scale)
    if expert:
        from limbeck.report.scale import add_to_card

        add_to_card(resolve.expert_folder(str(expert)))
    page = write_scale_page(scale, out / "scale.html")
    if as_json:
        sys.stdout.write(json.dumps(scale) + "\n")
    else:
        print_scale(scale)
        sys.stdout.write(f"\nscale   {out / FILE}\npage    {page}\n")
    return 0 if scale.get("gate", {}).get("passed", True) else 1


def weigh_run(run: Path, before: Path, after: Path, task_results: tuple[Path, Path], limits: tuple[float, float], folder: Path, tell: Callable[[str, dict[str, Any]], None], policy: str = "", limit: int = 0) -> dict[str, Any]:
    """What the line's gate says of an aligned expert against the one it was made from: scale.json in `folder` and beside the weights, and a page.

    XSTest's requests where they are here, else held-out ones of limbeck's own. `task_results` are the examinations of the task, before and after.
    """
    from limbeck.report.scale import write_scale_page
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.local import LocalModel

    chosen = _for_the_line(policy or "default") | ({"sensitive": resolve.get_task(f"policy:{policy}")} if policy else {})
    probes: dict[str, dict[str, Any]] = {}
    for name, expert in (("before", before), ("aligned", after)):
        answerer = LocalModel(str(expert), name=name, sampling=Sampling(temperature=0.0, max_tokens=LINE_TOKENS), batch=BATCH)
        found, _ = probe_answerer(name, answerer, chosen, folder / name, limit=limit, tell=tell)
        write_atomically(folder / name / "probe.json", json.dumps(found, indent=1, ensure_ascii=False).encode())
        probes[name] = found | {"folder": folder / name}
    results = {name: {"task_score": _examined(path)} for name, path in zip(probes, task_results, strict=True)}
    scale = make_scale([stage_from(name, probes[name], results[name]) for name in probes], _stage_changes("before", "aligned", probes, results), limits)
    write_scale(folder / FILE, scale)
    write_scale(run / "expert" / FILE, scale)
    write_scale_page(scale, folder / "scale.html")
    tell("note", {"text": f"gate: {'passed' if scale['gate']['passed'] else 'not passed: ' + scale['gate']['said']}"})
    return scale


def _for_the_line(policy: str) -> dict[str, Any]:
    """Requests that every aligned run is weighed with."""
    try:
        return {name: ProbeTask(name, requests.family_examples(name), requests.version_of(name)) for name in (requests.SAFE, requests.UNSAFE)}
    except LimbeckError:
        from limbeck.align.policy import load_policy
        from limbeck.align.requests import harmless, to_refuse

        kind_of = load_policy(policy).kind_of
        sides = ((OWN_ALLOWED, harmless()), (OWN_DISALLOWED, [r for r in to_refuse() if kind_of(r.category) != "comply"]))
        made = {name: [Example(id=r.id, prompt=Prompt(id=r.id, text=r.text), source=name, meta={"family": r.category, "kind": r.category, "unsafe": name == OWN_DISALLOWED}) for r in side if r.part == "held_out"] for name, side in sides}
        return {name: ProbeTask(name, examples, content_id([e.prompt.text for e in examples], 6)) for name, examples in made.items()}


def _named(given: Sequence[str], form: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for item in given:
        name, equals, place = item.partition("=")
        if not equals or not name.strip() or not place or name in out:
            raise LimbeckError(f"{item!r} names no stage" if name not in out else f"two stages are called {name!r}", form, "write it as before=probes/before, each name once")
        out[name] = place
    return out


def _examined(path: Path) -> dict[str, Any]:
    from limbeck.report.examined import read_result

    return read_result(path)


def stage_from(name: str, probe: dict[str, Any], results: dict[str, dict[str, Any]]) -> Stage:
    """A stage out of a probe's document and the results of the other measures; what is absent says so."""
    readings = {measure: _reading(probe.get(measure), "not probed") for measure in ("disallowed_answered", "allowed_refused", "sensitive_by_policy", "factuality", "steering")}
    for measure, result in results.items():
        main = result["main"]
        readings[measure] = _reading(safety.rate(_wrong_where_missing(result["trials"], main) if measure == "task_score" else result["trials"], main), "")
    return Stage(name=name, model=probe["model"], readings=readings)


def _wrong_where_missing(trials: list[dict[str, Any]], main: str) -> list[dict[str, Any]]:
    """A task's own score counts a missing answer as wrong: a model that refuses its job has not done it."""
    return [t if t["status"] == "scored" and t.get(main) else {**t, "status": "scored", main: [0.0]} for t in trials]


def _reading(row: dict[str, Any] | None, why: str) -> Reading:
    if not row:
        return Reading(why=why)
    reasons = "; ".join(row.get("why_missing", ()))
    return Reading(value=row["value"], n=row["n"], low=row["low"], high=row["high"], missing=row["missing"], why="" if row["value"] is not None else reasons or "nothing could be judged")


def _stage_changes(first: str, name: str, probes: dict[str, Any], results: dict[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Paired, on the requests that both stages answered; plain unsafe families are taken as one."""
    out = []
    before, after = probes[first]["folder"], probes[name]["folder"]
    for measure, parts in (("disallowed_answered", PLAIN), ("allowed_refused", ALLOWED), ("sensitive_by_policy", ("sensitive",)), ("factuality", ("factuality",)), ("steering", ("steering-asked",))):
        shared = [p for p in parts if (before / f"{p}.json").exists() and (after / f"{p}.json").exists()]
        if shared and measure not in results[name]:
            a, b = (_joined([_result(folder, p) for p in shared]) for folder in (before, after))
            out += [{"from": first, "to": name, **change, "measure": measure} for change in _change(a, b, _measure(shared[0]))]
    for measure in results[name]:
        if measure in results[first]:
            a, b = results[first][measure], results[name][measure]
            if measure == "task_score":
                a, b = (r | {"trials": _wrong_where_missing(r["trials"], r["main"])} for r in (a, b))
            out += [{"from": first, "to": name, **change, "measure": measure} for change in _change(a, b, str(results[first][measure]["main"]))]
    return out


def _joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"task": "+".join(r["task"] for r in results), "version": "+".join(r["version"] for r in results), "trials": [t for r in results for t in r["trials"]]}
