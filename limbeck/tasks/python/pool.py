"""What a text-to-Python student learns from: CoNaLa's training pairs with their names and values varied, and code of this machine.

Code of this machine (the standard library, say) gives two sorts of pairs more: functions of one line with the first sentence
of their docstring, and statements with a request made of the words in them, so that a student has met the library's calls
and how they are spelt.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import random
import re
import sys
from collections.abc import Sequence
from functools import lru_cache

from limbeck.data.groups import normalise, split_by_group
from limbeck.data.local_code import read_code
from limbeck.errors import LimbeckError
from limbeck.tasks.bash.pool import CHANGE, ENDINGS, WORDS, _order
from limbeck.tasks.pieces import Token
from limbeck.tasks.python.loading import make_examples
from limbeck.tasks.python.metrics import tokenise
from limbeck.tasks.python.reading import tokens_of_request

SHARES = {"pool": 0.94, "dev": 0.03, "examination": 0.03}
BLOCK, OF_PEOPLE, OF_STATEMENTS = 10, 6, 3  # of ten pairs so many; the rest are functions with docstrings
KEPT = {*keyword.kwlist, *dir(builtins), *sys.stdlib_module_names, "np", "pd", "plt", "df", "self", "cls", "scipy", "numpy", "pandas", "matplotlib", "django", "tk", "ax", "fig"}
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
SAY = (  # words that people put in each other's place
    ("get", "find", "obtain", "fetch", "return"), ("create", "make", "build"), ("remove", "delete"), ("convert", "turn", "transform", "change"), ("dictionary", "dict"),
    ("check if", "check whether", "see if", "test if"), ("elements", "items", "entries"), ("string", "text"), ("sort", "order"), ("print", "output", "display"), ("split", "break up"), ("directory", "folder"),
)  # fmt: skip
LONGEST = 120  # characters of a statement that is learnt from


@lru_cache(maxsize=8)
def people_pairs(part: str) -> tuple[tuple[str, str], ...]:
    """CoNaLa's training pairs: what is learnt from ("pool") and what is kept apart ("dev", "examination"), by groups of like ones.

    No pair whose code has the words of a line of the dev or test part, which are kept out of everything.
    """
    kept_out = {" ".join(tokenise(gold)) for split in ("dev", "test") for gold in _golds(split)}
    pairs = [(e.prompt.text, e.gold[0]) for e in make_examples("train") if " ".join(tokenise(e.gold[0])) not in kept_out]
    keys = [(("nl", normalise(nl)), ("code", " ".join(tokenise(code)))) for nl, code in pairs]
    places = split_by_group(keys, [f"{nl} {code}" for nl, code in pairs], SHARES, "python")
    return tuple(pair for pair, place in zip(pairs, places, strict=True) if place == part)


def _golds(split: str) -> list[str]:
    try:
        return [gold for e in make_examples(split) for gold in e.gold]
    except LimbeckError:  # the test part may be kept elsewhere
        return []


@lru_cache(maxsize=4)
def code_pairs(places: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Of code on this machine: (docstring, line) pairs, and (statement, statement) ones to be described when they are drawn."""
    kept_out = {" ".join(tokenise(gold)) for split in ("dev", "test") for gold in _golds(split)}
    said, statements = [], []
    for piece in read_code(places, "python"):
        code = piece.code.removeprefix("return ")
        if piece.kind == "function" or len(code) > LONGEST or not _is_telling(code) or " ".join(tokenise(code)) in kept_out:
            continue
        if piece.kind == "line":
            said.append((_with_names(piece.text, code), code))
        else:
            statements.append((code, code))
    return tuple(said), tuple(dict.fromkeys(statements))


def _is_telling(code: str) -> bool:
    """Whether a line could be asked for: it calls or looks something up, and leans on no object around it."""
    return ("(" in code or "[" in code) and not re.search(r"\bself\b|\bcls\b|\b_|__\w+__|^(?:yield|raise|super|import|from|global)\b", code)


def _with_names(sentence: str, code: str) -> str:
    """A docstring's sentence, with the names that the line needs and the sentence lacks."""
    missing = [f"`{name}`" for name in _names(code) if not re.search(rf"\b{re.escape(name)}\b", sentence)]
    return f"{sentence} with {' and '.join(missing)}" if missing else sentence


