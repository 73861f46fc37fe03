"""`limbeck serve`: any MODEL behind OpenAI's HTTP, once its terms allow it; what is owed is printed, shown on the page and at /v1/terms."""

from __future__ import annotations

import base64
import binascii
import copy
import errno
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck import resolve
from limbeck.asking import check_request
from limbeck.catalog import terms
from limbeck.errors import LimbeckError
from limbeck.exporting import family_of_expert
from limbeck.records import Answer, Prompt
from limbeck.run import disk_error
from limbeck.serve.desk import Desk, Job
from limbeck.tasks.cf.workbook import MAX_BYTES, make_table, read_table

GRACE_S = 30  # for requests in flight when the server is told to end
FORWARDED = frozenset(["temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty"])
EXTRA = ("table", "sheet", "today", "column")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `limbeck serve` was asked for. `name` is what requests call the model ("": a short one); `key` None asks nobody for one."""

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    task: str = ""
    name: str = ""
    key: str | None = None
    base_url: str = ""
    accepted: tuple[str, ...] = ()
    batch: int = 16
    window_ms: float = 5.0
    queue: int = 128
    deadline_s: float = 60.0


def serve(wanted: Wanted) -> None:
    """Answer requests until told to end. Raises LimbeckError before listening for whatever the user can mend, KeyboardInterrupt for Ctrl-C."""
    _check(wanted)
    try:
        import uvicorn

        from limbeck.serve.application import LOCAL, House, Limits, build_app
    except ImportError as problem:
        raise LimbeckError(f"serving needs a library that is not installed: {problem.name}", "limbeck serve", "pip install 'limbeck[serve]'") from problem
    heeded = heed_terms(wanted)
    listener = _bind(wanted)
    try:
        desk = build_desk(wanted)
        local = _is_local(wanted.host)
        house = House(key=wanted.key or "", hosts=frozenset({*LOCAL, wanted.host.lower()}) if local else frozenset(), terms=heeded)
        app = build_app(desk, house, Limits(batch=wanted.batch, window_s=wanted.window_ms / 1e3, places=wanted.queue, deadline_s=wanted.deadline_s))
        port = listener.getsockname()[1]
        address = f"http://{f'[{wanted.host}]' if ':' in wanted.host else wanted.host}:{port}"

        class Server(uvicorn.Server):
            ended_by = 0

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                _announce(desk, address, heeded, wanted, local)

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                await super().shutdown(sockets)
                if self.force_exit:  # a second Ctrl-C: uvicorn leaves this out, and what waits for it dies with a traceback
                    await self.lifespan.shutdown()

            def handle_exit(self, sig: int, frame: Any) -> None:
                self.ended_by = sig
                super().handle_exit(sig, frame)

        server = Server(uvicorn.Config(app, http="h11", loop="asyncio", ws="none", lifespan="on", log_config=None, access_log=False, proxy_headers=False, server_header=False, timeout_graceful_shutdown=GRACE_S))
        server.run(sockets=[listener])
        if server.ended_by == signal.SIGINT:  # where a shell lets background jobs ignore it, uvicorn's own raising of it is lost
            raise KeyboardInterrupt
    finally:
        listener.close()


def _check(wanted: Wanted) -> None:
    if not 0 <= wanted.port <= 65535:
        raise LimbeckError(f"there is no port {wanted.port}", "--port", "name one from 1 to 65535, or 0 for any that is free")
    if wanted.key is not None and (not wanted.key or any(not 33 <= ord(c) <= 126 for c in wanted.key)):
        raise LimbeckError("the key is empty" if not wanted.key else "the key holds signs that a header cannot carry", "--key", "give letters and digits without spaces, or leave it out")
    if not wanted.host.strip():
        raise LimbeckError("the host is empty", "--host", "name an address of this machine: 127.0.0.1, or 0.0.0.0 for all")


def _announce(desk: Desk, address: str, heeded: Mapping[str, Any], wanted: Wanted, local: bool) -> None:
    """Where it is, what is owed, and who can reach it."""
    out = [f"serving  {desk.name}", f"page     {address}/", f"client   base_url={address}/v1  model={desk.name}"]
    out += [f"owed     {line}" for line in heeded["owed"]] + [f"accepted {a['id']} on {a['date']}" for a in heeded["accepted"]]
    sys.stdout.write("\n".join(out) + "\n")
    sys.stdout.flush()
    if not local:
        who = "needs the key, which goes over the network as it stands (no TLS here)" if wanted.key else "may ask, without a key: give --key"
        sys.stderr.write(f"note: this listens on {wanted.host}, not on this machine alone; whoever reaches it {who}\n")


def _is_local(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bind(wanted: Wanted) -> socket.socket:
    """The address taken, not yet listened on: a port in use is told before a model is loaded. Raises LimbeckError."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(wanted.host.strip("[]"), wanted.port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as problem:
        raise LimbeckError(f"there is no host {wanted.host!r}", "--host", "name an address of this machine: 127.0.0.1, or 0.0.0.0 for all") from problem
    found = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
    except OSError as problem:
        found.close()
        if problem.errno == errno.EADDRINUSE:
            raise LimbeckError(f"port {wanted.port} is in use", "--port", "name another, or 0 for any that is free") from problem
        if problem.errno == errno.EACCES:
            raise LimbeckError(f"port {wanted.port} is not for you", "--port", "take one above 1023") from problem
        raise LimbeckError(f"{wanted.host} cannot be listened on: {problem.strerror}", "--host", "name an address of this machine: 127.0.0.1, or 0.0.0.0 for all") from problem
    return found


