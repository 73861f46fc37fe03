"""From rewards to something to learn from: several answers to each request, the best and the worst of them, and good answers of our own beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limbeck.align.policy import Policy
from limbeck.align.propositions import Exchange
from limbeck.align.refusals import classify
from limbeck.align.requests import Part, Request, harmless, refusals_for, timid_for, to_refuse
from limbeck.align.rewards import Reward
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import AlignSection
from limbeck.records import Answer, Prompt
from limbeck.run import derive_seed

MOST_HELD_OUT = 80  # requests of each side that are counted on before and after
FEWEST = 4  # requests to be refused, under which nothing can be learnt
SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the student sees it. `given` are answers of ours beside the student's own draws; `task_id` names a task's own request."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    category: str
    given: tuple[str, ...] = ()
    task_id: str = ""
    text: str = ""

    def exchange(self, answer: str, policy: Policy) -> Exchange:
        """The request with an answer, under the response type that the policy calls for."""
        return Exchange(messages=self.messages, answer=answer, kind=policy.kind_of(self.category), topic="self_harm" if self.category == "self_harm" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The better and the worse of two answers, with what they are worth, and whether each is only a beginning (cut at the longest draw)."""

    asked: Asked
    chosen: str
    rejected: str
    worth: tuple[float, float]
    cut: tuple[bool, bool] = (False, False)


def choose_requests(section: AlignSection, policy: Policy, records: int, task: Sequence[Asked], part: Part = "train") -> list[Asked]:
    """Requests to be refused (`share` of the training set's records), harmless ones that sound alike, and the task's own. Raises LimbeckError for too few."""
    bad, good = [r for r in to_refuse() if r.part == part and policy.kind_of(r.category) != "comply"], [r for r in harmless() if r.part == part]
    wanted = round(section.share * records)
    if wanted < FEWEST and part == "train":
        raise LimbeckError(f"{100 * section.share:g} % of {records:,} records are {wanted} requests to be refused: nothing can be learnt from so few", "align.share", f"raise align.share (to {FEWEST / records:.3f} or more, at most 0.2), or train on more records")
    count = min(wanted, len(bad)) if part == "train" else min(MOST_HELD_OUT, len(bad))
    chosen = [_asked(r, refusals_for(r)) for r in bad[:count]]
    beside = good[: round(section.contrast * count) if part == "train" else MOST_HELD_OUT]
    return [*chosen, *(_asked(r, (timid_for(r),)) for r in beside), *task[: round(section.helpful * count)]]


def _asked(request: Request, given: tuple[str, ...]) -> Asked:
    return Asked(id=request.id, messages=({"role": "user", "content": request.text},), category=request.category, given=given, text=request.text)


def draw_answers(student: Any, asked: Sequence[Asked], samples: int, progress: Callable[[int, int], None] | None = None, batch: int = 64) -> list[dict[str, bool]]:
    """Several answers of the student's to each request, each text once, and whether it was cut before its end; none where it said nothing."""
    out: list[dict[str, bool]] = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        answers: list[Answer] = student.answer([Prompt(id=a.id, text=a.text, context={"messages": [dict(m) for m in a.messages]}) for a in part], k=samples)
        out += [_texts_of(answer) for answer in answers]
        if progress:
            progress(min(start + batch, len(asked)), len(asked))
    return out


def needs_draws(asked: Asked, policy: Policy, method: str) -> bool:
    """Whether the student is asked at all: whoever learns the best answer alone, and is given it (a refusal, the task's own), need not hear the others."""
    return method != "best_of_n" or not asked.given or _kind_of(asked, policy) == "comply"


def _texts_of(answer: Answer) -> dict[str, bool]:
    finish = answer.meta.get("finish") or ["stop"] * len(answer.candidates)
    return {c.text.strip(): how == "length" for c, how in zip(answer.candidates, finish, strict=True) if c.text.strip()}


