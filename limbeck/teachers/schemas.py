"""Whether a JSON value follows a schema: the parts of JSON Schema that servers can hold an answer to."""

from __future__ import annotations

from typing import Any

KINDS: dict[str, tuple[type, ...]] = {"object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "null": (type(None),)}


def breaks_schema(value: Any, schema: dict[str, Any], where: str = "the answer") -> str:
    """Where and how a value breaks a schema (type, enum, const, properties, required, additionalProperties, items, anyOf); "" where it does not."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS.get(kind, (object,))) and not (isinstance(value, bool) and kind in ("number", "integer")) for kind in kinds):
        return f"{where} is no {' or '.join(kinds)}"
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return f"{where} is none of the values that are allowed"
    if "anyOf" in schema and all(breaks_schema(value, choice, where) for choice in schema["anyOf"]):
        return f"{where} follows none of its forms"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        missing = next((name for name in schema.get("required", ()) if name not in value), None)
        if missing:
            return f"{where} has no {missing!r}"
        extra = next((name for name in value if name not in known), None) if schema.get("additionalProperties") is False else None
        if extra:
            return f"{where} has {extra!r}, which the schema does not know"
        return next((found for name, inner in known.items() if name in value and (found := breaks_schema(value[name], inner, f"{where}.{name}"))), "")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return next((found for at, item in enumerate(value) if (found := breaks_schema(item, schema["items"], f"{where}[{at}]"))), "")
    return ""
