"""What a recipe names by where it lies, named in manifests by what it is: a folder may be moved, renamed or spelt in another way.

Servers, hub ids and what ships with limbeck keep the names they are written with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.distill.mixing import MixedSet
from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.records import content_id
from limbeck.run import hash_file

NO_FOLDERS = ("builtin:", "openai:", "panel:", "baseline:")
WEIGHTS = "weights:"
NO_MODELS = ("", "own", "generator")
SPELLING = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges*", "*.model", "*.tiktoken")  # the files that a tokenizer in Hugging Face form may have


def identify_model(model: str) -> str:
    """A MODEL by its weights and tokenizer where they lie in a folder, else by the name it is given."""
    folder = _folder(model)
    return f"{WEIGHTS}{hash_weights(folder)[:32]} {identify_tokenizer(model)}" if folder else model


def identify_tokenizer(model: str) -> str:
    """Whose tokenizer a decoder takes: by its files where they lie in a folder, else by the name it is given."""
    folder = _folder(model)
    return f"tokenizer:{content_id(_hashes(folder, SPELLING), 32)}" if folder else model


def identify_student(student: StudentSection, tokenizer: str) -> dict[str, Any]:
    """A student's section without places. `tokenizer` stands for the one it names."""
    return student.model_dump() | {"source": identify_model(student.source), "tokenizer": tokenizer}


def identify_training(train: TrainSection) -> dict[str, Any]:
    """A training's section without places."""
    return train.model_dump() | {"start": identify_model(train.start)}


def identify_set(mixed: MixedSet) -> list[Any]:
    """A set by its weight, its records and who had a hand in them; whose weights are known by their hash needs no name."""
    return [mixed.weight, mixed.sha256, [asdict(o) | ({"model": ""} if o.revision.startswith(WEIGHTS) else {}) for o in mixed.origins]]


def name_weights(model: str) -> str:
    """The revision of a model in a folder, for who had a hand in a record: the first signs of its weights' hash; nothing elsewhere."""
    folder = _folder(model)
    return f"{WEIGHTS}{hash_weights(folder)[:12]}" if folder else ""


def hash_weights(folder: Path) -> str:
    """As resolve.hash_weights, read once as long as no file changes: a run asks for each arm and seed."""
    return _hash_weights(str(folder), tuple(_states(folder, ("*.safetensors",))))


@lru_cache(maxsize=64)
def _hash_weights(folder: str, states: tuple[Any, ...]) -> str:
    return resolve.hash_weights(Path(folder))


def _hashes(folder: Path, patterns: tuple[str, ...]) -> list[list[str]]:
    return [[path.name, hash_file(path)] for path in _files(folder, patterns)]


def _states(folder: Path, patterns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """What changes with a file that is written anew."""
    for path in _files(folder, patterns):
        at = path.stat()
        yield path.name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _folder(model: str) -> Path | None:
    """The folder of the user's in which a model or a tokenizer lies."""
    if model in NO_MODELS or model.startswith(NO_FOLDERS):
        return None
    path = Path(resolve.weights_of(model))
    return path if path.is_dir() else None
