"""Pictures of examinations as SVG: by family, reliability, score against size and against price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair

from limbeck.catalog.facts import load_claims
from limbeck.errors import LimbeckError
from limbeck.report.figures import COLOURS, INK, to_svg
from limbeck.report.sizes import official_frontier, place_labels, scores_of, size_figure

BENCHMARKS = {"medec": "medec", "mmlu": "MMLU", "mgsm": "MGSM", "gsm8k": "GSM8K", "arc": "ARC-Challenge", "gpqa": "GPQA", "ifeval": "IFEval", "humaneval": "HumanEval", "nexus": "Nexus"}
KINDS = ("scores", "families", "reliability", "sizes", "prices")
MOST_FAMILIES = 60
BINS = 10


def draw(kind: str, results: Sequence[dict[str, Any]], benchmark: str | None = None, setting: str | None = None) -> str:
    """One figure of these results. Raises LimbeckError where they hold nothing to draw."""
    if kind not in KINDS:
        raise LimbeckError(f"there is no figure {kind!r}", "--kind", f"one of: {', '.join(KINDS)}")
    if kind in ("sizes", "prices"):
        named = benchmark or BENCHMARKS.get(results[0]["task"])
        if not named:
            raise LimbeckError(f"the catalogue has no published scores of {results[0]['task']}", "--benchmark", f"tasks with some: {', '.join(BENCHMARKS)}")
        return size_figure(named, setting, ours_by_size(results))[0] if kind == "sizes" else price_figure(named, setting, ours_by_price(results))
    drawn = {"scores": score_bars, "families": family_bars, "reliability": reliability}[kind](results)
    if not drawn:
        raise LimbeckError(f"these results hold nothing for the figure {kind!r}", "--kind", "families need examples of several kinds, reliability an answerer that gives probabilities")
    return drawn


def main_score(result: dict[str, Any]) -> dict[str, Any] | None:
    """The deciding score with missing answers counted as wrong: what is compared with published ones."""
    named = {s["name"]: s for s in result["scores"]}
    label = {"execution": "top-1"}.get(result["main"], result["main"])
    found = next((named[n] for n in (f"{label} (missing wrong)", f"{label}-1 (missing wrong)", label, f"{label}-1") if n in named), None)
    return found if found and found["value"] is not None and found["low"] is not None else None


def _rows(result: dict[str, Any], score: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"who": result["answerer"], "value": 100 * score["value"], "low": 100 * score["low"], "high": 100 * score["high"], "n": score["n"], **more}


def _bars(rows: list[dict[str, Any]], label: str, title: str, width: int = 330) -> str:
    """Horizontal bars with intervals, a row a `label`, a colour an answerer."""
    whos = list(dict.fromkeys(r["who"] for r in rows))
    base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y(f"{label}:N", sort=list(dict.fromkeys(r[label] for r in rows)), title=None, axis=altair.Axis(labelLimit=230)), yOffset=altair.YOffset("who:N", sort=whos))
    colour = altair.Color("who:N", sort=whos, title=None, scale=altair.Scale(range=COLOURS), legend=altair.Legend(columns=2) if len(whos) > 1 else None)
    bars = base.mark_bar(height=8).encode(x=altair.X("value:Q", title=title, scale=altair.Scale(domain=[0, 100])), color=colour)
    rules = base.mark_rule(color=INK, strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    return to_svg((bars + rules).properties(width=width, height=altair.Step(14)))


def score_bars(results: Sequence[dict[str, Any]]) -> str:
    """Every score that has an interval, except those of families."""
    rows = [_rows(r, s, name=s["name"]) for r in results for s in r["scores"] if s["value"] is not None and s["low"] is not None and s["low"] >= 0 and "/" not in s["name"]]  # a correlation is no share: not drawn
    return _bars(rows, "name", "%, with 95 % intervals") if rows else ""


def family_bars(results: Sequence[dict[str, Any]]) -> str:
    """Scores by family: those the task itself gives (recall/diagnosis), else the deciding measure of the trials."""
    rows = [_rows(r, s, name=s["name"].replace("/", ": ", 1)) for r in results for s in r["scores"] if "/" in s["name"] and s["value"] is not None and s["low"] is not None]
    if not rows:
        rows = [row for r in results for row in _family_rows(r)]
    return _bars(rows, "name", "%, answered only, with 95 % intervals") if 2 <= len({r["name"] for r in rows}) <= MOST_FAMILIES else ""


def _family_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    families: dict[str, list[float]] = {}
    for trial in result["trials"]:
        if trial["status"] == "scored" and trial.get("family"):
            families.setdefault(trial["family"], []).append(max(trial[result["main"]][:1], default=0.0))
    out = []
    for name, values in sorted(families.items()):
        low, high = _wilson(sum(values), len(values))
        out.append({"who": result["answerer"], "name": f"{name} ({len(values)})", "value": 100 * sum(values) / len(values), "low": 100 * low, "high": 100 * high, "n": len(values)})
    return out


def _wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    p, reach = hits / n, z * (hits / n * (1 - hits / n) / n + z * z / (4 * n * n)) ** 0.5
    middle = p + z * z / (2 * n)
    return max(0.0, (middle - reach) / (1 + z * z / n)), min(1.0, (middle + reach) / (1 + z * z / n))


def reliability_bins(result: dict[str, Any]) -> tuple[list[dict[str, float]], float] | None:
    """Ten bins of confidence with the share that was right, and the expected calibration error; None without probabilities."""
    pairs = [(t["confidence"], max(t[result["main"]][:1], default=0.0)) for t in result["trials"] if t["status"] == "scored" and "confidence" in t]
    if not pairs:
        return None
    bins = []
    for number in range(BINS):
        inside = [(c, r) for c, r in pairs if min(BINS - 1, int(BINS * c)) == number]
        if inside:
            hits = sum(r for _, r in inside)
            low, high = _wilson(hits, len(inside))
            bins.append({"confidence": sum(c for c, _ in inside) / len(inside), "right": hits / len(inside), "low": low, "high": high, "n": len(inside)})
    error = sum(b["n"] * abs(b["confidence"] - b["right"]) for b in bins) / len(pairs)
    return bins, error


def reliability(results: Sequence[dict[str, Any]]) -> str:
    """Share right against stated probability; on the line, what is said is what happens."""
    rows = []
    for result in results:
        found = reliability_bins(result)
        if found:
            rows += [{"who": f"{result['answerer']} (error {100 * found[1]:.1f} points)", "confidence": 100 * b["confidence"], "right": 100 * b["right"], "low": 100 * b["low"], "high": 100 * b["high"], "n": b["n"]} for b in found[0]]
    if not rows:
        return ""
    base = altair.Chart(altair.Data(values=rows)).encode(x=altair.X("confidence:Q", title="probability given to the answer, %", scale=altair.Scale(domain=[0, 100])))
    colour = altair.Color("who:N", title=None, scale=altair.Scale(range=COLOURS), legend=altair.Legend(columns=1, labelLimit=300))
    line = altair.Chart(altair.Data(values=[{"x": 0, "y": 0}, {"x": 100, "y": 100}])).mark_line(color=INK, strokeDash=[4, 3], strokeWidth=1).encode(x="x:Q", y="y:Q")
    points = base.mark_circle(opacity=1).encode(y=altair.Y("right:Q", title="right, %", scale=altair.Scale(domain=[0, 100])), size=altair.Size("n:Q", legend=None, scale=altair.Scale(range=[25, 260])), color=colour)
    return to_svg((line + base.mark_rule().encode(y="low:Q", y2="high:Q", color=colour) + points).properties(width=300, height=260))


def ours_by_size(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our points for the figure of sizes: answerers whose parameters are known."""
    return [{"model": r["answerer"], "B": r["parameters"] / 1e9, "score": 100 * s["value"], "low": 100 * s["low"], "high": 100 * s["high"]} for r in results if r.get("parameters") and (s := main_score(r))]


