"""The forms a loss may follow: log L as a function of size, data and compute, with its derivatives.

Every law works on logarithms centred on the table (n = ln N - mean, d, c the same), so that a term's size is a plain number near the
losses themselves, and on unbounded parameters (logarithms of what must be positive). Shapes: B parameter vectors, P parameters, M runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Points = Mapping[str, Array]  # "n", "d", "c": centred logarithms (M); what else a law reads: "u" (unique data), "t" (ln of the teacher's loss)


@dataclass(frozen=True, kw_only=True)
class Law:
    """One form. `log_loss(theta_BP, points)` gives ln L (B, M) and its derivatives (B, M, P)."""

    name: str
    equation: str
    parameters: tuple[str, ...]
    needs: tuple[str, ...]
    means: tuple[float, ...]  # of the weak prior, in the law's own coordinates; NaN: set from the table
    widths: tuple[float, ...]  # standard deviations of the weak prior
    log_loss: Callable[[Array, Points], tuple[Array, Array]]
    source: str = ""


def add_logs(*terms: Array) -> tuple[Array, list[Array]]:
    """ln of the sum of exponentials, and each term's share of it."""
    top = terms[0]
    for term in terms[1:]:
        top = np.maximum(top, term)
    parts = [np.exp(term - top) for term in terms]
    total = np.sum(parts, axis=0) if len(parts) != 2 else parts[0] + parts[1]
    return top + np.log(total), [part / total for part in parts]


def _columns(theta: Array) -> list[Array]:
    return [theta[:, j, None] for j in range(theta.shape[1])]


def _frontier(theta: Array, points: Points) -> tuple[Array, Array]:
    a, e, g = _columns(theta)
    slope = np.exp(g) * points["c"]
    value, (first, floor) = add_logs(a - slope, e + 0 * slope)
    return value, np.stack([first, floor, -slope * first], axis=-1)


def _chinchilla(theta: Array, points: Points) -> tuple[Array, Array]:
    a, b, e, g, h = _columns(theta)
    by_size, by_data = np.exp(g) * points["n"], np.exp(h) * points["d"]
    value, (first, second, floor) = add_logs(a - by_size, b - by_data, e + 0 * by_size)
    return value, np.stack([first, second, floor, -by_size * first, -by_data * second], axis=-1)


def _tied(theta: Array, points: Points) -> tuple[Array, Array]:
    value, slopes = _chinchilla(theta[:, [0, 1, 2, 3, 3]], points)
    return value, np.concatenate([slopes[..., :3], slopes[..., 3:].sum(-1, keepdims=True)], axis=-1)


def _coupled(theta: Array, points: Points) -> tuple[Array, Array]:
    a, b, e, g, h, log_k = _columns(theta)
    k = np.exp(log_k)
    by_size, by_data = np.exp(g) * points["n"], np.exp(h) * points["d"]
    size, data = (a - by_size) / k, (b - by_data) / k
    inner, (p, q) = add_logs(size, data)
    value, (reducible, floor) = add_logs(k * inner, e + 0 * inner)
    by_k = k * inner - k * (p * size + q * data)  # d(k inner)/d ln k: the terms' sharpness changes what their sum is
    return value, np.stack([reducible * p, reducible * q, floor, -by_size * reducible * p, -by_data * reducible * q, reducible * by_k], axis=-1)


def _broken(theta: Array, points: Points) -> tuple[Array, Array]:
    """One smooth break of the exponent in compute: the slope goes from g to g + s around ln C = t, over a width of w."""
    a, e, g, change, place, width = _columns(theta)
    b0, w = np.exp(g), np.exp(width)
    z = (points["c"] - place) / w
    soft = np.logaddexp(0.0, z)
    inside = 0.5 * (1 + np.tanh(0.5 * z))
    power = a - b0 * points["c"] - change * w * soft
    value, (first, floor) = add_logs(power, e + 0 * power)
    by = [np.ones_like(power), None, -b0 * points["c"] + 0 * power, -w * soft, change * inside, -change * w * (soft - z * inside)]
    return value, np.stack([first * x if x is not None else floor for x in by], axis=-1)


