"""The page to try a model on: one form, no script, nothing from elsewhere. Everything on it is escaped, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from limbeck.serve.desk import Desk

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@cache
def _template() -> Template:
    return Environment(loader=PackageLoader("limbeck.serve"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined).get_template("try.html")


def render(desk: Desk, terms: Mapping[str, Any], asks_key: bool, form: Mapping[str, str], choices: Sequence[Mapping[str, Any]], refusal: str) -> str:
    """The page with what was asked, and its answers or why there are none."""
    answers = []
    for choice in choices:
        beside, said = choice.get("limbeck", {}), choice["message"]
        answers.append({"text": visible(said["content"] or said["refusal"] or ""), "score": beside.get("score"), "cells": beside.get("cells"), "warnings": beside.get("warnings", [])})
    asked = {name: form.get(name, standard) for name, standard in (("text", ""), ("table", ""), ("today", ""), ("n", "1" if desk.reads_messages else "3"))}
    return _template().render(name=desk.name, displays=terms.get("displays", []), owed=terms.get("owed", []), asks_key=asks_key, needs=desk.needs, reads_extra=desk.read_extra is not None, asked=asked, answers=answers, refusal=refusal, most=desk.most)


def visible(text: str) -> str:
    """A text with its control signs by name: what turns a line round, or hides in it, is seen."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