def ours_by_price(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our points for the figure of prices: USD per million tokens written, where the examination knows both."""
    out = []
    for r in results:
        facts, s = cost_facts(r), main_score(r)
        if s and facts["usd_per_million"]:
            out.append({"model": r["answerer"], "usd": facts["usd_per_million"], "score": 100 * s["value"], "low": 100 * s["low"], "high": 100 * s["high"]})
    return out


def cost_facts(result: dict[str, Any]) -> dict[str, Any]:
    """Tokens, money and time of one examination; None where nobody knows."""
    tokens = [t.get("answer_meta", {}).get("tokens") or {} for t in result["trials"]]
    read, written = (sum(t.get(k) or 0 for t in tokens) for k in ("prompt", "completion"))
    cost, n = result.get("cost_usd"), max(1, result["n"])
    return {
        "tokens_read": read or None, "tokens_written": written or None, "cost_usd": cost, "usd_per_1000": 1000 * cost / n if cost is not None else None,
        "usd_per_million": 1e6 * cost / written if cost and written else None, "seconds": result["seconds"], "cpu_ms": 1000 * result["cpu_seconds_per_answer"], "asked": result.get("asked", n),
    }  # fmt: skip


def price_figure(benchmark: str, setting: str | None = None, ours: Sequence[dict[str, Any]] = ()) -> str:
    """Published scores against list price of output tokens, by the standing of the model's size; ours as squares with intervals."""
    scores, shown = scores_of(benchmark, setting)
    claims = load_claims()
    points = []
    for model, label, score in scores:
        price = next((c.price_out_usd for c in claims if c.model == model and c.price_out_usd), None)
        if price:
            official = any(c.model == model and c.standing == "official" and c.total_B for c in claims)
            points.append({"model": label, "usd": price, "score": score, "standing": "official size" if official else "size not official"})
    if not points:
        raise LimbeckError(f"no model with a published score of {benchmark} has a known price", "--benchmark", "add claims with price_out_usd to a file named in LIMBECK_CLAIMS")
    x = altair.X("usd:Q", title="USD per million output tokens, list price (log)", scale=altair.Scale(type="log"), axis=altair.Axis(format="~g", grid=False))
    y = altair.Y("score:Q", title=f"{benchmark}, %", scale=altair.Scale(zero=False))
    base = altair.Chart(altair.Data(values=points)).encode(x=x, y=y)
    domain = ["official size", "size not official"]
    fill = altair.Fill("standing:N", title=None, scale=altair.Scale(domain=domain, range=[COLOURS[0], "transparent"]))
    names = altair.Chart(altair.Data(values=place_labels(points, "usd", ours))).mark_text(dx=8, dy=-7, align="left", fontSize=9, color=INK).encode(x=x, y=altair.Y("label_at:Q"), text="model:N")
    layers = base.mark_point(size=80, stroke=COLOURS[0], strokeWidth=1.5, shape="circle").encode(fill=fill) + names
    edge = official_frontier([(p["usd"], p["score"]) for p in points])
    layers = altair.Chart(altair.Data(values=[{"usd": a, "score": b} for a, b in edge])).mark_line(interpolate="step-after", color=INK, strokeWidth=1).encode(x=x, y=y) + layers
    if ours:
        own = altair.Chart(altair.Data(values=list(ours))).encode(x=x)
        layers = layers + own.mark_rule(color=COLOURS[1]).encode(y="low:Q", y2="high:Q") + own.mark_square(size=90, color=COLOURS[1], opacity=1).encode(y=y) + own.mark_text(dx=8, dy=-7, align="left", fontSize=9, color=COLOURS[1]).encode(y=y, text="model:N")
    return to_svg(layers.properties(width=620, height=360, title=altair.Title(f"{benchmark}: {shown}", color=INK, fontSize=12, anchor="start")))
