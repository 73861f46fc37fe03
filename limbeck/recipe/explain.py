"""What each key of a recipe means, its type, range and default: read from the schema, so that it is written once."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.recipe.load import MANY
from limbeck.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a recipe. `default` is JSON, or words where it depends."""

    name: str
    kind: str
    default: str
    help: str


def list_keys() -> list[Key]:
    """Every key, in the order of the schema; those of arms start with `arm.`."""
    schema = Recipe.model_json_schema()
    out: list[Key] = []
    for section, about in schema["properties"].items():
        target = about.get("$ref") or about.get("items", {}).get("$ref")
        model = schema["$defs"][target.rsplit("/", 1)[-1]]
        for name, field in model["properties"].items():
            default = json.dumps(field.get("default", {})).replace("null", "none")
            if name in model.get("required", ()):
                default = "the file's name" if section == "recipe" else "must be given"
            out.append(Key(name=f"{section}.{name}", kind=_kind(field), default=default, help=field.get("description", "")))
    return out


def explain(name: str) -> Key:
    """One key by its full name. Raises LimbeckError with the nearest one."""
    keys = {key.name: key for key in list_keys()}
    if name not in keys:
        near = difflib.get_close_matches(name, keys, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see docs/recipe.md"
        raise LimbeckError(f"a recipe has no key {name!r}", "recipe", hint)
    return keys[name]


def as_markdown() -> str:
    """docs/recipe.md; a test holds the file to this text."""
    lines = [
        "# The recipe", "",
        "One TOML file describes one expert. A key that is left out has its default; `--set train.steps=200` changes one from",
        "the command line. An unknown key, or a value of another type, is an error. Written by `limbeck.recipe.explain`.",
    ]  # fmt: skip
    section = ""
    for key in list_keys():
        head, _, last = key.name.partition(".")
        if head != section:
            section = head
            lines += ["", f"## `[[{head}]]`, any number" if head in MANY else f"## `[{head}]`", "", "| key | type | default | what |", "|---|---|---|---|"]
        lines.append(f"| `{last}` | {key.kind} | {key.default} | {key.help} |")
    return "\n".join(lines) + "\n"


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:  # a key that may be left unsaid
        return _kind(next(kind for kind in field["anyOf"] if kind["type"] != "null"))
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}
    bounds = [("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"), ("exclusiveMaximum", "below"), ("multipleOf", "a multiple of")]
    limits = [f"{words} {field[bound]:,}" for bound, words in bounds if bound in field]
    return ", ".join([names[field["type"]], *limits])