# --- terms --------------------------------------------------------------------------------------------------------------


def heed_terms(wanted: Wanted) -> dict[str, Any]:
    """What binds the model, what is owed and what was accepted, for /v1/terms. Raises LimbeckError where serving is refused.

    What is accepted now is recorded in an expert's terms.json, as at export.
    """
    binding, student, folder = _binding_of(wanted)
    terms.gate(binding, "serve", student, [*wanted.accepted, *(a.id for a in binding.accepted)])
    said = binding.accept(wanted.accepted)
    if folder and wanted.accepted:
        try:
            terms.write_terms(folder, said)
        except OSError as problem:
            raise disk_error(problem, folder / "terms.json") from problem
    owed = terms.obligations_of(said)
    bound = [{"id": b.terms.id, "title": b.terms.title, "source": b.terms.source, "by": f"{b.origin.role} {b.origin.model}"} for b in said.bound()]
    return {"owed": owed.lines(), "displays": list(owed.displays), "notices": list(owed.notices), "accepted": [asdict(a) for a in said.accepted], "terms": bound, "mind": terms.NOT_ADVICE}


def _binding_of(wanted: Wanted) -> tuple[terms.Binding, terms.Student, Path | None]:
    """What binds an expert, as its terms.json has it, or what a model writes; whose it is; and the expert's folder."""
    model, nothing = wanted.model, terms.Binding(records=0)
    if model.startswith("panel:"):
        from limbeck.empanelling import lineage

        return nothing.join_origin("every answer", *lineage("generator", model, wanted.task)), terms.Student(name=model), None
    if model.startswith("baseline:"):
        licence = getattr(resolve.get_task(_need_task(wanted)), "licence", "")
        return nothing.join_origin("every answer", terms.origin("generator", f"people:{wanted.task}" if licence else "generator", licence or terms.OWN)), terms.Student(name=model), None
    if resolve.is_language_model(model):
        host = urlsplit(wanted.base_url or os.environ.get("OPENAI_BASE_URL", "")).hostname or "" if model.startswith("openai:") else ""
        return nothing.join_origin("every answer", *terms.lineage("generator", model, host=host)), terms.Student(family=terms.family_of(model), name=model), None
    folder = resolve.expert_folder(model)
    path = folder / "terms.json"
    if not path.exists():
        raise LimbeckError("nothing says what binds this expert", str(path), "make its run again with this version: it writes terms.json")
    binding = terms.Binding.load(path)
    return binding, terms.Student(family=family_of_expert(binding), name=folder.name), folder


# --- what is served -----------------------------------------------------------------------------------------------------


def build_desk(wanted: Wanted) -> Desk:
    """The MODEL, loaded as `ask` and `evaluate` load it, with its task's own ways. Raises LimbeckError."""
    model = wanted.model
    if not model.startswith("openai:"):
        _use_all_cores()
    name = wanted.name or short_name(model)
    named: dict[str, Any] = {"name": name, "also_named": () if model == name else (model,)}
    if resolve.is_language_model(model):
        return _speaker(wanted, named)
    if model.startswith("panel:"):
        return _panel(wanted, named)
    if model.startswith("baseline:"):
        task = resolve.get_task(_need_task(wanted))
        return Desk(answerer=resolve.get_answerer(model, task), task=task, **named, **_ways(task))
    from limbeck.asking import task_of

    kind = task_of(model, wanted.task or None)
    task = resolve.get_task(kind) if kind in resolve.TASKS else None  # a task of the user's own is asked as it stands
    expert = resolve.get_expert(model, task)  # type: ignore[arg-type]
    writes: dict[str, Any] = {"takes": frozenset(["max_tokens", "stop"]), "cuts": True} if hasattr(expert, "measure") else {}  # a decoder
    return Desk(answerer=expert, task=task, **named, **writes, **_ways(task))


