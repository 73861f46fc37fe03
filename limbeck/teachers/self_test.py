"""Trying a teacher with a handful of tiny requests before anything is spent: silent wrong numbers are found here or not at all.

A served teacher is asked about fifteen short things (served_checks.py), weights on this machine are looked at from inside
(weights_checks.py, template_checks.py). Each check passes, warns, fails, or is not possible with this teacher.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from limbeck.teachers.endpoint import Endpoint
from limbeck.teachers.findings import Finding, Report
from limbeck.teachers.local import LocalModel

PROMPTS = ("Name three colours and say in one sentence where each is seen in nature.", "Explain in two sentences why bread rises.")
K = 8


def self_test(teacher: Any, student_tokenizer: Any = None, prompts: Sequence[str] = (), k: int = K, *, soft: bool = False, top: bool | None = None, student: str = "") -> Report:
    """What a teacher shows when it is tried. `prompts` are requests of the task (at most two are used), `k` the likeliest tokens asked for.

    `soft`: distributions are to be learnt from, so that a vocabulary of its own fails rather than warns. `top` (as `soft` unless said): the
    likeliest tokens are what is learnt from, so that little coverage is a warning. `student` is its name, for the report. What a server is
    asked counts in the budget and the accounts of the teacher's run. Raises LimbeckError where the server cannot be reached or refuses the
    key or the model, and where the budget is too small for the test.
    """
    began = time.perf_counter()
    asked = tuple(prompts)[:2] or PROMPTS
    if isinstance(teacher, Endpoint):
        from limbeck.teachers.asking_once import Asker
        from limbeck.teachers.served_checks import check_served

        asker = Asker(teacher)
        found = _heed_use(check_served(asker, student_tokenizer, asked, k, soft), soft if top is None else top)
        return Report(teacher=teacher.name, student=student, findings=tuple(found), calls=asker.calls, tokens_in=asker.tokens_in, tokens_out=asker.tokens_out, seconds=time.perf_counter() - began, cost_usd=asker.cost_usd())
    model = teacher if isinstance(teacher, LocalModel) else getattr(teacher, "__dict__", {}).get("_model")
    if not isinstance(model, LocalModel):
        return Report(teacher=str(getattr(teacher, "name", teacher)), student=student, findings=(), calls=0, tokens_in=0, tokens_out=0, seconds=0.0)  # an expert of ours or a generator: nothing of this can go wrong
    from limbeck.teachers.template_checks import check_template
    from limbeck.teachers.weights_checks import Trial, check_weights

    trial = Trial(model, asked)
    found = _heed_use([*check_template(trial.tokenizer, model.sampling.style, model.sampling.system), *check_weights(trial, student_tokenizer, k, soft)], soft if top is None else top)
    return Report(teacher=model.name, student=student, findings=tuple(found), calls=trial.calls, tokens_in=trial.tokens_in, tokens_out=trial.tokens_out, seconds=time.perf_counter() - began, cost_usd=0.0)


def _heed_use(found: Sequence[Finding], top: bool) -> list[Finding]:
    """How much the likeliest tokens hold is no warning to who learns from text or from draws: it is shown and passes."""
    return [replace(f, outcome="pass", seen=f"{f.seen}; only stored top tokens need them", fix="") if f.name == "top-k coverage" and f.outcome == "warn" and not top else f for f in found]
