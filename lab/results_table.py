"""A run's results as Markdown, read from its results.json and manifests: python lab/results_table.py runs/cf [--into README.md [--as NAME]].
A folder that `limbeck evaluate --out` has filled will do too.

With --into, what stands between `<!-- results NAME -->` and `<!-- end -->` of that file is replaced, NAME being the run's own unless --as says another.
"""

import json
import re
import sys
from pathlib import Path

HEAD = "| answerer | parameters | top-1 | top-3 | top-5 | valid | missing | CPU ms / answer |\n|---|---|---|---|---|---|---|---|\n"


def rate(score: dict) -> str:
    if score["value"] is None:
        return "-"
    return f"{100 * score['value']:.1f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"


def row(members: list[dict], name: str) -> str:
    """One answerer: its interval for one seed, the range for several."""
    cells = []
    for key in ("top-1", "top-3", "top-5", "valid"):
        scores = [next(s for s in r["scores"] if s["name"] == key) for r in members]
        if len(scores) == 1:
            cells.append(rate(scores[0]))
        else:
            values = [100 * s["value"] for s in scores]
            cells.append(f"{sum(values) / len(values):.1f} ({min(values):.1f}-{max(values):.1f})")
    missing = "/".join(str(r["n"] - r["statuses"].get("scored", 0)) for r in members)
    cost = 1000 * sum(r["cpu_seconds_per_answer"] for r in members) / len(members)
    return f"| {name}{f', {len(members)} seeds' if len(members) > 1 else ''} | {members[0]['parameters'] or 0:,} | {' | '.join(cells)} | {missing} | {cost:.1f} |\n"


def table(run: Path) -> str:
    results = json.loads((run / "results.json").read_text())
    manifests = [json.loads(p.read_text()) for p in run.glob("**/manifest.json")]
    newest = max(manifests, key=lambda m: m["finished"])
    out = ""
    for split in results["splits"]:
        rows = [r for r in results["scores"] if r["split"] == split]
        out += f"`{split}`, n = {rows[0]['n']}, execution match in % [95 % interval] (range of seeds):\n\n{HEAD}"
        for group, members in results["groups"].items():
            found = [r for r in rows if r["answerer"] in members]
            out += row(found, group) if found else ""
        out += "\n"
    headline = results["headline"] or {}
    for split, (value, low, high, n) in headline.get("retention", {}).items():
        out += f"- retains {100 * value:.1f} % [{100 * low:.1f}-{100 * high:.1f}] of the teacher's top-1 on `{split}` (n = {n})\n"
    if headline:
        out += f"- {headline['size_ratio']:.1f} times smaller, {headline['speed_ratio']:.1f} times faster\n"
    for c in results["comparisons"]:
        if c["measure"] == "top-1" and c["b"] not in ("teacher", "majority"):
            out += f"- {c['a']} minus {c['b']} on `{c['split']}`: {100 * c['difference']:+.1f} points [{100 * c['difference_low']:+.1f} to {100 * c['difference_high']:+.1f}]\n"
    return out + f"\n{newest['hardware']['cpu']}, {newest['hardware']['cores']} cores, {newest['finished'][:10]}.\n"


def examinations(folder: Path) -> str:
    """A folder of `limbeck evaluate --out`: one row a split."""
    found = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    return HEAD.replace("answerer", f"{found[0]['answerer']} on") + "".join(row([r], f"`{r['split']}`, n = {r['n']}") for r in found)


def main(arguments: list[str]) -> None:
    run = Path(arguments[0])
    is_run = (run / "results.json").exists()
    text = table(run) if is_run else examinations(run)
    if "--into" not in arguments:
        sys.stdout.write(text)
        return
    file, name = Path(arguments[arguments.index("--into") + 1]), json.loads((run / "results.json").read_text())["name"] if is_run else run.name
    name = arguments[arguments.index("--as") + 1] if "--as" in arguments else name
    before = file.read_text()
    after = re.sub(rf"(<!-- results {name} -->\n).*?(<!-- end -->)", lambda found: found.group(1) + "\n" + text + "\n" + found.group(2), before, flags=re.DOTALL)
    if after == before and text not in before:
        raise SystemExit(f"{file} has no place for the results of {name}")
    file.write_text(after)


if __name__ == "__main__":
    main(sys.argv[1:])
