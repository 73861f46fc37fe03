"""Prices for a run's economics: the teacher's from recipe or catalogue, the student's from the rent of a core. All of it goes on the report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck import resolve
from limbeck.catalog.accelerators import core_rent, entered
from limbeck.errors import LimbeckError
from limbeck.evaluate.costs import Price, economics, spend_of
from limbeck.recipe.schema import Recipe, TeacherSection

CORE_HOUR = "LIMBECK_CORE_HOUR_USD"  # an hour of one processor core, instead of the catalogue's
TEACHER_HOUR = "LIMBECK_TEACHER_HOUR_USD"  # an hour of the machine on which a teacher with weights here answers


def economics_of(run_folder: Path, recipe: Recipe, found: Mapping[str, Mapping[str, dict[str, Any]]], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the report says of money in a run: costs, spend, break-even, retention. Raises LimbeckError for a price that is none."""
    path = run_folder / "distill" / "keep.json"
    keep = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    manifests = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(run_folder.glob("**/manifest.json"))]
    prices = {"student": core_price(), "teacher": teacher_price(recipe.teacher)}
    spend = spend_of(keep, manifests, groups["student"][0], prices["student"].core_hour_usd, sends_bills(recipe.teacher))
    return economics(found, groups, recipe.evaluate.splits, prices, spend)


def core_price() -> Price:
    """An hour of a core: LIMBECK_CORE_HOUR_USD, else the catalogue's with its source."""
    given = _number(CORE_HOUR)
    if given is not None:
        return Price(core_hour_usd=given, source=CORE_HOUR)
    rent = core_rent()
    return Price(core_hour_usd=rent.usd, source=f"{rent.host} ({rent.source}, entered {entered()}); {CORE_HOUR} sets another")


def teacher_price(teacher: TeacherSection) -> Price:
    """A served teacher's price of tokens, from recipe or catalogue; for weights here the hour of their machine, or of a core."""
    if teacher.model.startswith("openai:"):
        if teacher.price_in_usd is not None and teacher.price_out_usd is not None:
            return Price(usd_in=teacher.price_in_usd, usd_out=teacher.price_out_usd, source="the recipe")
        price = resolve.get_price(teacher.model.removeprefix("openai:")) if sends_bills(teacher) else None
        if price is None:
            return Price(source="nobody knows its price: teacher.price_in_usd and price_out_usd")
        return Price(usd_in=price[0], usd_out=price[1], source="`limbeck catalog`")
    if teacher.model.startswith("panel:"):
        return Price(source="a panel: the prices of its members")
    given = _number(TEACHER_HOUR)
    return Price(machine_hour_usd=given, source=TEACHER_HOUR) if given is not None else core_price()


def sends_bills(teacher: TeacherSection) -> bool:
    """Whether somebody is paid for a teacher's answers: a server that is not this machine."""
    address = teacher.base_url or os.environ.get("OPENAI_BASE_URL", "")
    return teacher.model.startswith("openai:") and urlsplit(address).hostname not in resolve.OWN_MACHINE


def _number(name: str) -> float | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise LimbeckError(f"{text!r} is no price", name, "give dollars an hour, 0 or more")
    return value
