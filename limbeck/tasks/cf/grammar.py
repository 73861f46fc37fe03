"""The symbols of a rule and its grammar: which of them can follow a prefix so that it can still become a rule."""

from __future__ import annotations

import numpy as np

from limbeck.tasks.cf.language import SIGNATURES
from limbeck.tasks.cf.reading import MAX_COLUMNS, MAX_VALUES, MAX_WORDS, Reading

CONSTANTS = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 25.0, 50.0, 75.0, 90.0, 100.0)
GROUPS = {"AND", "OR"}
MAX_PARTS, MAX_DEPTH, MAX_SPAN = 4, 3, 8
FUNCTIONS = tuple(SIGNATURES)
FIXED = ("<pad>", "<bos>", "<eos>", *FUNCTIONS, ")", *(f"#{c:g}" for c in CONSTANTS), "@today")
SYMBOLS = (
    *FIXED,
    *(f"COL{i}" for i in range(MAX_COLUMNS)),
    *(f"W{i}" for i in range(MAX_WORDS)),
    *(f"VAL{i}" for i in range(MAX_VALUES)),
)
ID = {name: number for number, name in enumerate(SYMBOLS)}
COL, W, VAL, EOS, CLOSE, TODAY = ID["COL0"], ID["W0"], ID["VAL0"], ID["<eos>"], ID[")"], ID["@today"]
CONSTANT = {value: ID[f"#{value:g}"] for value in CONSTANTS}
VALUE_OF = {number: value for value, number in CONSTANT.items()}

# What is still owed, innermost last. Kinds are those of SIGNATURES plus: "end", "part:N:D" (a rule of a group that has
# N parts at depth D, or its close), "span:I" (the last word of a text that begins at word I),
# "number_or_column:C" (what column symbol C is compared with).
State = tuple[str, ...]
_START: State = ("end", "rule:0")


def is_number(symbol: int, reading: Reading) -> bool:
    return W <= symbol < VAL and symbol - W < len(reading.words) and reading.words[symbol - W].value is not None


def state_after(reading: Reading, prefix: tuple[int, ...]) -> State | None:
    """What is owed after a prefix; None after a misstep."""
    if not prefix:
        return _START
    known = reading.states.get(prefix)
    if known is None:
        before = state_after(reading, prefix[:-1])
        known = _advance(before, prefix[-1], reading) if before and mask_of(before, reading)[prefix[-1]] else None
        reading.states[prefix] = known
    return known


def _advance(state: State, symbol: int, reading: Reading) -> State:
    *rest, top = state
    if top == "optional_number" and not (symbol in VALUE_OF or is_number(symbol, reading)):
        return _advance(tuple(rest), symbol, reading)
    if top.startswith("part") and symbol == CLOSE:
        return tuple(rest)
    if top.startswith(("rule", "part")):
        depth = int(top.split(":")[-1])
        if top.startswith("part"):
            rest.append(f"part:{int(top.split(':')[1]) + 1}:{depth}")
        function = SYMBOLS[symbol]
        if function in GROUPS:
            return (*rest, f"part:0:{depth + 1}")
        return (*rest, *(f"rule:{depth + 1}" if kind == "rule" else kind for kind in reversed(SIGNATURES[function])))
    if top == "column":  # no column is compared with itself
        rest = [f"{owed}:{symbol}" if owed == "number_or_column" else owed for owed in rest]
    if top == "text" and symbol < VAL:
        return (*rest, f"span:{symbol - W}")
    return tuple(rest)


def mask_of(state: State | None, reading: Reading) -> np.ndarray:
    mask = np.zeros(len(SYMBOLS), bool)
    if not state:
        return mask
    top = state[-1]
    words = reading.words
    if top == "end":
        mask[EOS] = True
    elif top.startswith(("rule", "part")):
        depth = int(top.split(":")[-1])
        parts = int(top.split(":")[1]) if top.startswith("part") else 0
        mask[ID[FUNCTIONS[0]] : CLOSE] = parts < MAX_PARTS
        if depth >= MAX_DEPTH - 1:
            mask[[ID["AND"], ID["OR"], ID["NOT"]]] = False
        mask[CLOSE] = parts >= 2
    elif top.startswith("span"):
        first = int(top.split(":")[1])
        mask[W + first : W + min(first + MAX_SPAN, len(words))] = True
    elif top == "text":
        mask[W : W + len(words)] = True
        mask[VAL : VAL + len(reading.values)] = True
    elif top == "column":
        mask[COL : COL + len(reading.columns)] = True
    elif top == "period":
        mask[[W + i for i, w in enumerate(words) if w.period is not None]] = True
        mask[TODAY] = True
    else:
        mask[[W + i for i, w in enumerate(words) if w.value is not None]] = True
        mask[list(VALUE_OF)] = True
        if top.startswith("number_or_column"):
            mask[COL : COL + len(reading.columns)] = True
            mask[int(top.split(":")[1])] = False
        if top == "optional_number":
            mask |= mask_of(state[:-1], reading)
    return mask
