"""A run's results as Markdown, read from its results.json and manifests: python lab/results_table.py runs/cf [--into README.md [--as NAME]].
A folder that `limbeck evaluate --out` has filled will do too.

With --into, what stands between `<!-- results NAME -->` and `<!-- end -->` of that file is replaced, NAME being the run's own unless --as says another.
"""

import json
import re
import sys
from pathlib import Path

COLUMNS = {"execution": (("top", (1, 3, 5)),), "cms": (("cms", (1, 3, 5)), ("template", (1, 3, 5)))}
NAMES = {"execution": "execution match", "cms": "command match score (cms) and equality of templates"}


def keys_of(main: str) -> list[str]:
    """The scores that a table shows."""
    columns = COLUMNS.get(main, ((main, (1, 3, 5)),))
    return [f"{name}-{rank}" for name, ranks in columns for rank in ranks] + ["valid"] + ([] if main == "execution" else ["distinct-4"])


def head(main: str, first: str = "answerer") -> str:
    keys = keys_of(main)
    return f"| {first} | parameters | {' | '.join(keys)} | missing | CPU ms / answer |\n{'|---' * (len(keys) + 4)}|\n"


def rate(score: dict) -> str:
    if score["value"] is None:
        return "-"
    if score["low"] is None:
        return f"{score['value']:.2f}"
    return f"{100 * score['value']:.1f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"


def row(members: list[dict], name: str) -> str:
    """One answerer: its interval for one seed, the range for several."""
    cells = []
    for key in keys_of(members[0].get("main", "execution")):
        scores = [s for r in members for s in r["scores"] if s["name"] == key]
        if not scores:
            cells.append("-")
        elif len(scores) == 1:
            cells.append(rate(scores[0]))
        else:
            values = [(1 if s["low"] is None else 100) * s["value"] for s in scores]
            if scores[0]["low"] is None:
                cells.append(f"{sum(values) / len(values):.2f} ({min(values):.2f}-{max(values):.2f})")
                continue
            cells.append(f"{sum(values) / len(values):.1f} ({min(values):.1f}-{max(values):.1f})")
    missing = "/".join(str(r["n"] - r["statuses"].get("scored", 0)) for r in members)
    cost = 1000 * sum(r["cpu_seconds_per_answer"] for r in members) / len(members)
    return f"| {name}{f', {len(members)} seeds' if len(members) > 1 else ''} | {members[0]['parameters'] or 0:,} | {' | '.join(cells)} | {missing} | {cost:.1f} |\n"


def table(run: Path) -> str:
    results = json.loads((run / "results.json").read_text())
    manifests = [json.loads(p.read_text()) for p in run.glob("**/manifest.json")]
    newest = max(manifests, key=lambda m: m["finished"])
    out, main = "", results["scores"][0].get("main", "execution")
    for split in results["splits"]:
        rows = [r for r in results["scores"] if r["split"] == split]
        out += f"`{split}`, n = {rows[0]['n']}, {NAMES.get(main, main)} in % [95 % interval] (range of seeds):\n\n{head(main)}"
        for group, members in results["groups"].items():
            found = [r for r in rows if r["answerer"] in members]
            out += row(found, group) if found else ""
        out += "\n"
    headline = results["headline"] or {}
    for split, (value, low, high, n) in headline.get("retention", {}).items():
        out += f"- retains {100 * value:.1f} % [{100 * low:.1f}-{100 * high:.1f}] of the teacher's top-1 on `{split}` (n = {n})\n"
    ratios = [f"{headline[key]:.1f} times {word}" for key, word in (("size_ratio", "smaller"), ("speed_ratio", "faster")) if headline.get(key)]  # a served teacher has neither
    out += f"- {', '.join(ratios)}\n" if ratios else ""
    for c in results["comparisons"]:
        if c["measure"].endswith(("-1", "-5") if main != "execution" else "-1") and c["b"] not in ("teacher", "majority"):
            out += f"- {c['a']} minus {c['b']} on `{c['split']}`, {c['measure'] if main == 'execution' or not c['measure'].startswith('top') else c['measure'].replace('top', main)}: {100 * c['difference']:+.1f} points [{100 * c['difference_low']:+.1f} to {100 * c['difference_high']:+.1f}]\n"
    for name, way in results.get("ways", {}).items():
        out += f"- {name} answers with {way or 'its own settings'}\n"
    for name, cost in results.get("footprints", {}).items():
        out += f"- {name}, one request at a time: " + ", ".join(f"{r['latency_ms']:.0f} ms with {r['threads']} thread{'s' if r['threads'] > 1 else ''}" for r in cost["runs"]) + f"; {cost['file_bytes'] / 1e6:.1f} MB on disk\n"
    return out + f"\n{newest['hardware']['cpu']}, {newest['hardware']['cores']} cores, {newest['finished'][:10]}.\n"


def examinations(folder: Path) -> str:
    """A folder of `limbeck evaluate --out`: one row a split."""
    found = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    return head(found[0].get("main", "execution"), f"{found[0]['answerer']} on") + "".join(row([r], f"`{r['split']}`, n = {r['n']}") for r in found)


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
