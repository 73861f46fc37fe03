"""Batches are made on the processor; a step takes them to where the network is."""

from __future__ import annotations

from typing import Any

import torch


def take_to(device: torch.device, value: Any) -> Any:
    """A batch with its tensors on another device; everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{name: take_to(device, getattr(value, name)) for name in value.__dataclass_fields__})
    return value