def by_complex_step(formula: Callable[[list[Array], Points], Array]) -> Callable[[Array, Points], tuple[Array, Array]]:
    """Derivatives exact to rounding of a formula that is analytic (exp, log, + and * only): Im f(x + ih) / h."""

    def law(theta: Array, points: Points) -> tuple[Array, Array]:
        value = formula(_columns(theta), points)
        step, slopes = 1e-30, []
        for j in range(theta.shape[1]):
            shifted = theta.astype(complex)
            shifted[:, j] += 1j * step
            slopes.append(np.imag(formula(_columns(shifted), points)) / step)
        return value, np.stack(slopes, axis=-1)

    return law


def _farseer(columns: list[Array], points: Points) -> Array:
    """Each ln term is a N^g + b; written about the table's middle as value + slope (exp(g n) - 1) / g, so that its parameters are seen in the data."""
    size, size_slope, size_bend, data, data_slope, data_bend, exponent, drift, drift_bend = columns
    n, d = points["n"], points["d"]
    first = size - np.exp(size_slope) * _bent(size_bend, n)
    second = data + data_slope * _bent(data_bend, n) - np.exp(exponent + drift * _bent(drift_bend, n)) * d
    return np.log(np.exp(first) + np.exp(second))


def _bent(bend: Array, n: Array) -> Array:
    """(exp(g n) - 1) / g, the power of N about its middle; n where g is 0."""
    safe = np.where(np.abs(bend) < 1e-6, bend + 1e-6, bend)
    return np.expm1(safe * n) / safe


def _repeats(columns: list[Array], points: Points) -> Array:
    """Muennighoff: data seen again is worth less and less; R* is how many repeats are worth about 1 - 1/e of themselves."""
    a, b, e, g, h, log_r = columns
    r = np.exp(log_r)
    repeats = np.exp(points["d"] - points["u"]) - 1
    repeats = np.maximum(repeats, 0.0)
    worth = points["u"] + np.log(1 + r * (1 - np.exp(-repeats / r)))
    return np.log(np.exp(a - np.exp(g) * points["n"]) + np.exp(b - np.exp(h) * worth) + np.exp(e))


def _rectified(columns: list[Array], points: Points) -> Array:
    """B / (D_l + D^b) + E: what the model knew already counts as data seen."""
    b, known, e, h = columns
    return np.log(np.exp(b - np.log(np.exp(known) + np.exp(np.exp(h) * points["d"]))) + np.exp(e))


def _distilled(columns: list[Array], points: Points) -> Array:
    """Busbridge et al., Eq. 8, given ln of the teacher's loss (t) and ln of the loss of the same student without a teacher (s)."""
    a, b, g, h, log_k, c0, c1, f1, d1 = columns
    k, f, teacher, alone = np.exp(log_k), np.exp(f1), points["t"], points["s"]
    terms = np.exp((a - np.exp(g) * points["n"]) / k) + np.exp((b - np.exp(h) * points["d"]) / k)
    gap = np.log(1 + np.exp((teacher - alone - d1) / f))
    added = -np.exp(c0) * teacher - np.exp(c1) * f * gap + k * np.log(terms)
    return np.log(np.exp(teacher) + np.exp(added))


