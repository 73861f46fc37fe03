"""The sentences that tell a judge how to answer: upstream's own from the user's checkout, or ours."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError

FILE = Path("elsuite") / "modelgraded" / "classify_utils.py"
EVAL_TYPES = ("classify", "classify_cot", "cot_classify", "cot_classify_jp")
OURS = {
    "classify": "Reply with exactly one of {choices}: the choice alone, with no quotation marks, punctuation or further words.",
    "classify_cot": "On the first line give exactly one of {choices}, with no quotation marks or punctuation. On the lines after it, say why, one step after another.",
    "cot_classify": "Think it through first and write down every step; do not begin with the verdict. When the steps are done, put exactly one of {choices} alone on a line, with no quotation marks or punctuation, and then the same choice once more on the last line.\n\nSteps:",
    "cot_classify_jp": "最初に結論を述べず、考え方を順を追って書いてください。そのあと、{choices}のうち一つだけを、引用符や句読点を付けずに一行で書き、最後の行に同じものをもう一度書いてください。\n\n考え方：",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """Instructions by eval type, and whose they are: `upstream` or `ours`."""

    texts: dict[str, str]
    whose: str

    def instruction(self, eval_type: str, choices: list[str]) -> str:
        """The instruction with the choices put in: "A" or "B"."""
        return self.texts[eval_type].replace("{choices}", " or ".join(f'"{c}"' for c in choices))


def find_wording(registry: Path) -> Wording:
    """Upstream's wording where the registry lies in a checkout or an installed package, else ours."""
    file = registry.parent / FILE
    return read_wording(file) if file.is_file() else Wording(dict(OURS), "ours")


def read_wording(file: Path) -> Wording:
    """ANSWER_PROMPTS as they stand in a file of upstream's, read without running it. Raises LimbeckError where they are not there."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the wording cannot be read: {problem}", str(file), "check the checkout of openai/evals") from problem
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and any(isinstance(t, ast.Name) and t.id == "ANSWER_PROMPTS" for t in node.targets):
            texts = {str(k.value): _text(v, file) for k, v in zip(node.value.keys, node.value.values, strict=True) if isinstance(k, ast.Constant)}
            missing = [t for t in EVAL_TYPES if t not in texts]
            if not missing:
                return Wording(texts, "upstream")
    raise LimbeckError("this file does not hold the answer prompts as expected", str(file), "use openai/evals from 2023-05 or later, or a registry outside the checkout (ours then serves)")


def _text(node: ast.expr, file: Path) -> str:
    """A text, or a text with .strip() behind it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "strip" and not node.args:
        return _text(node.func.value, file).strip()
    raise LimbeckError("an answer prompt is not a plain text", f"{file}, line {node.lineno}", "check the checkout of openai/evals")
