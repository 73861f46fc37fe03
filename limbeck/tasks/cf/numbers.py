"""Numbers, counts, shares and dates in the many ways people write them."""

from __future__ import annotations

from datetime import date
from random import Random

from limbeck.tasks.cf.tables import Made

DAYS = [1, 2, 3, 5, 7, 7, 10, 14, 15, 20, 21, 30, 30, 45, 60, 90, 90, 100, 120, 180, 365, 365, 730]
_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def words_for(value: int) -> str:
    """A whole number from 0 to 99 in words."""
    if value < 20:
        return _SMALL[value]
    tens, rest = divmod(value, 10)
    return _TENS[tens] + (f"{'-' if value % 3 else ' '}{_SMALL[rest]}" if rest else "")


def count_text(random: Random, value: int) -> str:
    """A count: digits mostly, words sometimes."""
    return words_for(value) if value < 100 and random.random() < 0.35 else str(value)


def percent_text(random: Random, value: float) -> str:
    """A share of rows."""
    if value == 50 and random.random() < 0.4:
        return "half"
    if value == 25 and random.random() < 0.4:
        return "quarter"
    spoken = words_for(int(value)) if value == int(value) and random.random() < 0.12 else f"{value:g}"
    return f"{spoken}{random.choice(['%', '%', '%', ' %', ' percent', ' pct'])}"


def is_year(column: Made) -> bool:
    """A column of years held as numbers."""
    return column.words.low >= 1800 and column.words.high <= 2100


def number_text(random: Random, value: float, column: Made) -> str:
    """A threshold as it would be typed for this column."""
    if column.words.kind == "percent" and abs(value) <= 3:
        if random.random() < 0.12:
            return f"{value:g}"
        return f"{100 * value:.10g}{random.choice(['%', '%', '%', ' %', ' percent'])}"
    if column.words.kind == "percent":
        return f"{value:g}{random.choice(['%', '%', ' percent', ''])}"
    plain = f"{value:.12g}"
    if is_year(column):
        return plain
    units = column.words.extra.get("unit")
    if units and random.random() < 0.3:
        unit = random.choice(units)
        return f"{plain}{'' if len(unit) <= 2 and random.random() < 0.5 else ' '}{unit}"
    roll = random.random()
    if value == int(value):
        whole = int(value)
        if whole == 12 and roll < 0.04:
            return "a dozen"
        if 1100 <= whole <= 9900 and whole % 100 == 0 and whole % 1000 and roll < 0.04:
            return f"{words_for(whole // 100)} hundred"
        if 0 <= whole < 100 and roll < 0.12:
            return words_for(whole)
        if whole >= 1000 and whole % 100 == 0 and roll < 0.28:
            return random.choice([f"{whole / 1000:g}k", f"{whole / 1000:g}K", f"{whole / 1000:g} thousand" if whole % 1000 == 0 else f"{whole / 1000:g}k", f"{whole / 1000:g} grand" if column.words.kind == "money" else f"{whole / 1000:g}k"])
        if whole in (100, 200, 300, 500, 1000, 2000, 5000) and roll < 0.4:
            return {100: "a hundred", 200: "two hundred", 300: "three hundred", 500: "five hundred", 1000: "a thousand", 2000: "two thousand", 5000: "five thousand"}[whole]
        if whole >= 1_000_000 and whole % 100_000 == 0 and roll < 0.6:
            return random.choice([f"{whole / 1e6:g} million", f"{whole / 1e6:g}M"])
        if abs(whole) >= 1000 and roll < 0.7:
            plain = f"{whole:,}"
    if column.words.kind == "money" and value >= 0 and roll > 0.3:
        return random.choice([f"${plain}", f"${plain}", f"{plain} dollars", f"{plain} USD", plain, plain, f"€{plain}", f"{plain} bucks"])
    return plain


def date_text(random: Random, period: str, today: date) -> str:
    """A year, a month or a day as people write them; the year left out only where it is today's."""
    if len(period) == 4:
        return period
    year, month = int(period[:4]), int(period[5:7])
    if len(period) == 7:
        first = date(year, month, 1)
        if year == today.year and random.random() < 0.35:
            return f"{first:%B}"
        return random.choice([f"{first:%B} {year}", f"{first:%b} {year}", f"{month}/{year}", f"{first:%B}, {year}", f"{first:%B} of {year}", period])
    day = date.fromisoformat(period)
    if year == today.year and random.random() < 0.2:
        return random.choice([f"{day:%B} {day.day}", f"{day.day} {day:%b}", f"{day:%b} {day.day}"])
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
    return random.choice([period, f"{month}/{day.day}/{year}", f"{day:%B} {day.day}, {year}", f"{day.day} {day:%B} {year}", f"{day:%b} {day.day} {year}", f"{day:%B} {day.day}{suffix}, {year}", f"{day.day} {day:%b} {year}", f"{month}/{day.day}/{str(year)[2:]}"])
