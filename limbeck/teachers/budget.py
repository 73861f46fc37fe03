"""A budget that is never passed: the most that a request can cost is set aside before it goes out, and settled when it is answered.

The most it reads is its length in bytes (a token has at least one), or what a tokeniser that is handed in counts, and the most it
writes is n times `max_tokens`. A request whose reply was lost may have been paid for and is settled at its most.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limbeck.errors import LimbeckError

TEMPLATE_TOKENS = 16  # a message at most, for what a chat template puts around it, where a tokeniser counts the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may be spent: dollars, tokens (read and written), or both. `count_tokens(text)` makes the bound of what is read closer."""

    usd: float | None = None
    tokens: int | None = None
    when_spent: Literal["stop", "keep"] = "stop"
    count_tokens: Callable[[str], int] | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that one request reads and writes; None where it has no end."""

    tokens_in: int
    tokens_out: int | None

    @property
    def tokens(self) -> int | None:
        return None if self.tokens_out is None else self.tokens_in + self.tokens_out


def cost_of(price_usd: tuple[float, float] | None, tokens_in: int | None, tokens_out: int | None) -> float | None:
    """Dollars, `price_usd` being of a million tokens read and written; None where either is unknown."""
    if price_usd is None or tokens_in is None or tokens_out is None:
        return None
    return (tokens_in * price_usd[0] + tokens_out * price_usd[1]) / 1e6


class Budget:
    """Keeps an allowance. Raises LimbeckError at once for one that cannot be kept: nothing, or dollars without a price."""

    def __init__(self, allowance: Allowance, price_usd: tuple[float, float] | None, where: str) -> None:
        for name, sum_ in (("budget_usd", allowance.usd), ("budget_tokens", allowance.tokens)):
            if sum_ is not None and not sum_ > 0:
                raise LimbeckError(f"a budget of {sum_:g} buys nothing", name, "give a sum above zero, or leave it out")
        if allowance.usd is not None and price_usd is None:
            raise LimbeckError("nobody knows the price of this model, so dollars cannot be counted", where, "give price_in_usd and price_out_usd (dollars a million tokens), or a budget_tokens")
        self.allowance, self._price, self._where = allowance, price_usd, where
        self.spent_usd, self.spent_tokens = 0.0, 0
        self._held_usd, self._held_tokens, self._held = 0.0, 0, 0
        self._excess = 1.0  # how far a reply has passed what was set aside: servers that bill the prompt once a draw
        self._changed: asyncio.Event | None = None
        self.is_spent = False

    def start(self, spent_usd: float, spent_tokens: int) -> None:
        """Begin with what this run has spent before."""
        self.spent_usd, self.spent_tokens, self._held_usd, self._held_tokens, self._held = spent_usd, spent_tokens, 0.0, 0, 0
        self._changed, self.is_spent = asyncio.Event(), False

    def bound(self, body: dict[str, Any], size_bytes: int, n: int) -> Bound:
        """The most that a request can cost."""
        read = size_bytes
        if self.allowance.count_tokens is not None:
            texts: Sequence[str] = [str(m.get("content") or "") for m in body["messages"]] if "messages" in body else [str(body.get("prompt", ""))]
            read = sum(self.allowance.count_tokens(text) + TEMPLATE_TOKENS for text in texts)
        most = body.get("max_tokens", body.get("max_completion_tokens"))
        if most is None and (self.allowance.usd is not None or self.allowance.tokens is not None):
            raise LimbeckError("a budget needs requests with an end, and this one has no max_tokens", self._where, "give max_tokens, or leave the budget out")
        return Bound(math.ceil(read * self._excess), None if most is None else math.ceil(most * n * self._excess))

    def dollars(self, bound: Bound) -> float | None:
        """The most that a request can cost in dollars; None where nobody knows a price."""
        return cost_of(self._price, bound.tokens_in, bound.tokens_out)

    async def reserve(self, bound: Bound) -> bool:
        """Set it aside; waits while requests in flight may leave something over. False where it does not fit: the budget is spent."""
        while not self.is_spent:
            if self._fits(bound):
                self._held += 1
                self._hold(bound, 1)
                return True
            if not self._held:
                self.is_spent = True
                break
            assert self._changed is not None
            self._changed.clear()
            await self._changed.wait()
        if self._changed:
            self._changed.set()
        return False

    def fits_beside(self, bounds: Sequence[Bound]) -> int:
        """How many of these fit together, from the first on."""
        usd, tokens = self.spent_usd + self._held_usd, self.spent_tokens + self._held_tokens
        for number, bound in enumerate(bounds):
            usd, tokens = usd + (self.dollars(bound) or 0.0), tokens + (bound.tokens or 0)
            if (self.allowance.usd is not None and usd > self.allowance.usd) or (self.allowance.tokens is not None and tokens > self.allowance.tokens):
                return number
        return len(bounds)

    def _fits(self, bound: Bound) -> bool:
        return self.fits_beside([bound]) == 1

    def _hold(self, bound: Bound, sign: int) -> None:
        self._held_usd += sign * (self.dollars(bound) or 0.0)
        self._held_tokens += sign * (bound.tokens or 0)

    def settle(self, bound: Bound, tokens_in: int | None = None, tokens_out: int | None = None, is_free: bool = False) -> None:
        """What a request has cost: as the server counted it; nothing (`is_free`); or its most, where nobody knows."""
        self._held -= 1
        self._hold(bound, -1)
        if not is_free:
            if tokens_in is None or tokens_out is None:
                tokens_in, tokens_out = bound.tokens_in, bound.tokens_out or 0
            elif bound.tokens and tokens_in + tokens_out > bound.tokens:
                self._excess *= (tokens_in + tokens_out) / bound.tokens
            self.spent_usd += cost_of(self._price, tokens_in, tokens_out) or 0.0
            self.spent_tokens += tokens_in + tokens_out
        if self._changed:
            self._changed.set()

    def charge(self, tokens_in: int | None, tokens_out: int | None) -> None:
        """What a line of a batch has cost; nothing was set aside for it."""
        self.spent_usd += cost_of(self._price, tokens_in, tokens_out) or 0.0
        self.spent_tokens += (tokens_in or 0) + (tokens_out or 0)

    def say_spent(self, left: int) -> LimbeckError:
        """The error of a budget at its end."""
        sums = [f"${self.spent_usd:.4f} of ${self.allowance.usd:g}"] if self.allowance.usd is not None else []
        sums += [f"{self.spent_tokens:,} of {self.allowance.tokens:,} tokens"] if self.allowance.tokens is not None else []
        return LimbeckError(
            f"the budget is spent: {' and '.join(sums)}; {left:,} requests are left, and the next might pass it", self._where,
            "raise budget_usd or budget_tokens and run again (what was answered is kept and costs nothing), or go on with what there is: when_spent = \"keep\"",
        )  # fmt: skip
