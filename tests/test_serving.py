"""`limbeck serve` from the command line: an expert end to end, its terms, what is wrong before it listens, and how it ends."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from limbeck import resolve, serving
from limbeck.catalog import terms
from limbeck.errors import LimbeckError
from limbeck.records import Origin
from limbeck.serving import Wanted, build_desk, heed_terms, read_extra, short_name
from limbeck.testing import make_tiny_model

CSV = "Rep,Region,Sales,Target\nAnn,North,1200,1000\nBob,South,900,1000\nCy,North,400,500\nDi,West,2500,2000\n"
WISH = "reps who missed their target"


def start(*arguments, cwd, **more):
    """A server as a user starts it; gives the process and its address."""
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731  as in a shell's background: Ctrl-C must work all the same
    process = subprocess.Popen([sys.executable, "-m", "limbeck", "serve", *arguments, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=heed, **more)
    told = []
    for line in process.stdout:
        told.append(line)
        if line.startswith("client"):
            return process, re.search(r"base_url=(\S+)", line)[1].removesuffix("/v1"), "".join(told)
    raise AssertionError(process.stderr.read())


def end(process, sign=signal.SIGINT):
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def post(address, body, path="/v1/chat/completions", **headers):
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read())


def asking(text=WISH, model="builtin:cf", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_an_expert_answers_over_http_as_it_does_at_the_command_line(tmp_path):
    (tmp_path / "sales.csv").write_text(CSV)
    asked = subprocess.run([sys.executable, "-m", "limbeck", "ask", "builtin:cf", "--table", "sales.csv", WISH, "-k", "3", "--json"], capture_output=True, text=True, cwd=tmp_path, check=True)
    wanted = json.loads(asked.stdout)["answers"]
    process, address, told = start("builtin:cf", "--key", "k1", cwd=tmp_path)
    key = {"Authorization": "Bearer k1"}
    try:
        assert "serving  builtin:cf" in told
        status, said = post(address, asking(n=3, limbeck={"table": CSV}), **key)
        found = [{"rank": c["index"] + 1, "text": c["message"]["content"], **c["limbeck"]} for c in said["choices"]]
        assert status == 200 and found == wanted and len(found) == 3
        rows = [line.split(",") for line in CSV.split()]
        cells = [[int(c) if c.isdigit() else c for c in row] for row in rows[1:]]
        assert [c["limbeck"]["cells"] for c in post(address, asking(n=3, limbeck={"table": {"headers": rows[0], "rows": cells}, "column": 0}), **key)[1]["choices"]] == [[[r, 0] for r, _ in w["cells"]] for w in wanted]
        for body, code, param in (
            (asking(), "missing_parameter", "limbeck.table"), (asking(limbeck={"table": "a\n"}), "invalid_value", "limbeck"), (asking(limbeck={"tabel": CSV}), "invalid_value", "limbeck"),
            (asking(limbeck={"table": CSV, "column": 9}), "invalid_value", "limbeck"), (asking("x" * 2001, limbeck={"table": CSV}), "context_length_exceeded", "messages"),
            (asking("resalta las filas con ventas mayores que la media", limbeck={"table": CSV}), "invalid_value", "messages"), (asking(temperature=0.7, limbeck={"table": CSV}), "unsupported_parameter", "temperature"),
        ):  # fmt: skip
            status, said = post(address, body, **key)
            assert status == 400 and said["error"]["code"] == code and said["error"]["param"] == param, said
        assert post(address, asking())[0] == 401
    finally:
        code, errors = end(process)
    assert code == 130 and "Traceback" not in errors and errors.strip().splitlines()[-1].startswith("interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_who_listens_beyond_this_machine_is_warned(tmp_path):
    process, _, _ = start("builtin:cf", "--host", "0.0.0.0", cwd=tmp_path)
    code, errors = end(process)
    assert code == 130 and "note: this listens on 0.0.0.0" in errors and "--key" in errors


@pytest.fixture
def taken():
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        yield used.getsockname()[1]


@pytest.mark.parametrize("more, what", [
    ({"port": 70_000}, "no port 70000"), ({"port": -1}, "no port -1"), ({"key": ""}, "key is empty"), ({"key": "a b"}, "header cannot carry"), ({"host": " "}, "host is empty"), ({"host": "no.such.host.invalid"}, "no host"),
    ({"host": "203.0.113.7"}, "cannot be listened on"), ({"model": "builtin:nothing"}, "no builtin called"), ({"model": "no/such/model"}, "no model"), ({"model": "baseline:nearest"}, "which job"), ({"model": "panel:none.toml"}, "cannot be read"),
    ({"model": "openai:m"}, "unknown"), ({"accepted": ("nonsense",)}, "no terms called"), ({"model": "openai:llama-3.1-8b", "base_url": "", "accepted": ()}, "no server is named"),
])  # fmt: skip
def test_what_is_wrong_is_said_before_anything_listens(more, what, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LimbeckError) as refused:
        serving.serve(Wanted(**{"model": "builtin:cf", "port": 0, **more}))
    assert what in str(refused.value) and refused.value.where and refused.value.fix


def test_a_port_in_use_is_three_lines_before_a_model_is_loaded(taken, monkeypatch):
    monkeypatch.setattr(serving, "build_desk", lambda wanted: pytest.fail("loaded"))
    with pytest.raises(LimbeckError, match=f"port {taken} is in use"):
        serving.serve(Wanted(model="builtin:cf", port=taken))


def test_without_the_library_the_pip_command_is_told():
    code = "import sys; sys.modules['uvicorn'] = None\nfrom limbeck.cli import main\nmain(['serve', 'builtin:cf'])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 2 and len(out.stderr.splitlines()) == 3 and "pip install 'limbeck[serve]'" in out.stderr


# --- terms ----------------------------------------------------------------------------------------------------------------


def expert_under(folder, *ids):
    """A copy of the builtin expert that learnt from teachers under these terms."""
    target = folder / "expert-of-mine"
    shutil.copytree(resolve.builtin_folder("cf"), target)
    (target / "terms.json").unlink()
    records = [(f"r{n}", (Origin(role="generator", model=f"openai:teacher-{name}", terms=name),)) for n, name in enumerate(ids)]
    terms.write_terms(target, terms.join(records))
    return target


@pytest.mark.parametrize("name", ["unknown", "openai", "exaone-nc", "hosted"])
def test_terms_that_are_unknown_or_forbid_refuse_and_name_the_record(tmp_path, name):
    expert = expert_under(tmp_path, "mit", name)
    with pytest.raises(LimbeckError) as refused:
        serving.serve(Wanted(model=str(expert), port=0))
    assert f"terms {name}" in refused.value.what and "stop this serving" in refused.value.what and f"record r1: generator openai:teacher-{name}" in refused.value.where and f"--accept-terms {name}" in refused.value.fix


def test_accepting_is_recorded_with_its_date_and_holds_the_next_time(tmp_path):
    expert = expert_under(tmp_path, "openai")
    told = heed_terms(Wanted(model=str(expert), accepted=("openai",)))
    kept = json.loads((expert / "terms.json").read_text())["accepted"]
    assert [a["id"] for a in kept] == ["openai"] and re.fullmatch(r"\d{4}-\d\d-\d\d", kept[0]["date"]) and told["accepted"] == kept
    assert heed_terms(Wanted(model=str(expert)))["accepted"] == kept, "it need not be said again"


def test_an_expert_without_terms_is_refused(tmp_path):
    expert = expert_under(tmp_path, "mit")
    (expert / "terms.json").unlink()
    with pytest.raises(LimbeckError, match="nothing says what binds"):
        heed_terms(Wanted(model=str(expert)))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_what_is_owed_is_printed_and_shown_on_the_page_and_at_v1_terms(tmp_path):
    process, address, _ = start(str(expert_under(tmp_path, "llama-3.1")), cwd=tmp_path)
    try:
        owed = process.stdout.readline()
        assert owed.startswith("owed") and "Llama" in owed
        with urllib.request.urlopen(address + "/v1/terms", timeout=60) as reply:
            said = json.loads(reply.read())
        assert said["displays"] == ["Built with Llama"] and said["terms"][0]["id"] == "llama-3.1" and said["owed"] and said["model"] == "expert-of-mine"
        with urllib.request.urlopen(address + "/", timeout=60) as reply:
            assert "Built with Llama" in reply.read().decode()
    finally:
        code, _ = end(process, signal.SIGTERM)
    assert code == -signal.SIGTERM


@pytest.mark.parametrize("model, base_url, passes", [
    ("openai:llama-3.1-8b-instruct", "http://127.0.0.1:9/v1", True), ("openai:Meta-Llama-3-8B", "http://127.0.0.1:9/v1", True), ("openai:my-model", "http://127.0.0.1:9/v1", False), ("openai:llama-3.1-8b-instruct", "https://api.elsewhere.com/v1", False),
    ("builtin:smollm2-135m", "", True), ("builtin:bash", "", True), ("builtin:python", "", True), ("hf:/models/who-knows", "", False),
])  # fmt: skip
def test_what_a_model_writes_is_gated_by_its_name_and_its_server(model, base_url, passes):
    if passes:
        assert heed_terms(Wanted(model=model, base_url=base_url))["terms"]
    else:
        with pytest.raises(LimbeckError, match="stop this serving"):
            heed_terms(Wanted(model=model, base_url=base_url))


def test_a_panel_is_under_the_terms_of_all_its_members(tmp_path):
    expert = expert_under(tmp_path, "openai")
    (tmp_path / "p.toml").write_text(f'[panel]\nkind = "vote"\ntask = "cf"\n[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "{expert}"\n')
    with pytest.raises(LimbeckError, match="terms openai"):
        heed_terms(Wanted(model=f"panel:{tmp_path / 'p.toml'}"))


# --- what a MODEL takes ---------------------------------------------------------------------------------------------------


def job_of(desk, **more):
    from limbeck.serve.requests import read_asked

    body = {"model": desk.name, "messages": [{"role": "user", "content": "list the files"}], **more}
    return desk.job(read_asked("chat", body, names=desk.names, takes=desk.takes, most=desk.most)[0])


def test_bash_commands_come_with_warnings_and_nothing_is_run():
    desk = build_desk(Wanted(model="builtin:bash"))
    job, _ = job_of(desk, messages=[{"role": "user", "content": "delete all files in the current folder"}])
    told = desk.work([job])[0]
    assert told.answer.candidates and told.beside[0].keys() == {"score", "warnings", "explanation"}


def test_weights_on_this_machine_take_settings_count_tokens_and_say_how_they_ended(tmp_path):
    model = make_tiny_model(tmp_path / "tiny", ["one two three four five"])
    desk = build_desk(Wanted(model=f"hf:{model}"))
    assert desk.name == "hf:tiny" and "temperature" in desk.takes and desk.reads_messages
    job, _ = job_of(desk, max_tokens=4, temperature=1.0, n=3)
    told = desk.work([job])[0].answer
    assert 0 < told.meta["tokens"]["completion"] == told.meta["tokens"]["all"] <= 12 and len(told.meta["finish"]) == len(told.candidates)
    (one, _), (two, _) = job_of(desk, max_tokens=4, temperature=1.0, seed=5), job_of(desk, max_tokens=4, temperature=1.0, seed=5)
    assert [c.text for c in desk.work([one])[0].answer.candidates] == [c.text for c in desk.work([two])[0].answer.candidates], "a seed is a seed"
    assert job_of(desk, seed=5)[1] != job_of(desk, seed=5)[1], "and is answered alone"
    long, _ = job_of(desk, messages=[{"role": "user", "content": "one two three " * 2000}])
    assert desk.work([long])[0].code == "context_length_exceeded"


def test_a_server_of_others_gets_what_was_asked_and_its_counts_come_back():
    from test_serve import Straw, served

    upstream = Straw()
    with served(upstream, takes=serving.FORWARDED, forwards=True, reads_messages=True) as (port, _, _):
        desk = build_desk(Wanted(model="openai:straw", base_url=f"http://127.0.0.1:{port}/v1"))
        talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "count"}]
        job, _ = job_of(desk, messages=talk, temperature=0.3, stop=["z"], seed=1, max_completion_tokens=9)
        told = desk.work([job])[0].answer
        assert told.candidates[0].text == "tnuoc" and told.meta["tokens"] == {"prompt": 3, "completion": 5}
        assert upstream.prompts[0].context == {"messages": talk, "sampling": {"temperature": 0.3, "stop": ["z"], "seed": 1, "max_completion_tokens": 9}}
        job, _ = job_of(desk)
        desk.work([job])
        assert upstream.prompts[1].context["sampling"] == {}, "what nobody asked for is left to that server"
        job, _ = job_of(desk, messages=[{"role": "user", "content": "fail"}])
        assert desk.work([job])[0].answer.status == "failed"


@pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")
def test_a_router_panel_finds_the_task_of_each_request(tmp_path):
    (tmp_path / "r.toml").write_text('[panel]\nkind = "router"\nrouter = "r.safetensors"\n[[member]]\nmodel = "builtin:cf"\ntask = "cf"\n[[member]]\nmodel = "builtin:bash"\ntask = "bash"\n')
    from limbeck.seating import make_router

    make_router(str(tmp_path / "r.toml"), None, count=150, accuracy=0.9, as_json=True)
    desk = build_desk(Wanted(model=f"panel:{tmp_path / 'r.toml'}"))
    command, _ = job_of(desk, messages=[{"role": "user", "content": "find files larger than 1 GB in my home directory"}])
    rule, _ = job_of(desk, messages=[{"role": "user", "content": WISH}], limbeck={"table": CSV})
    assert command.task.name == "bash" and rule.task.name == "cf"
    told = desk.work([command, rule])
    assert "explanation" in told[0].beside[0] and "cells" in told[1].beside[0]


def test_short_names_show_no_paths_of_this_machine(tmp_path):
    (tmp_path / "run" / "expert").mkdir(parents=True)
    assert [short_name(m) for m in ("builtin:cf", "openai:m", f"hf:{tmp_path}/run", str(tmp_path / "run" / "expert"), f"panel:{tmp_path}/p.toml")] == ["builtin:cf", "openai:m", "hf:run", "run", "panel:p"]


# --- tables ---------------------------------------------------------------------------------------------------------------


def test_a_workbook_comes_as_base64(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("Rep", "Sales"), ("Ann", 5)):
        book.worksheets[0].append(row)
    book.save(tmp_path / "t.xlsx")
    content = base64.b64encode((tmp_path / "t.xlsx").read_bytes()).decode()
    context, notes = read_extra({"table": {"xlsx": content}, "today": "2026-01-31", "column": 1})
    assert context["table"] == {"headers": ["Rep", "Sales"], "rows": [["Ann", 5]], "today": "2026-01-31"} and notes == {"column": 1}
    with pytest.raises(LimbeckError, match="no sheet"):
        read_extra({"table": {"xlsx": content}, "sheet": "nope"})


@pytest.mark.parametrize("extra, what", [
    ({"table": 5}, "no table"), ({"table": {"headers": ["a"], "rows": [5]}}, "something else than cells"), ({"table": {"headers": ["a"], "rows": [[{}]]}}, "something else than cells"), ({"table": {"headers": [], "rows": []}}, "empty"),
    ({"table": {"headers": ["a"], "rows": []}}, "no rows"), ({"table": {"headers": ["a"], "rows": [["x", "y"]]}}, "2 cells"), ({"table": {"xlsx": "!!"}}, "base64"), ({"table": {"xlsx": "aGVsbG8="}}, "no readable"),
    ({"table": CSV, "today": "tomorrow"}, "no date"), ({"table": CSV, "today": 5}, "no text"), ({"table": CSV, "column": "1"}, "no column"), ({"path": "/etc/passwd"}, "no extra field"),
])  # fmt: skip
def test_a_table_that_is_none_is_refused_without_naming_files_of_this_machine(extra, what):
    with pytest.raises(LimbeckError) as refused:
        read_extra(extra)
    assert what in refused.value.what and refused.value.where.startswith("limbeck") and "/tmp" not in str(refused.value)


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b"0" * 3_000_000)
    monkeypatch.setattr(serving, "MAX_BYTES", 1_000_000)
    began = time.monotonic()
    with pytest.raises(LimbeckError, match="unpacks to"):
        read_extra({"table": {"xlsx": base64.b64encode((tmp_path / "b.xlsx").read_bytes()).decode()}})
    assert time.monotonic() - began < 20