def short_name(model: str) -> str:
    """What requests call a MODEL: no paths of this machine."""
    scheme, _, rest = model.partition(":")
    if scheme in ("builtin", "baseline", "openai"):
        return model
    path = Path(rest if scheme in ("hf", "panel") else model).resolve()
    inner = path.stem if scheme == "panel" else path.parent.name if path.name == "expert" else path.name
    return f"{scheme}:{inner}" if scheme in ("hf", "panel") else inner


def _need_task(wanted: Wanted) -> str:
    if not wanted.task:
        raise LimbeckError("which job is this for?", "--task", f"name one of: {', '.join(resolve.TASKS)}")
    return wanted.task


def _use_all_cores() -> None:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or resolve.count_cores()))


def _speaker(wanted: Wanted, named: dict[str, Any]) -> Desk:
    """A language model: with a task it is asked as the task poses its requests, without one it reads whole conversations."""
    model, task = wanted.model, resolve.get_task(wanted.task) if wanted.task else None
    if model.startswith("openai:"):
        asking = {"base_url": wanted.base_url, "use_cache": False, "timeout_s": wanted.deadline_s, "deadline_s": wanted.deadline_s, "retries": 2, "concurrency": max(1, wanted.batch)}
        chat = resolve.get_language_model(model, **asking)
        raw = resolve.get_language_model(model, **asking, sampling={"style": "raw"}) if task is None else None
        for one in (chat, raw) if raw is not None else (chat,):
            one.minds_change = False  # no examination: whoever serves decides what it serves
        how: dict[str, Any] = {"takes": FORWARDED, "forwards": True, "splits": False}
    else:
        chat = resolve.get_language_model(model)
        raw = copy.copy(chat)  # the same weights
        raw.sampling = replace(chat.sampling, style="raw")
        how = {"takes": frozenset(["temperature", "top_p", "max_tokens", "stop", "seed"]), "cuts": True, "draws": True}
    if task is None:
        return Desk(answerer=chat, raw=raw, reads_messages=True, **named, **how)
    tidy: Callable[[str], str] | None = None
    if task.name == "bash":
        from limbeck.tasks.bash.fitness import unwrap as tidy
    return Desk(answerer=resolve.posed(chat, task), task=task, tidy=tidy, **named, **how, **_ways(task, scored=False))


def _panel(wanted: Wanted, named: dict[str, Any]) -> Desk:
    from limbeck import empanelling

    model = wanted.model
    found = empanelling.open_panel(model)
    kind = wanted.task or found.panel.task
    if kind or found.panel.kind != "router":
        task = resolve.get_task(kind) if kind else None
        return Desk(answerer=empanelling.load_panel(model, task), task=task, **named, **_ways(task))
    jobs = {m.task: resolve.get_task(m.task) for m in found.member if m.task}
    panel = empanelling.load_panel(model)
    reads: dict[str, Any] = {"read_extra": read_extra} if "cf" in jobs else {}
    return Desk(answerer=panel, choose_task=partial(_choose, empanelling.load_route(model), jobs), describe=partial(_describe, True), check=check_request, **named, **reads)


def _choose(route: Callable[[Prompt], tuple[str, float]], jobs: Mapping[str, Any], prompt: Prompt) -> Any:
    """The task that a router sees in a request; None where nobody here has it."""
    task = jobs.get(route(prompt)[0])
    if task is not None and task.name == "cf" and "table" not in prompt.context:
        raise LimbeckError("this request is about a table, and there is none", "limbeck.table", 'give it in the extra field: {"limbeck": {"table": ...}}')
    return task


def _ways(task: Any, scored: bool = True) -> dict[str, Any]:
    """How a task's requests are checked and its answers described."""
    name = getattr(task, "name", "")
    ways: dict[str, Any] = {"describe": partial(_describe, scored)}
    if name in ("cf", "bash", "python"):
        ways["check"] = check_request
    if name == "cf":
        ways |= {"read_extra": read_extra, "needs": "table"}
    return ways


