"""A teacher that fails on a fifth of its calls, a run that is killed three times, a disk that fills up: what is lost, what is paid twice.

    python benchmarks/ask_faults.py [--records 10000] [--remembers] [--disk tmpfs|pages|none] [--json]

The same records are first asked of a server without faults. Then the faulty one (tests/faulty_server.py): the asking process gets
SIGKILL at 20, 45 and 75 % of the answers, and no more room on disk at about 60 % (a small tmpfs of its own where root can mount one,
else a limit on the pages of the file). Compared: the hash over ordered (id, texts), the states, and the server's own count of what it would bill.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

SERVER = Path(__file__).resolve().parents[1] / "tests" / "faulty_server.py"
DRAWS, TIMEOUT_S, SEED = 2, 1.0, 5
KILLS = (0.20, 0.45, 0.75)
ROOM = 0.1  # of all answers fit on the disk that fills up
ROW_BYTES = 700


def ask(url: str, path: Path, records: int, out: Path, more_bytes: int) -> None:
    """The process that is killed: asks everything, writes what came."""
    from limbeck.errors import LimbeckError
    from limbeck.records import Prompt
    from limbeck.teachers.endpoint import Endpoint, Sampling
    from limbeck.teachers.ledger import Ledger

    prompts = [Prompt(id=str(number), text=f"Question number {number}: what follows from {number} and {number * 7 % 1000}?") for number in range(records)]
    ledger = Ledger(path)
    if more_bytes:
        pages, size = (ledger._file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        ledger._file.execute(f"PRAGMA max_page_count={pages + more_bytes // size}")
    try:
        endpoint = Endpoint(
            "m", url, sampling=Sampling(temperature=0.7, seed=SEED, max_tokens=64), concurrency=64, timeout_s=TIMEOUT_S, retries=12, ledger=ledger, run="r", price_usd=(1.0, 2.0),
        )  # fmt: skip
        answers = endpoint.answer(prompts, k=DRAWS)
    except LimbeckError as problem:
        sys.stderr.write(f"{problem}\n")
        raise SystemExit(2) from problem
    digest = hashlib.sha256()
    for prompt, answer in zip(prompts, answers, strict=True):
        digest.update(json.dumps([prompt.id, [c.text for c in answer.candidates]]).encode())
    used = resource.getrusage(resource.RUSAGE_SELF)
    out.write_text(json.dumps({"hash": digest.hexdigest(), "statuses": Counter(a.status for a in answers), "accounts": endpoint.accounts(), "cpu_s": used.ru_utime + used.ru_stime}))


@contextmanager
def served(*arguments: str) -> Any:
    """A server in a process of its own: its address without /v1."""
    process = subprocess.Popen([sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def start(url: str, ledger: Path, records: int, out: Path, more_bytes: int = 0) -> subprocess.Popen[str]:
    """The asking process; `more_bytes` is how much its ledger may still grow, 0 for no end."""
    return subprocess.Popen([sys.executable, __file__, "--ask", url + "/v1", str(ledger), str(records), str(out), str(more_bytes)], stderr=subprocess.PIPE, text=True)


def rows_in(ledger: Path) -> int:
    """Draws that the ledger holds."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5)) as file:
        return file.execute("SELECT count(*) FROM calls").fetchone()[0]
    return 0


def kill_at(process: subprocess.Popen[str], ledger: Path, rows: int) -> int:
    """SIGKILL once the ledger holds so many draws; how many it holds then."""
    while process.poll() is None and rows_in(ledger) < rows:
        time.sleep(0.01)
    if process.poll() is not None:
        raise SystemExit(f"ended before it was killed: {process.stderr.read() if process.stderr else ''}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return rows_in(ledger)


def mounts(folder: Path, size: int, again: bool = False) -> bool:
    """Whether a tmpfs of that size is (now) at the folder."""
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"{'remount,' if again else ''}size={size}", "tmpfs", str(folder)], capture_output=True).returncode == 0