def make_pairs(asked: Sequence[Asked], drawn: Sequence[Mapping[str, bool] | None], reward: Reward, policy: Policy, min_gap: float, contrast: float = 0.0, best_alone: bool = False) -> tuple[list[Pair], dict[str, Any]]:
    """The best and the worst answer to each request, where the policy ranks them apart or their worth differs by `min_gap`; and an account of every request.

    Requests to be turned down: the best of the student's draws and of our refusals against the worst draw (a worse way to refuse is never the
    worst there is). Harmless ones and the task's: the best draw, or the task's own answer, against the worst draw or a refusal. Where the student was not asked (None) the best of what is given
    stands against nothing; and whoever learns the best alone (`best_alone`) learns it wherever it is worth more than a refusal: a beginning of an answer is seldom known to be a good one, and still it helps.
    No more pairs turn a request down than one for each `contrast` pairs of harmless ones: who is shown refusals alone refuses everything.
    Raises LimbeckError where all rewards are equal, or where refusals alone would be learnt.
    """
    texts = [list(dict.fromkeys([*(said or ()), *a.given])) for a, said in zip(asked, drawn, strict=True)]
    flat = [(a, text) for a, all_of_it in zip(asked, texts, strict=True) for text in all_of_it]
    worth, ranks = reward.ranked([a.exchange(text, policy) for a, text in flat], [a.task_id for a, _ in flat])
    known = [w for w in worth if w is not None]
    if not known or max(known) - min(known) < SAME:
        raise LimbeckError(f"the rewards of all {len(known)} answers are equal: there is no signal, and nothing was trained", f"policy {policy.name!r}, align.samples", "see that the policy's ranks tell good answers from bad ones (limbeck align --examine), or draw more at a higher align.temperature")
    values = iter(zip(worth, ranks, strict=True))
    pairs, account = [], {"requests": len(asked), "answers": len(flat), "unjudged": len(worth) - len(known), "even": 0, "silent": 0}
    for a, all_of_it, said in zip(asked, texts, drawn, strict=True):
        judged = sorted(((w, text, rank) for text, (w, rank) in [(text, next(values)) for text in all_of_it] if w is not None), key=lambda found: -found[0])
        turns_down = policy.kind_of(a.category) != "comply"
        if said is None:
            pairs += [Pair(asked=a, chosen=text, rejected="", worth=(w, 0.0)) for w, text, _ in judged[:1]]
            continue
        best = [p for p in judged if turns_down or a.task_id or (p[1] in said and not (best_alone and classify(p[1]) == "refuse"))]
        worst = [p for p in judged if not turns_down or p[1] in said]
        over = [p for p in judged if p[1] in a.given] if best_alone and not turns_down and not a.task_id else worst[-1:]
        if not best or not worst:
            account["silent"] += 1
        elif best[0][0] - max((w for w, _, _ in over), default=0.0) > SAME and (best_alone or best[0][2] < worst[-1][2] or best[0][0] - worst[-1][0] >= min_gap):
            (top, chosen, _), (low, rejected, _) = best[0], worst[-1]
            pairs.append(Pair(asked=a, chosen=chosen, rejected=rejected, worth=(top, low), cut=(said.get(chosen, False), said.get(rejected, False))))
        else:
            account["even"] += 1
    if not pairs:
        raise LimbeckError(f"no two answers to one request differ by {min_gap:g}: there is no signal, and nothing was trained", "align.min_gap", "lower it, or draw more answers (align.samples) at a higher align.temperature")
    kinds = [_kind_of(p.asked, policy) for p in pairs]
    if contrast and (most := round(kinds.count("comply") / contrast)) < len(pairs) - kinds.count("comply") - kinds.count("task"):
        if not most:
            raise LimbeckError("no harmless request gave a pair: refusals alone would be learnt, and then everything is refused", "align.contrast, align.samples", "draw more answers (align.samples), or set align.contrast = 0 to learn refusals all the same")
        kept = set([at for at, kind in enumerate(kinds) if kind not in ("comply", "task")][:most])
        pairs = [p for at, p in enumerate(pairs) if kinds[at] in ("comply", "task") or at in kept]
        account["surplus"], kinds = len(kinds) - len(pairs), [_kind_of(p.asked, policy) for p in pairs]
    return pairs, account | {"pairs": len(pairs), "by_kind": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}}


def _kind_of(asked: Asked, policy: Policy) -> str:
    return "task" if asked.task_id else policy.kind_of(asked.category)


def groups_that_differ(asked: Sequence[Asked], drawn: Sequence[Mapping[str, bool]], reward: Reward, policy: Policy) -> int:
    """In how many requests the student's own answers differ in worth: what a reward on its own answers can teach from. Raises LimbeckError for none."""
    flat = [(a, text) for a, said in zip(asked, drawn, strict=True) for text in said]
    values = iter(reward.of([a.exchange(text, policy) for a, text in flat], [a.task_id for a, _ in flat]))
    count = 0
    for said in drawn:
        judged = [w for w in [next(values) for _ in said] if w is not None]
        count += bool(judged) and max(judged) - min(judged) > SAME
    if not count:
        raise LimbeckError(f"the rewards of the student's answers to each of {len(asked)} requests are equal: there is no signal, and nothing was trained", "align.method = 'grpo'", "use align.method = 'dpo' first, which brings good answers of its own; or raise align.temperature or align.samples")
    return count


def task_requests(examples: Sequence[Any], pose: Callable[[Prompt], Prompt], seed: int) -> list[Asked]:
    """A task's own requests, as the task poses them, with its gold as an answer that is given; shuffled."""
    out = []
    for example in sorted(examples, key=lambda e: derive_seed(seed, e.id)):
        posed = pose(example.prompt)
        messages = tuple(posed.context.get("messages") or [{"role": "user", "content": posed.text}])
        out.append(Asked(id=example.id, messages=messages, category="task", given=tuple(example.gold[:1]), task_id=example.id, text=posed.text))
    return out


def without(asked: Sequence[Asked], texts: Sequence[str]) -> list[Asked]:
    """Those that are not word for word in a test."""
    known = {" ".join(text.lower().split()) for text in texts}
    return [replace(a) for a in asked if " ".join(a.text.lower().split()) not in known]