def _describe(scored: bool, job: Job, answer: Answer) -> list[dict[str, Any]]:
    """What `limbeck ask --json` says of each candidate beside its text. Nothing is run."""
    told: list[dict[str, Any]] = []
    task: Any = job.task
    scored = scored and not (job.k == 1 and hasattr(job.answerer, "measure"))  # a decoder's single greedy answer has no score
    for candidate in answer.candidates:
        out: dict[str, Any] = {"score": round(candidate.score, 4)} if scored else {}
        if task is not None and task.name == "cf":
            out["cells"] = task.marked_cells(job.prompt, candidate.text, job.notes.get("column"))
        elif task is not None and task.name == "bash":
            from limbeck.tasks.bash.explain import explain

            found = explain(candidate.text, ask_help=False)  # a utility's own --help would be a program that a request starts
            out["warnings"] = [{"level": d.level, "rule": d.rule, "text": d.text} for d in found.dangers]
            out["explanation"] = [{"text": p.text, "start": p.start, "end": p.end, "role": p.role, "depth": p.depth, "meaning": p.meaning} for p in found.parts]
        told.append(out)
    return told


# --- a table that comes with a request ----------------------------------------------------------------------------------


def read_extra(extra: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The field `limbeck` of a request about a table: what --table, --sheet, --today and --column are to `limbeck ask`. Raises LimbeckError."""
    from limbeck.asking import read_day

    wrong = next((name for name in extra if name not in EXTRA), None)
    if wrong is not None:
        raise LimbeckError(f"there is no extra field {wrong[:100]!r}", "limbeck", f"known: {', '.join(EXTRA)}")
    for name in ("sheet", "today"):
        if extra.get(name) is not None and not isinstance(extra[name], str):
            raise LimbeckError(f"{name} is no text", f"limbeck.{name}", "write it in quotes")
    table, sheet, column = extra.get("table"), extra.get("sheet"), extra.get("column")
    if table is None:
        return {}, {}
    try:
        day = read_day(extra.get("today"))
    except LimbeckError as problem:
        raise LimbeckError(problem.what, "limbeck.today", problem.fix) from problem
    try:
        found = _read_file(table.encode(), ".csv", day, None) if isinstance(table, str) else _read_object(table, day, sheet)
    except LimbeckError as problem:
        raise LimbeckError(problem.what, "limbeck.table", problem.fix) from problem
    if column is not None and (isinstance(column, bool) or not isinstance(column, int) or not 0 <= column < len(found.headers)):
        raise LimbeckError(f"there is no column {str(column)[:40]}", "limbeck.column", f"the table has columns 0 to {len(found.headers) - 1}")
    return {"table": found.to_json()}, {"column": column}


def _read_object(table: Any, day: Any, sheet: str | None) -> Any:
    if isinstance(table, Mapping) and isinstance(table.get("xlsx"), str):
        try:
            content = base64.b64decode(table["xlsx"], validate=True)
        except (binascii.Error, ValueError) as problem:
            raise LimbeckError("xlsx is no base64", "", "give the workbook's bytes in base64") from problem
        return _read_file(content, ".xlsx", day, sheet)
    if not isinstance(table, Mapping) or not isinstance(table.get("headers"), list) or not isinstance(table.get("rows"), list):
        raise LimbeckError("the table is no table", "", 'give CSV as a text, {"headers": [...], "rows": [[...]]}, or {"xlsx": BASE64}')
    rows = [table["headers"], *table["rows"]]
    if any(not isinstance(row, list) or any(not isinstance(c, str | int | float | bool | None) for c in row) for row in rows):
        raise LimbeckError("a row of the table holds something else than cells", "", "rows are lists of texts, numbers, true, false and null")
    return make_table([list(row) for row in rows], day, "")


def _read_file(content: bytes, ending: str, day: Any, sheet: str | None) -> Any:
    """A table's file as it came, read as `limbeck ask` reads files."""
    with tempfile.TemporaryDirectory(prefix="limbeck-serve-") as folder:
        path = Path(folder) / f"table{ending}"
        path.write_bytes(content)
        if ending == ".xlsx":
            _refuse_bomb(path)
        return read_table(path, day, sheet)


def _refuse_bomb(path: Path) -> None:
    """A workbook is a zip: what it unpacks to is bounded before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(i.file_size for i in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as problem:
        raise LimbeckError("this is no readable .xlsx workbook", "", "open it in a spreadsheet program and save it again") from problem
    if size > MAX_BYTES:
        raise LimbeckError(f"the workbook unpacks to {size:,} bytes", "", f"at most {MAX_BYTES:,} are read; send the part you need")
