"""The house: who may import whom, and what the first screen must not load."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "limbeck"
FLOOR = {"errors", "records", "answerer", "task", "run"}
ROOF = {"resolve", "climbing", "make", "cli", "overlapping", "asking", "asking_code", "asking_text", "self_testing", "decontaminating", "exporting", "teaching", "tokenizing", "terming", "empanelling", "panel_verbs", "sweeping", "economics", "examining", "planning", "predicting", "forecasting", "laddering", "carrying_over", "progress", "testing", "inspect_bridge", "lm_eval_bridge", "__main__", "serving", "predict_verbs", "options", "seating", "climbing_together", "aligning", "identifying", "probing", "judging"}
MAY = {"tasks": {"data"}, "distill": {"data", "catalog"}, "train": {"models"}, "align": {"models", "train"}, "report": {"catalog"}}


def imports_of(path: Path) -> set[str]:
    """The limbeck modules a file imports, as dotted names below limbeck."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "limbeck":
            found |= {node.module.removeprefix("limbeck").lstrip(".")} if node.module != "limbeck" else {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("limbeck.") for a in node.names if a.name.startswith("limbeck.")}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_rooms_import_only_the_floor_the_schema_and_what_they_are_allowed():
    for path in ROOT.rglob("*.py"):
        room = room_of(path)
        if room in ROOF or room == "__init__":
            continue
        for name in imports_of(path):
            target = name.split(".")[0]
            allowed = target in FLOOR or target == room or name == "recipe.schema" or target.startswith("__")
            allowed |= room not in FLOOR and target in MAY.get(room, set())
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_the_floor_imports_nothing_of_the_rooms():
    for name in FLOOR:
        assert {n.split(".")[0] for n in imports_of(ROOT / f"{name}.py")} <= FLOOR | {"__version__"}


def test_no_import_cycles_between_modules():
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in ROOT.rglob("*.py")}
    top = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        body = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        found = {n.module.removeprefix("limbeck.") for n in body.body if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("limbeck.")}
        top[name] = {n for n in found if n in names}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in top[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in top:
        visit(name, ())


def test_help_loads_no_heavy_library():
    code = "import sys; from limbeck.cli import main\ntry:\n main(['--help'])\nexcept SystemExit: pass\nprint([m for m in ('torch','numpy','pydantic','transformers','altair','openpyxl') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]") and "make" in out


def test_no_file_carries_a_name_that_says_nothing():
    banned = {"utils", "helpers", "common", "misc", "core", "base", "manager"}
    assert not [p for p in ROOT.rglob("*.py") if p.stem in banned]
