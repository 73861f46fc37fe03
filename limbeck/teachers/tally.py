"""How asking stands: records by state, tokens and dollars so far, what is left in time and money."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from limbeck.teachers.gate import Gate
from limbeck.teachers.ledger import Draw

TOLD_EVERY_S = 0.2


class Tally:
    """Counts of one `answer_each`, told to `progress` a few times a second. `paid_before` is what the run had paid when it began."""

    def __init__(self, of: int, progress: Callable[[dict[str, Any]], None] | None, paid_before: dict[str, Any] | None = None) -> None:
        before = paid_before or {}
        self._of, self._progress, self._told = of, progress, 0.0
        self.states: Counter[str] = Counter()
        self.tokens_in, self.tokens_out, self._usd = before.get("tokens_in", 0), before.get("tokens_out", 0), before.get("known_usd", 0.0)
        self._start_usd, self._is_priced = self._usd, not before.get("draws") or before.get("cost_usd") is not None
        self._replayed = self._fresh = self._left = 0
        self._began = time.monotonic()

    def start(self, left: int) -> None:
        """So many records go to the server from now on."""
        self._left, self._began = left, time.monotonic()

    def pay(self, draws: list[Draw]) -> None:
        """A reply was paid for."""
        for draw in draws:
            self.tokens_in, self.tokens_out = self.tokens_in + (draw.tokens_in or 0), self.tokens_out + (draw.tokens_out or 0)
            self._is_priced &= draw.cost_usd is not None
            self._usd += draw.cost_usd or 0.0

    def end(self, state: str, is_replayed: bool, gate: Gate) -> None:
        """A record ended."""
        self.states[state] += 1
        self._replayed, self._fresh = self._replayed + is_replayed, self._fresh + (not is_replayed)
        if self._progress and (time.monotonic() - self._told > TOLD_EVERY_S or self.states.total() == self._of):
            self._told = time.monotonic()
            self._progress(self.facts(gate))

    def facts(self, gate: Gate) -> dict[str, Any]:
        """Everything that a line of progress shows. Dollars are None where the price is unknown; what is left is None before the first answer."""
        left, seconds = max(0, self._left - self._fresh), time.monotonic() - self._began
        each_usd = (self._usd - self._start_usd) / self._fresh if self._fresh else None
        return {
            "done": self.states.total(), "of": self._of, **{name: self.states[name] for name in ("answered", "refused", "no_answer", "failed")}, "replayed": self._replayed,
            "in_flight": gate.inside, "concurrency": int(gate.limit), "tokens_in": self.tokens_in, "tokens_out": self.tokens_out,
            "cost_usd": self._usd if self._is_priced else None, "projected_usd": self._usd + left * each_usd if self._is_priced and each_usd is not None else None,
            "seconds_left": seconds / self._fresh * left if self._fresh else None,
        }  # fmt: skip
