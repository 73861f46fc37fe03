"""Text to measure on where nothing can be downloaded: docstrings of the Python packages installed here, one module a line, each text once.

python benchmarks/docstrings_corpus.py OUT.jsonl; then task = "text:OUT.jsonl". Modules that share the first three parts of their path are one group, so
that near copies fall on one side of a split. What is installed decides what comes out: figures made with it name size and hash, which this prints.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sysconfig
import warnings
from pathlib import Path

SHORTEST = 80  # characters


def docstrings_of(path: Path, seen: set[str]) -> str:
    """A module's docstrings under the names they belong to, without those in `seen`; "" for what is no Python."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, OSError):
        return ""
    said = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if len(text) >= SHORTEST and text not in seen:
                seen.add(text)
                said.append(f"{getattr(node, 'name', path.name)}\n{text}")
    return "\n\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    root, seen, lines = Path(sysconfig.get_path("purelib")), set[str](), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(root.rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if "/test" not in place and "_test" not in place and (text := docstrings_of(path, seen)):
                lines.append(json.dumps({"text": text, "group": "/".join(place.split("/")[:3])}) + "\n")
    content = "".join(lines).encode()
    out.write_bytes(content)
    print(f"{len(lines):,} modules, {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}")


if __name__ == "__main__":
    main()
