"""A policy as a file: statements about an answer, how each is checked, what a request calls for, and which answers are better under that.

[propositions.NAME]   says, check = "rule" | "classifier" | "judge", and what that check needs: rule, pattern, any_of, longer_than,
                      shorter_than, or question. `under` lists the response types in which it is looked for; elsewhere it is false.
                      `confirmed = true`: a classifier or judge is believed only where the rule says yes too.
[derived]             NAME = a condition over propositions and other derived names.
[response.KIND]       ideal, acceptable, disallowed: conditions; `unacceptable` is the rest unless it says what it is.
[requests]            CATEGORY = KIND. The category "" stands for every one that is not named.

A condition is names joined by `and`, `or`, `not` and parentheses; it is parsed, never run. `load_policy` refuses a policy whose
propositions nothing can check, whose names go astray, whose definitions go in circles, or that calls one answer good and bad at once.
"""

from __future__ import annotations

import ast
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args

from limbeck.align.propositions import RULES, SETTINGS, Exchange, Rule, with_setting
from limbeck.errors import LimbeckError
from limbeck.records import content_id

Check = Literal["rule", "classifier", "judge"]
Kind = Literal["comply", "hard_refuse", "safe_refuse"]
Rank = Literal["ideal", "acceptable", "unacceptable", "disallowed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RANKS: tuple[Rank, ...] = get_args(Rank)  # best first
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PROPOSITION_KEYS = {"says", "check", "rule", "question", "under", "confirmed", *SETTINGS}
Truth = Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class Proposition:
    """A statement about an answer and how it is checked. `rule` is there wherever a rule can speak of it, `question` is what a judge is asked."""

    name: str
    says: str
    check: Check
    rule: Rule | None = None
    question: str = ""
    under: tuple[Kind, ...] = KINDS
    confirmed: bool = False

    def by_rule(self, exchange: Exchange) -> bool:
        """What its rule says; false under a response type in which it is not looked for."""
        if self.rule is None:
            raise ValueError(self.name)
        return (not exchange.kind or exchange.kind in self.under) and self.rule(exchange)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A whole policy, checked. `conditions` maps (kind, rank) to a parsed condition; `content` identifies it."""

    name: str
    content: str
    propositions: Mapping[str, Proposition]
    derived: Mapping[str, ast.expr]
    conditions: Mapping[tuple[Kind, Rank], ast.expr]
    requests: Mapping[str, Kind]
    where: str = field(default="", compare=False)

    def kind_of(self, category: str) -> Kind:
        """The response type that a request of this category calls for."""
        if category in self.requests:
            return self.requests[category]
        if "" in self.requests:
            return self.requests[""]
        raise LimbeckError(f"the policy does not say what requests of category {category!r} call for", f"{self.where} [requests]", f'add {category} = "comply", "hard_refuse" or "safe_refuse", or "" for all others')

    def rank(self, kind: Kind, truth: Truth) -> Rank:
        """The rank of an answer under a response type, by which propositions are true of it."""
        known = self.with_derived(truth)
        for name in ("disallowed", "unacceptable", "ideal", "acceptable"):
            condition = self.conditions.get((kind, name))
            if condition is not None and _truth(condition, known):
                return name
        return "unacceptable"

    def example(self, kind: Kind, rank: Rank) -> dict[str, bool]:
        """Propositions that put an answer at a rank: those that its condition settles, and no more; empty where none is written down."""
        condition = self.conditions.get((kind, rank))
        return {} if condition is None else _satisfy(_expand(condition, self.derived), {}) or {}

    def with_derived(self, truth: Truth) -> dict[str, bool]:
        """Propositions and derived names together."""
        known = {name: bool(truth.get(name, False)) for name in self.propositions}
        for name, condition in self.derived.items():  # in an order in which each one's names come before it
            known[name] = bool(_truth(condition, known))
        return known

    def used(self, kind: Kind | None = None) -> tuple[str, ...]:
        """The propositions on which ranks hang: of one response type, or of any."""
        found: set[str] = set()
        for (of, _), condition in self.conditions.items():
            if kind in (None, of):
                found |= self._propositions_in(condition)
        return tuple(name for name in self.propositions if name in found)

    def _propositions_in(self, condition: ast.expr) -> set[str]:
        out: set[str] = set()
        for name in _names(condition):
            out |= self._propositions_in(self.derived[name]) if name in self.derived else {name}
        return out


def packaged_policies() -> list[str]:
    """The policies that come with limbeck."""
    return sorted(f.name.removesuffix(".toml") for f in (resources.files("limbeck") / "align" / "policies").iterdir() if f.name.endswith(".toml"))


def load_policy(source: str) -> Policy:
    """A packaged policy by name, or a TOML file. Raises LimbeckError for one that cannot work, before anything runs."""
    if not source.endswith(".toml"):
        names = packaged_policies()
        if source not in names:
            near = difflib.get_close_matches(source, names, 1, 0.4)
            raise LimbeckError(f"there is no policy called {source!r}", "align.policy", (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(names)}, or a TOML file")
        text, where = (resources.files("limbeck") / "align" / "policies" / f"{source}.toml").read_text(encoding="utf-8"), f"policy {source}"
    else:
        try:
            text, where = Path(source).read_text(encoding="utf-8"), source
        except (OSError, UnicodeDecodeError) as problem:
            raise LimbeckError(f"the policy cannot be read: {problem}", source, "name a TOML file in UTF-8, or a packaged policy") from problem
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise LimbeckError(f"the policy is no readable TOML: {problem}", where, "mend the line it names") from problem
    return read_policy(table, where)


def read_policy(table: Mapping[str, Any], where: str) -> Policy:
    """A policy from its parsed TOML."""
    unknown = set(table) - {"name", "propositions", "derived", "response", "requests"}
    if unknown:
        raise LimbeckError(f"a policy has no {sorted(unknown)[0]!r}", where, "it has: name, propositions, derived, response, requests")
    for part in ("propositions", "response", "requests"):
        if not isinstance(table.get(part), dict) or not table[part]:
            raise LimbeckError(f"the policy has no [{part}]", where, "see docs/align.md for a whole one")
    propositions = {name: _read_proposition(name, given, where) for name, given in table["propositions"].items()}
    derived = _order_derived({name: _parse(source, f"{where} [derived] {name}") for name, source in table.get("derived", {}).items()}, propositions, where)
    conditions: dict[tuple[Kind, Rank], ast.expr] = {}
    for kind, ranks in table["response"].items():
        _one_of(kind, KINDS, "response type", where)
        for rank, source in ranks.items():
            _one_of(rank, RANKS, "rank", f"{where} [response.{kind}]")
            conditions[cast(Kind, kind), cast(Rank, rank)] = _parse(source, f"{where} [response.{kind}] {rank}")
        for needed in ("ideal", "disallowed"):
            if needed not in ranks:
                raise LimbeckError(f"it does not say which answers are {needed}", f"{where} [response.{kind}]", f'add {needed} = "..." (a condition over propositions)')
    requests = {}
    for category, kind in table["requests"].items():
        _one_of(kind, tuple(table["response"]), "response type", f"{where} [requests] {category}")
        requests[category] = cast(Kind, kind)
    policy = Policy(name=str(table.get("name", Path(where).stem)), content=content_id(table), propositions=propositions, derived=derived, conditions=conditions, requests=requests, where=where)
    for (kind, rank), condition in conditions.items():
        _check_names(condition, [*propositions, *derived], f"{where} [response.{kind}] {rank}")
    _check_ranks(policy)
    return policy


def _read_proposition(name: str, given: Mapping[str, Any], where: str) -> Proposition:
    place = f"{where} [propositions.{name}]"
    if not _NAME.fullmatch(name) or name in ("and", "or", "not", "true", "false"):
        raise LimbeckError(f"{name!r} cannot be the name of a proposition", place, "use small letters, digits and _")
    for key in given:
        _one_of(key, tuple(sorted(_PROPOSITION_KEYS)), "key of a proposition", place)
    if not isinstance(given.get("says"), str) or not given["says"].strip():
        raise LimbeckError("it does not say what is true of an answer", place, 'add says = "The answer ..."')
    check = given.get("check", "")
    _one_of(check, get_args(Check), "way to check", place)
    under = given.get("under", list(KINDS))
    for kind in under:
        _one_of(kind, KINDS, "response type", f"{place} under")
    rule, question = _read_rule(given, place), str(given.get("question", ""))
    if check == "rule" and rule is None:
        raise LimbeckError(f"nothing can check {name!r}: its check is a rule, and it names none", place, f"add rule = NAME, or one of {', '.join(SETTINGS)}; or check = \"judge\" with a question")
    if check == "judge" and not question.strip():
        raise LimbeckError(f"nothing can check {name!r}: its check is a judge, and it has no question", place, 'add question = "..." that yes or no answers')
    if given.get("confirmed") and rule is None:
        raise LimbeckError(f"nothing can check {name!r}: a rule must confirm it, and it names none", place, "add rule = NAME, or leave confirmed out")
    return Proposition(name=name, says=given["says"], check=check, rule=rule, question=question, under=tuple(under), confirmed=given.get("confirmed") is True)


def _read_rule(given: Mapping[str, Any], place: str) -> Rule | None:
    asked = [key for key in ("rule", *SETTINGS) if key in given]
    if len(asked) > 1:
        raise LimbeckError(f"two rules at once: {' and '.join(asked)}", place, "keep one; a condition under [derived] joins propositions")
    if not asked:
        return None
    key, value = asked[0], given[asked[0]]
    if key == "rule":
        _one_of(value, tuple(RULES), "rule", place)
        return RULES[value]
    if key == "pattern":
        try:
            re.compile(str(value))
        except re.error as problem:
            raise LimbeckError(f"the pattern cannot be read: {problem}", place, "write a regular expression as Python's re takes it") from problem
    elif key == "any_of":
        if not isinstance(value, list) or not value or not all(isinstance(p, str) and p for p in value):
            raise LimbeckError("any_of is no list of phrases", place, 'write any_of = ["a phrase", "another"]')
    elif not isinstance(value, int) or value < 0:
        raise LimbeckError(f"{key} is no number of words", place, f"write {key} = 40")
    return with_setting(key, value)


def _one_of(value: Any, known: Iterable[str], what: str, where: str) -> None:
    known = tuple(known)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1, 0.5)
        raise LimbeckError(f"there is no {what} {value!r}", where, (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(known)}")


def _parse(source: Any, where: str) -> ast.expr:
    """A condition as a tree of names, `not`, `and`, `or`; anything else in it is refused."""
    try:
        tree = ast.parse(str(source).strip(), mode="eval").body
    except SyntaxError as problem:
        raise LimbeckError(f"this condition cannot be read: {source!r}", where, "join names by and, or, not and parentheses") from problem
    for node in ast.walk(tree):
        if not isinstance(node, ast.BoolOp | ast.And | ast.Or | ast.Name | ast.Load | ast.Not) and not (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            raise LimbeckError(f"a condition cannot hold {ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__!r}", where, "join names by and, or, not and parentheses")
    return tree


def _names(condition: ast.expr) -> list[str]:
    return list(dict.fromkeys(node.id for node in ast.walk(condition) if isinstance(node, ast.Name)))


def _check_names(condition: ast.expr, known: list[str], where: str) -> None:
    for name in _names(condition):
        _one_of(name, known, "proposition", where)


def _order_derived(derived: dict[str, ast.expr], propositions: Mapping[str, Proposition], where: str) -> dict[str, ast.expr]:
    """Each after the names it uses. Raises LimbeckError for a circle, a name twice, an unknown one."""
    done: dict[str, ast.expr] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise LimbeckError(f"these definitions go in a circle: {' -> '.join([*trail[trail.index(name):], name])}", f"{where} [derived]", "let one of them speak of propositions alone")
        for other in _names(derived[name]):
            if other in derived and other not in done:
                visit(other, (*trail, name))
        done[name] = derived[name]

    for name, condition in derived.items():
        if name in propositions:
            raise LimbeckError(f"{name!r} is a proposition and a derived name", f"{where} [derived]", "give one of them another name")
        _check_names(condition, [*propositions, *derived], f"{where} [derived] {name}")
    for name in derived:
        if name not in done:
            visit(name, ())
    return done


def _truth(condition: ast.expr, known: Mapping[str, bool | None]) -> bool | None:
    """A condition's value; None where what is not known yet decides it."""
    if isinstance(condition, ast.Name):
        return known.get(condition.id)
    if isinstance(condition, ast.UnaryOp):
        inner = _truth(condition.operand, known)
        return None if inner is None else not inner
    assert isinstance(condition, ast.BoolOp)
    decides = isinstance(condition.op, ast.Or)
    values = [_truth(value, known) for value in condition.values]
    return decides if decides in values else None if None in values else not decides


def _expand(condition: ast.expr, derived: Mapping[str, ast.expr]) -> ast.expr:
    """A condition over propositions alone."""
    if isinstance(condition, ast.Name):
        return _expand(derived[condition.id], derived) if condition.id in derived else condition
    if isinstance(condition, ast.UnaryOp):
        return ast.UnaryOp(ast.Not(), _expand(condition.operand, derived))
    assert isinstance(condition, ast.BoolOp)
    return ast.BoolOp(condition.op, [_expand(value, derived) for value in condition.values])


def _satisfy(condition: ast.expr, known: dict[str, bool]) -> dict[str, bool] | None:
    """Some truth of propositions under which a condition holds; None where there is none."""
    value = _truth(condition, known)
    if value is not None:
        return known if value else None
    name = next(n for n in _names(condition) if n not in known)
    for guess in (False, True):
        found = _satisfy(condition, {**known, name: guess})
        if found is not None:
            return found
    return None


def _check_ranks(policy: Policy) -> None:
    """No rank out of reach, no answer both good and bad."""
    for (kind, rank), condition in policy.conditions.items():
        if rank in ("ideal", "disallowed") and _satisfy(_expand(condition, policy.derived), {}) is None:
            raise LimbeckError(f"no answer can be {rank}: its condition is never true", f"{policy.where} [response.{kind}] {rank}", "loosen it")
    for (kind, good), first in policy.conditions.items():
        for bad in ("unacceptable", "disallowed"):
            second = policy.conditions.get((kind, bad))
            if good not in ("ideal", "acceptable") or second is None:
                continue
            both = _satisfy(_expand(ast.BoolOp(ast.And(), [first, second]), policy.derived), {})
            if both is not None:
                true = [name for name, value in both.items() if value]
                raise LimbeckError(f"an answer can be {good} and {bad} at once: where {' and '.join(true) or 'nothing'} is true of it", f"{policy.where} [response.{kind}]", f"add `and not ...` to {good}, so that no answer is in both")