NAN = float("nan")
LN = np.log
SLOPE = float(LN(0.33))  # ln of an exponent of size or data in natural text: published ones lie between 0.2 and 0.5

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(name="frontier", equation="a C^-b + c", parameters=("ln a", "ln c", "ln b"), needs=("c",), means=(NAN, NAN, float(LN(0.155))), widths=(1.0, 0.25, 0.25), log_loss=_frontier, source="arXiv:2010.14701, 2303.08774"),
        Law(name="chinchilla", equation="E + A/N^alpha + B/D^beta", parameters=("ln A", "ln B", "ln E", "ln alpha", "ln beta"), needs=("n", "d"), means=(NAN, NAN, NAN, SLOPE, SLOPE), widths=(1.5, 1.5, 0.25, 0.25, 0.25), log_loss=_chinchilla, source="arXiv:2203.15556"),
        Law(name="tied", equation="E + A/N^alpha + B/D^alpha", parameters=("ln A", "ln B", "ln E", "ln alpha"), needs=("n", "d"), means=(NAN, NAN, NAN, SLOPE), widths=(1.5, 1.5, 0.25, 0.25), log_loss=_tied, source="arXiv:2403.08540"),
        Law(name="coupled", equation="(A/N^alpha + B/D^beta)^k + E", parameters=("ln A", "ln B", "ln E", "ln k alpha", "ln k beta", "ln k"), needs=("n", "d"), means=(NAN, NAN, NAN, SLOPE, SLOPE, float(LN(0.7))), widths=(1.5, 1.5, 0.25, 0.25, 0.25, 0.4), log_loss=_coupled, source="2608.07222"),
        Law(name="broken", equation="a C^-b (1 + (C/d)^(1/f))^(-s f) + c", parameters=("ln a", "ln c", "ln b", "s", "ln d", "ln f"), needs=("c",), means=(NAN, NAN, float(LN(0.155)), 0.0, 0.0, 0.0), widths=(1.0, 0.25, 0.25, 0.05, 2.0, 0.7), log_loss=_broken, source="arXiv:2210.14891"),
        Law(name="farseer", equation="exp(a3 N^g + b3) + exp(a2 N^b + b2) D^-exp(a1 N^a + b1)", parameters=("ln size term", "ln its slope", "g", "ln data term", "its slope", "b", "ln exponent", "drift", "a"), needs=("n", "d"), means=(NAN, float(LN(0.05)), -0.1, NAN, 0.0, 0.1, SLOPE, 0.0, 0.1), widths=(0.25, 1.0, 0.15, 1.5, 0.1, 0.1, 0.25, 0.1, 0.1), log_loss=by_complex_step(_farseer), source="arXiv:2506.10972"),
        Law(name="repeats", equation="E + A/N^alpha + B/D'^beta, D' = U + U R* (1 - exp(-R/R*))", parameters=("ln A", "ln B", "ln E", "ln alpha", "ln beta", "ln R*"), needs=("n", "d", "u"), means=(NAN, NAN, NAN, SLOPE, SLOPE, float(LN(15.0))), widths=(1.5, 1.5, 0.25, 0.25, 0.25, 1.0), log_loss=by_complex_step(_repeats), source="arXiv:2305.16264"),
        Law(name="rectified", equation="B / (D_l + D^b) + E", parameters=("ln B", "ln D_l", "ln E", "ln b"), needs=("d",), means=(NAN, 0.0, NAN, float(LN(0.3))), widths=(2.0, 3.0, 0.3, 0.6), log_loss=by_complex_step(_rectified), source="arXiv:2402.02314"),
        Law(name="distilled", equation="L_T + L_T^-c0 (1 + (L_T/(L_S d1))^(1/f1))^(-c1 f1) (A/N^alpha + B/D^beta)^k", parameters=("ln A", "ln B", "ln k alpha", "ln k beta", "ln k", "ln c0", "ln c1", "ln f1", "ln d1"), needs=("n", "d", "t", "s"), means=(NAN, NAN, SLOPE, SLOPE, 0.0, 0.0, 0.0, float(LN(0.3)), 0.0), widths=(1.5, 1.5, 0.5, 0.5, 0.4, 0.7, 0.7, 0.7, 0.3), log_loss=by_complex_step(_distilled), source="arXiv:2502.08606, Eq. 8"),
    )
}