@lru_cache(maxsize=20_000)
def _names(code: str) -> tuple[str, ...]:
    """Names of a line that are its own: neither built in, nor modules, nor called."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return ()
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    found = dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return tuple(name for name in found if name not in KEPT and name not in called)


def pick(places: tuple[str, ...], seed: int, index: int) -> tuple[str, str]:
    """The index-th pair: of every ten, six of people, three statements described, one function; of people alone without places."""
    draw = random.Random(f"python-{seed}-{index}")
    if not places:
        return _pick(people_pairs("pool"), seed, index, draw)
    said, statements = code_pairs(places)
    block, at = divmod(index, BLOCK)
    if at < OF_PEOPLE or not (said and statements):
        return _pick(people_pairs("pool"), seed, block * OF_PEOPLE + at, draw)
    if at < OF_PEOPLE + OF_STATEMENTS:
        _, code = _pick(statements, seed, block * OF_STATEMENTS + at - OF_PEOPLE, draw)
        return described(code, draw), code
    return _pick(said, seed, block, draw)


def _pick(pool: Sequence[tuple[str, str]], seed: int, index: int, draw: random.Random) -> tuple[str, str]:
    """The pool in one drawn order after another: as it is in the first, varied in the next ones."""
    if not pool:
        raise LimbeckError("there is nothing to learn from", "task python", "run `limbeck data get conala`, or name another folder of code")
    turn, place = divmod(index, len(pool))
    nl, code = pool[_order(len(pool), seed * 1000 + turn)[place]]
    return varied(nl, code, draw) if turn else (nl, code)


def described(code: str, draw: random.Random) -> str:
    """A request made of a statement's own words: calls and attributes in plain words, names and values in backticks or quotes."""
    words, values, target = [], [], ""
    tree = ast.parse(code)
    first = tree.body[0]
    if isinstance(first, ast.Assign) and isinstance(first.targets[0], ast.Name):
        target = first.targets[0].id
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            words += _words_of(node.attr)
        elif isinstance(node, ast.Name) and node.id != target:
            (words.extend(_words_of(node.id)) if node.id in KEPT or re.search(rf"\b{node.id}\(", code) else values.append(f"`{node.id}`"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) <= 60 and "\n" not in node.value and "'" not in node.value:
            values.append(f"'{node.value}'")
        elif isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool) and node.value > 1:
            values.append(str(node.value))
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            words.append("each")
        elif isinstance(node, ast.keyword) and node.arg:
            words += _words_of(node.arg)
    words = [w for w in dict.fromkeys(words) if draw.random() < 0.85] or words
    values = list(dict.fromkeys(values))
    if draw.random() < 0.3:
        draw.shuffle(values)
    said = " ".join(words) + (f" {draw.choice(('of', 'with', 'for', 'in', 'from'))} " + draw.choice((" and ", ", ", " ")).join(values) if values else "")
    if target:
        said = draw.choice((f"assign {said} to `{target}`", f"set `{target}` to {said}", f"{said} as `{target}`"))
    return said.strip()


def _words_of(name: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def varied(nl: str, code: str, draw: random.Random) -> tuple[str, str]:
    """The pair with other names and values where both share one, and other words of the same meaning."""
    shared = [t for t in dict.fromkeys(tokens_of_request(nl)) if t.is_value and _stands_in(code, t.text)]
    names = set(_names(code))
    for token in sorted(shared, key=lambda t: -len(t.text)):
        if draw.random() > CHANGE or not _stands_in(code, token.text):
            continue
        fresh = _another(token, names, draw)
        if fresh != token.text and not re.search(rf"(?<!\w){re.escape(fresh)}(?!\w)", code + " " + nl):
            nl, code = _replace(nl, token.text, fresh), _replace(code, token.text, fresh)
    for group in SAY:
        for word in group:
            if re.search(rf"\b{word}\b", nl) and draw.random() < 0.25:
                nl = _outside_code(nl, word, draw.choice(group))
                break
    if draw.random() < 0.3:
        nl = nl[:1].lower() + nl[1:]
    if draw.random() < 0.15:
        nl = f"{nl.rstrip(' .?')} in python"
    return (nl.rstrip(" .?") if draw.random() < 0.3 else nl), code


def _stands_in(text: str, word: str) -> bool:
    return bool(re.search(_whole(word), text))


def _whole(word: str) -> str:
    """Where a word stands whole; no attribute of the same name."""
    return rf"(?<![\w.]){re.escape(word)}(?!\w)" if IDENTIFIER.fullmatch(word) else rf"(?<!\w){re.escape(word)}(?!\w)" if word[:1].isalnum() and word[-1:].isalnum() else re.escape(word)


def _replace(text: str, old: str, new: str) -> str:
    return re.sub(_whole(old), lambda _: new, text)


def _outside_code(nl: str, old: str, new: str) -> str:
    """A sentence with another word, code and quotes left as they are."""
    parts = re.split(r"(`[^`]*`|'[^']*'|\"[^\"]*\")", nl)
    return "".join(re.sub(rf"\b{old}\b", new, part) if at % 2 == 0 else part for at, part in enumerate(parts))


def _another(token: Token, names: set[str], draw: random.Random) -> str:
    """A name or value of the same sort; the same where changing it could change what is meant."""
    text = token.text
    if text.isdigit():
        return str(draw.randint(10 ** (len(text) - 1), 10 ** len(text) - 1) or 2) if int(text) > 1 and not text.startswith("0") and len(text) < 7 else text
    if text in names or (token.kind == "quoted" and IDENTIFIER.fullmatch(text) and text not in KEPT):
        return _name_like(text, draw)
    if re.fullmatch(r"[A-Za-z]+(?: [A-Za-z]+){1,4}", text):
        return " ".join(_name_like(word, draw) for word in text.split())
    file = re.fullmatch(r"([\w-]+)\.(\w{1,5})", text)
    return f"{draw.choice(WORDS)}.{draw.choice(ENDINGS)}" if file and token.kind == "quoted" else text


def _name_like(text: str, draw: random.Random) -> str:
    if len(text) == 1:
        return draw.choice("abcdefghklmnpqrstuvwxyz" if text.islower() else "ABCDEFGHKLMNPQRSTUVWXYZ")
    fresh = draw.choice(WORDS) + (draw.choice(("_list", "_name", "s", "_dict", "_data")) if "_" in text else "") + (str(draw.randint(1, 9)) if text[-1].isdigit() else "")
    return fresh.upper() if text.isupper() else fresh.capitalize() if text[:1].isupper() else fresh