def fill_disk(url: str, ledger: Path, records: int, out: Path, disk: str) -> str:
    """The asking process on a disk with little room left; what it said when it ended."""
    room = int(ROOM * records * DRAWS * ROW_BYTES)
    if disk == "tmpfs":
        mounts(ledger.parent, sum(p.stat().st_size for p in ledger.parent.iterdir()) + room, again=True)
        process = start(url, ledger, records, out)
    else:
        process = start(url, ledger, records, out, room)
    _, said = process.communicate(timeout=600)
    if disk == "tmpfs":
        mounts(ledger.parent, 2**30, again=True)
    if process.returncode != 2:
        raise SystemExit(f"the full disk was not noticed (exit {process.returncode}): {said[-500:]}")
    return said.splitlines()[0]


def endure(url: str, folder: Path, records: int, disk: str) -> dict[str, Any]:
    """Three kills and a full disk, then to the end."""
    ledger, out = folder / "ledger.sqlite", folder.parent / "faulty.json"
    wanted, found = records * DRAWS, {"killed_at": [], "disk": disk}
    for share in KILLS[:2]:
        found["killed_at"].append(kill_at(start(url, ledger, records, out), ledger, int(share * wanted)))
    if disk != "none":
        found["full_disk_said"], found["full_disk_at"] = fill_disk(url, ledger, records, out, disk), rows_in(ledger)
    found["killed_at"].append(kill_at(start(url, ledger, records, out), ledger, int(KILLS[2] * wanted)))
    process = start(url, ledger, records, out)
    _, said = process.communicate(timeout=3600)
    if process.returncode:
        raise SystemExit(said)
    counts = json.loads(urllib.request.urlopen(url + "/counts").read())
    with closing(sqlite3.connect(ledger)) as file:
        kept = file.execute("SELECT text, time FROM calls").fetchall()
    return found | json.loads(out.read_text()) | weigh(counts, {text.split()[0]: at for text, at in kept})


def weigh(counts: dict[str, Any], kept: dict[str, float]) -> dict[str, Any]:
    """The server's bill against what was kept: `kept` maps a choice to the moment it was."""
    twice = {name: count - 1 for name, count in counts["billed"].items() if count > 1}
    made = Counter(counts["billed"]) + Counter(counts["spoilt"])
    return {
        "requests": counts["requests"], "faults": {name: count for name, count in sorted(counts["happened"].items()) if name != "none"},
        "billed": sum(counts["billed"].values()), "billed_twice": sum(twice.values()), "made_but_damaged": sum(counts["spoilt"].values()), "made_twice": sum(count - 1 for count in made.values()),
        "asked_after_kept": sum(at > kept[name] for name, times in counts["arrivals"].items() if name in kept for at in times), "billed_never_kept": sum(name not in kept for name in counts["billed"]),
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--ask"]:
        ask(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]), int(sys.argv[6]))
        return
    reads = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    reads.add_argument("--records", type=int, default=10_000)
    reads.add_argument("--seed", type=int, default=1)
    reads.add_argument("--remembers", action="store_true", help="the server knows Idempotency-Key")
    reads.add_argument("--disk", choices=("tmpfs", "pages", "none"), default="tmpfs" if os.geteuid() == 0 else "pages")
    reads.add_argument("--json", action="store_true")
    asked = reads.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "disk"
        folder.mkdir()
        disk = asked.disk if asked.disk != "tmpfs" or mounts(folder, 2**30) else "pages"
        try:
            with served("--share", "0") as url:
                process = start(url, Path(name) / "plain.sqlite", asked.records, Path(name) / "plain.json")
                if process.communicate(timeout=3600)[1]:
                    raise SystemExit("the run without faults failed")
            plain = json.loads((Path(name) / "plain.json").read_text())
            began = time.perf_counter()
            with served("--seed", str(asked.seed), "--stall", str(3 * TIMEOUT_S), *(["--remembers"] if asked.remembers else [])) as url:
                faulty = endure(url, folder, asked.records, disk)
        finally:
            if disk == "tmpfs":
                subprocess.run(["umount", "--lazy", str(folder)])
    found = {"records": asked.records, "draws": DRAWS, "remembers": asked.remembers, "same_hash": plain["hash"] == faulty["hash"], "seconds": round(time.perf_counter() - began, 1), "plain": plain, "faulty": faulty}
    print(json.dumps(found, indent=None if asked.json else 1))


if __name__ == "__main__":
    main()
