"""Whether settings carry over to a recipe's other sizes: a middle rung at other learning rates, and what a few steps change at every width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from limbeck.laddering import COSTED, Ground, Tell, kind_of, last_loss, setting_of, student_at, train_rungs
from limbeck.predict.ladder import Rung
from limbeck.predict.transfer import transfer
from limbeck.run import Run, hash_file


def sweep_rung(ground: Ground, run: Run, rung: Rung, tell: Tell, factors: Sequence[float] = (0.5, 1.0, 2.0)) -> dict[float, float]:
    """Losses of one rung at other learning rates, by factor; each is a step of the run."""
    changed = [replace(rung, name=f"{rung.name}-lr{factor:g}", setting=replace(rung.setting, lr=rung.setting.lr * factor)) for factor in factors]
    inputs = {"dataset": [hash_file(ground.dataset / f"{part}.jsonl.gz") for part in ("data", "dev")], "student": kind_of(run, ground.recipe)}
    pairs = [(r, run.step(f"ladder/sweep/{r.name}", {"lr": r.setting.lr, "steps": r.setting.steps, "batch": r.setting.batch}, inputs, ("models", "train"))) for r in changed]
    pending = [(r, s) for r, s in pairs if not s.state[0]]
    for _, step in pending:
        step.begin()
    if pending:
        train_rungs(ground, pending, len(pending), tell)
    return {factor: last_loss(step.path)[0] for factor, (_, step) in zip(factors, pairs, strict=True)}


def measure_activations(ground: Ground, widths: Sequence[int], steps: int = 8) -> dict[int, dict[str, float]]:
    """By how much a few steps change what each block adds to its stream (root mean square), by width: what a coordinate check compares.

    Every width is trained on the same batches at its transferred learning rate, and measured on one of them before and after: what blocks add
    at the start depends on the initial weights, which no learning rate mends.
    """
    import torch

    from limbeck.train.optimizer import make_optimizer

    known = setting_of(ground.recipe.student, ground.recipe.train)
    found: dict[int, dict[str, float]] = {}
    for width in widths:
        torch.manual_seed(1)
        course = ground.course(student_at(ground.recipe.student, width), min(known.batch, COSTED))
        setting = transfer(known, width=width, layers=known.layers, examples=known.examples)
        optimizer = make_optimizer(course.network, setting.optimizer, setting.lr, ground.recipe.train.weight_decay)
        before = _added(course, 0)
        for number in range(steps):
            loss, _ = course.network.loss(course.batch(number), soft_weight=0.0, generator=torch.Generator().manual_seed(number))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(course.network.parameters(), ground.recipe.train.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        found[width] = {name: float((after - before[name]).pow(2).mean().sqrt()) for name, after in _added(course, 0).items()}
    return found


def _added(course: Any, number: int) -> dict[str, Any]:
    """What each block adds to its stream on a batch, without dropout."""
    import torch

    seen: dict[str, Any] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: Any, inputs: Any, output: Any) -> None:
            after = output[0] if isinstance(output, tuple) else output
            seen[name] = after.detach().float() - inputs[0].detach().float()

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in course.network.named_modules() if type(module).__name__ in ("Block", "LlamaDecoderLayer")]
    training = course.network.training
    course.network.eval()
    with torch.no_grad():
        course.network.loss(course.batch(number), soft_weight=0.0, generator=torch.Generator().manual_seed(number))
    course.network.train(training)
    for hook in hooks:
        hook.remove()
    return seen
