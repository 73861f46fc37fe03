"""A run's whole state in one safetensors file, replaced atomically: weights, running mean, optimizer, progress."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.train.optimizer import RunningMean, learnt_state


def save_checkpoint(path: Path, model: nn.Module, mean: RunningMean, optimizer: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Write beside, flush, then replace: a killed run leaves either the old file or the new one."""
    tensors = {f"model.{n}": t for n, t in learnt_state(model).items()}
    tensors |= {f"mean.{n}": t for n, t in mean.weights.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{n}": t for n, t in state.items()}
    write_safetensors(path, tensors, {"progress": json.dumps(progress)})


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Atomic `save_file`; a full disk is the user's to mend."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file({n: t.detach().contiguous().clone() for n, t in tensors.items()}, temporary, metadata)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as problem:
        temporary.unlink(missing_ok=True)
        raise LimbeckError(f"a checkpoint could not be written: {problem}", str(path), "free some disk space and run again: it resumes") from problem


def load_checkpoint(path: Path, model: nn.Module, mean: RunningMean, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore everything and return the progress; None where there is no checkpoint."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a safe_open file is no mapping)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as problem:
        raise LimbeckError(f"the checkpoint is damaged: {problem}", str(path), "delete this file; the step starts again from its beginning") from problem
    model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")}, strict=not mean.is_partial)
    mean.weights = {n[5:]: t for n, t in tensors.items() if n.startswith("mean.") and n[5:] in mean.weights}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".", 2)
            state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return progress
