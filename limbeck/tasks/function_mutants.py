"""Near misses of a function: one operator, constant, step or order changed. Tests that mean something fail them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Gt: (ast.GtE, ast.Lt), ast.Lt: (ast.LtE, ast.Gt), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.Mod: (ast.FloorDiv,), ast.FloorDiv: (ast.Mod,), ast.Pow: (ast.Mult,),
}  # fmt: skip
NAMES = {"any": "all", "all": "any", "max": "min", "min": "max", "sorted": "list", "sum": "len", "upper": "lower", "lower": "upper", "startswith": "endswith", "endswith": "startswith", "isalpha": "isalnum", "isdigit": "isalnum", "abs": "int"}


def mutants(source: str) -> list[str]:
    """Programs that differ from a function in one place each; some do the same all the same."""
    found = {}
    for tree in _changed(ast.parse(source)):
        found[ast.unparse(ast.fix_missing_locations(tree))] = None
    return [text for text in found if text != ast.unparse(ast.parse(source))]


def _changed(tree: ast.Module) -> Iterator[ast.Module]:
    count = sum(1 for _ in ast.walk(tree))
    for at in range(count):
        for way in range(3):
            other = copy.deepcopy(tree)
            if _change(list(ast.walk(other))[at], way):
                yield other
    body = tree.body[0].body  # type: ignore[attr-defined]
    for at in range(len(body) - 1):
        dropped, swapped = copy.deepcopy(tree), copy.deepcopy(tree)
        del dropped.body[0].body[at]  # type: ignore[attr-defined]
        yield dropped
        first, second = swapped.body[0].body[at : at + 2]  # type: ignore[attr-defined]
        first.value, second.value = second.value, first.value
        yield swapped
    last = copy.deepcopy(tree)
    last.body[0].body[-1].value = body[-2].targets[0] if len(body) > 1 else ast.Name(tree.body[0].args.args[0].arg, ast.Load())  # type: ignore[attr-defined]
    yield last


def _change(node: ast.AST, way: int) -> bool:
    """One of up to three changes made to a node in place; whether there was one."""
    if isinstance(node, ast.Compare) and way < len(ways := OPERATORS.get(type(node.ops[0]), ())):
        node.ops[0] = ways[way]()
    elif isinstance(node, ast.BinOp) and way < len(ways := OPERATORS.get(type(node.op), ())):
        node.op = ways[way]()
    elif isinstance(node, ast.Constant) and type(node.value) is int and way < 2:
        node.value += (1, -1)[way]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool) and way == 0:
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and way == 0:
        node.value = "e" if node.value == "a" else "a"
    elif isinstance(node, ast.Slice) and node.step is None and way == 0:
        node.lower, node.upper = node.upper, node.lower
    elif isinstance(node, ast.Name) and node.id in NAMES and way == 0:
        node.id = NAMES[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in NAMES and way == 0:
        node.attr = NAMES[node.attr]
    else:
        return False
    return True
