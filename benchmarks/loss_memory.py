"""Peak memory of one forward and backward pass of the loss at a large vocabulary: chunked against dense, computed and measured.

    python benchmarks/loss_memory.py [--tokens 8192] [--vocabulary 151936] [--width 896] [--dense-share 4]

Each case in a process of its own; what the process held before (libraries, the states, the head) is taken off. Dense is measured at a
share of the tokens that fits this machine, and its growth is by the token, so the whole is that times the share.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

GIB = 2**30


def resident() -> int:
    """Bytes this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(case: str, tokens: int, vocabulary: int, width: int) -> float:
    """GiB that the loss adds at its peak."""
    import torch
    from torch.nn import functional

    from limbeck.train.divergence import Targets, cross_entropy, divergence_loss

    torch.set_num_threads(2)
    states, head = torch.randn(tokens, width, requires_grad=True), (torch.randn(vocabulary, width) / width**0.5).requires_grad_()
    labels = torch.randint(vocabulary, (tokens,))
    ids = torch.randint(vocabulary, (tokens, 12))
    before, peak, stop = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.is_set():
            peak = max(peak, resident())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if case == "labels":
        loss = cross_entropy(states, head, labels)
    elif case == "draws":
        loss, _ = divergence_loss(states, head, Targets("sampled", ids, torch.full(ids.shape, 1 / 12)), labels, soft_weight=0.9)
    else:
        loss = functional.cross_entropy((states @ head.T).float(), labels)
    loss.backward()
    stop.set()
    watcher.join()
    return (max(peak, resident()) - before) / GIB


def main() -> None:
    reads = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("tokens", 8192), ("vocabulary", 151_936), ("width", 896), ("dense-share", 4)):
        reads.add_argument(f"--{name}", type=int, default=default)
    reads.add_argument("--case", default="")
    asked = reads.parse_args()
    if asked.case:
        print(measure(asked.case, asked.tokens, asked.vocabulary, asked.width))
        return
    tokens, vocabulary, width, share = asked.tokens, asked.vocabulary, asked.width, asked.dense_share
    grads = 4 * width * (vocabulary + tokens)
    chunk = 1024
    computed = {"labels": grads + 2 * 4 * chunk * vocabulary, "draws": grads + 2 * 4 * chunk * vocabulary, "dense": 4 * width * (vocabulary + tokens) + 3 * 4 * tokens * vocabulary}
    print(f"{tokens:,} tokens, vocabulary {vocabulary:,}, width {width}, float32; gradients of head and states alone: {grads / GIB:.2f} GiB")
    for case in ("labels", "draws", "dense"):
        part = share if case == "dense" else 1
        command = [sys.executable, __file__, "--case", case, "--tokens", str(tokens // part), "--vocabulary", str(vocabulary), "--width", str(width)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{case:7} failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        found = float(done.stdout)
        fixed = 4 * width * vocabulary / GIB
        whole = found if part == 1 else fixed + (found - fixed) * part
        print(f"{case:7} computed {computed[case] / GIB:6.2f} GiB, measured {whole:6.2f} GiB" + (f" (at 1/{part} of the tokens: {found:.2f} GiB)" if part > 1 else ""))


if __name__ == "__main__":
    main()
