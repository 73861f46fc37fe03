"""A recipe from a packaged name or a TOML file, with --set KEY=VALUE on top."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from limbeck.errors import LimbeckError
from limbeck.recipe.schema import ArmSection, MixSection, Recipe, StudentSection, TrainSection

MANY = {"arm": ArmSection, "mix": MixSection}  # sections of which there may be any number
AnyModel = TypeVar("AnyModel", bound=BaseModel)


def packaged_recipes() -> dict[str, Path]:
    """Recipes that ship with limbeck, by name."""
    inside = Path(str(resources.files("limbeck"))) / "recipes"
    folder = inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name_or_path: str, settings: Sequence[str] = ()) -> Recipe:
    """The validated recipe. Raises LimbeckError naming the key at fault."""
    path = Path(name_or_path)
    if not path.is_file():
        known = packaged_recipes()
        if name_or_path not in known:
            near = difflib.get_close_matches(name_or_path, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise LimbeckError(f"there is no recipe {name_or_path!r}", "RECIPE", f"{hint}name a TOML file or one of: {', '.join(known)}")
        path = known[name_or_path]
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise LimbeckError(f"the recipe is not readable TOML: {problem}", str(path), "mend the line it names") from problem
    if isinstance(raw.setdefault("recipe", {}), dict):
        raw["recipe"].setdefault("name", path.stem)
    for setting in settings:
        _apply(raw, *_split(setting))
    return validate(raw, str(path))


def validate(raw: dict[str, Any], where: str) -> Recipe:
    """A dictionary as a recipe. Strict: `true` is no number and "8" is none either."""
    try:
        recipe = _read(Recipe, raw)
    except ValidationError as problem:
        raise _explain(problem, where) from problem
    _check_heads(recipe.student, f"{where}, [student]")
    names = ["student", *(arm.name for arm in recipe.arm)]  # each names a folder: two alike would overwrite each other
    for arm in recipe.arm:
        if names.count(arm.name) > 1:
            raise LimbeckError(f"two students are called {arm.name!r}", f"{where}, [[arm]]", "give each arm a name of its own; `student` is the recipe's own")
        with_arm(recipe, arm, where)
    if recipe.evaluate.sweep and recipe.evaluate.sweep_split in recipe.evaluate.splits:
        raise LimbeckError(f"the sweep would be tuned on what is examined: {recipe.evaluate.sweep_split!r}", f"{where}, evaluate.sweep_split", "name a split that is not among evaluate.splits")
    if len(set(recipe.recipe.seeds)) < len(recipe.recipe.seeds):
        raise LimbeckError(f"recipe.seeds repeats a seed: {list(recipe.recipe.seeds)}", where, "name each seed once")
    return recipe


def _read(model: type[AnyModel], raw: dict[str, Any]) -> AnyModel:
    return model.model_validate_json(json.dumps(raw, default=str), strict=True)


def _check_heads(student: StudentSection, where: str) -> None:
    if student.width % student.heads:
        raise LimbeckError(f"width {student.width} is not a multiple of heads {student.heads}", where, "choose a width that the heads divide")


def with_arm(recipe: Recipe, arm: ArmSection, where: str = "[[arm]]") -> tuple[StudentSection, TrainSection]:
    """The student and train sections of one arm."""
    raw = {"student": recipe.student.model_dump(), "train": recipe.train.model_dump()}
    for key, value in arm.set.items():
        if key.split(".")[0] not in raw:
            raise LimbeckError(f"an arm cannot change {key!r}", f"{where}, arm {arm.name!r}", "arms change keys of student and train")
        _apply(raw, key, value)
    try:
        student, train = _read(StudentSection, raw["student"]), _read(TrainSection, raw["train"])
    except ValidationError as problem:
        raise _explain(problem, f"{where}, arm {arm.name!r}") from problem
    _check_heads(student, f"{where}, arm {arm.name!r}")
    return student, train


def dump_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML, every key spelled out."""
    lines: list[str] = []
    for name, section in recipe.model_dump().items():
        for title, part in [(f"[[{name}]]", one) for one in section] if name in MANY else [(f"[{name}]", section)]:
            lines += ["", title, *(f"{key} = {_toml(value)}" for key, value in part.items() if value is not None)]
    return "\n".join(lines).strip() + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    return repr(value)


def _split(setting: str) -> tuple[str, Any]:
    key, mark, text = setting.partition("=")
    if not mark or not key.strip():
        raise LimbeckError(f"--set takes KEY=VALUE, not {setting!r}", "--set", "write it like --set train.steps=200")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def _apply(raw: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    place = raw
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise LimbeckError(f"{key!r} does not lead to a key", "--set", "write it like --set train.steps=200")
    place[last] = value


def _explain(problem: ValidationError, where: str) -> LimbeckError:
    first = problem.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location) or "this section"
    if first["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return LimbeckError(f"unknown key {key!r}", where, hint)
    return LimbeckError(f"{key}: {first['msg']} (given: {str(first.get('input'))[:60]!r})", where, "see docs/recipe.md for the key's type and range")


def _keys_at(location: list[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        model = MANY[part] if part in MANY else annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else model
    return list(model.model_fields)
