"""Which number format is fast here."""

from __future__ import annotations

from functools import cache

import torch


@cache
def is_bf16_native() -> bool:
    """Whether bfloat16 is multiplied by the hardware: on a processor without it, it is 25 times slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    found = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(is_supported() for is_supported in found if is_supported is not None)
