"""Print a run's results.json as a Markdown table: python lab/results_table.py runs/cf"""

import json
import sys
from pathlib import Path


def rate(score: dict) -> str:
    if score["value"] is None:
        return "-"
    return f"{100 * score['value']:.1f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"


def main(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    manifests = [json.loads(p.read_text()) for p in run.glob("**/manifest.json")]
    newest = max(manifests, key=lambda m: m["finished"])
    out = sys.stdout.write
    for split in results["splits"]:
        rows = [r for r in results["scores"] if r["split"] == split]
        out(f"`{split}`, n = {rows[0]['n']}, execution match in % [95 %]:\n\n| answerer | parameters | top-1 | top-3 | top-5 | valid | missing | CPU ms / answer |\n|---|---|---|---|---|---|---|---|\n")
        for r in rows:
            named = {s["name"]: s for s in r["scores"]}
            cells = " | ".join(rate(named[k]) for k in ("top-1", "top-3", "top-5", "valid"))
            out(f"| {r['answerer']} | {r['parameters'] or 0:,} | {cells} | {r['n'] - r['statuses'].get('scored', 0)} | {1000 * r['cpu_seconds_per_answer']:.1f} |\n")
        out("\n")
    for split, (value, low, high, n) in results["headline"].get("retention", {}).items():
        out(f"- retains {100 * value:.1f} % [{100 * low:.1f}-{100 * high:.1f}] of the teacher's top-1 on `{split}` (n = {n})\n")
    if results["headline"]:
        out(f"- {results['headline']['size_ratio']:.1f} times smaller, {results['headline']['speed_ratio']:.1f} times faster\n")
    for c in results["comparisons"]:
        if c["measure"] == "top-1" and c["b"] not in ("teacher", "majority"):
            out(f"- {c['a']} minus {c['b']} on `{c['split']}`: {100 * c['difference']:+.1f} points [{100 * c['difference_low']:+.1f} to {100 * c['difference_high']:+.1f}]\n")
    seconds = sum(m["seconds"] for m in manifests)
    out(f"\n{newest['hardware']['cpu']}, {newest['hardware']['cores']} cores, {newest['finished'][:10]}; {seconds:.0f} s over all steps.\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
