"""Any server that speaks the OpenAI protocol, as an Answerer: many requests at once, as fast as the server likes.

Each prompt ends in exactly one status: scored, refused, no_answer, or failed with its reason. What is paid for goes into the ledger
before anything is done with it, and is never asked again. How requests are tried is in sending.py, how many at once in gate.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Prompt, content_id
from limbeck.teachers import likelihood, replies
from limbeck.teachers.budget import Allowance, Budget, cost_of
from limbeck.teachers.gate import Gate
from limbeck.teachers.ledger import Draw, Ledger, not_in_ledger
from limbeck.teachers.replies import strip_reasoning as strip_reasoning
from limbeck.teachers.sending import Deadline, Failure, Sender, Sent, settle_all
from limbeck.teachers.tally import Tally

IN_A_ROW = 20  # prompts that failed one after another before all is given up
GRACE_S = 10.0  # for replies under way when everything stops

Done = Callable[[int, Answer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model is asked: part of every call's key and of every result."""

    temperature: float = 0.0
    top_p: float | None = None
    max_tokens: int = 1024
    system: str = ""
    style: Literal["chat", "raw"] = "chat"
    seed: int | None = None
    keep_reasoning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a server is asked for beside text: answers that follow a JSON schema, log-probabilities with so many likeliest tokens (None: none)."""

    schema: dict[str, Any] | None = None
    top_logprobs: int | None = None


@dataclass(slots=True)
class Job:
    """One distinct question: equal prompts share it. `paid` are its requests that were paid for now."""

    key: str
    body: dict[str, Any]
    prompt: Prompt
    wanted: int
    places: list[int] = field(default_factory=list)
    draws: dict[int, Draw] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    short: int = 0  # replies with fewer draws than asked for

    def missing(self) -> tuple[int, int] | None:
        """The first draw that is not there, and how many from it on are not."""
        gaps = [number for number in range(self.wanted) if number not in self.draws]
        if not gaps:
            return None
        count = next((at for at, number in enumerate(gaps) if number != gaps[0] + at), len(gaps))
        return gaps[0], 1 if self.short >= 2 else count  # many servers know no `n`

    def request(self, first: int, n: int) -> dict[str, Any]:
        """The body that asks for draws `first` and on: a seed moves on with them, else every draw would be the same one."""
        seed = {"seed": self.body["seed"] + first} if self.body.get("seed") is not None else {}
        return {**self.body, **seed} | ({"n": n} if n > 1 else {})


class Endpoint:
    """Model `model` behind `base_url`. `price_usd` is (input, output) per million tokens, None where nobody knows.

    With a `ledger` what it holds is not asked again, and `run` keeps accounts in it; `offline` refuses to ask for what it lacks.
    """

    parameters: int | None = None
    draws_samples = True  # k answers are k draws, not a ranking
    minds_change = True  # whether a server that changes its model half-way is an error
    first_poll_s = 5.0  # between looks at a batch, at first

    def __init__(
        self, model: str, base_url: str, *, api_key: str = "", sampling: Sampling | None = None, output: Output | None = None, revision: str = "",
        concurrency: int = 32, timeout_s: float = 120, deadline_s: float | None = None, retries: int = 5, price_usd: tuple[float, float] | None = None,
        allowance: Allowance | None = None, ledger: Ledger | None = None, run: str = "", offline: bool = False, by_batch: bool = False, progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.model, self.base_url, self.revision = f"openai:{model}", model, base_url.rstrip("/"), revision
        self.sampling, self.output, self.progress = sampling or Sampling(), output or Output(), progress
        self._key, self._timeout_s, self._price, self._ledger, self._run = api_key, timeout_s, price_usd, ledger, run if ledger else ""
        self._offline, self._by_batch, self._host = offline, by_batch, urlsplit(self.base_url).netloc
        self.gate = Gate(concurrency, is_known=False)
        self.budget = Budget(allowance or Allowance(), price_usd, self.name)
        if by_batch and not (ledger and run):
            raise LimbeckError("batch files need a ledger and a run: a killed run must find its batch again", self.name, "leave batch_file out, or give both")
        self._sender = Sender(
            self.base_url + self._path, gate=self.gate, budget=self.budget, timeout_s=timeout_s, retries=retries, ledger=ledger, run=self._run,
        )  # fmt: skip
        self._deadline_s = deadline_s
        self._waits = self._sender.waits
        self._served_by: str | None = None
        self._failed_in_a_row = 0
        self._tally = Tally(0, None)
        self._is_asking = False

    @property
    def _path(self) -> str:
        return "/completions" if self.sampling.style == "raw" else "/chat/completions"

    def settings(self) -> dict[str, Any]:
        """What must be equal for two sets of answers to be comparable."""
        more = {name: found for name, found in (("revision", self.revision), ("schema", self.output.schema), ("top_logprobs", self.output.top_logprobs)) if found}
        return {"model": self.model, "base_url": self.base_url, **asdict(self.sampling), **more}

    def accounts(self) -> dict[str, Any]:
        """While asking: how it stands (cheap). After: the run's accounts from the ledger, or this object's own counts without one."""
        if self._is_asking or not self._run or self._ledger is None:
            return self._tally.facts(self.gate)
        self._ledger.flush()
        return self._ledger.spent(self._run)

    def probe(self) -> dict[str, Any]:
        """Ask the server for its list of models: {"listed": True, False, or None where it shows none}. Costs nothing; a refused key is a LimbeckError."""
        found: dict[str, Any] = {}

        async def look() -> None:
            async with self._session() as session:
                found["listed"] = await self._sender.probe(session, self.model, self.base_url)

        asyncio.run(look())
        return found

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """All answers, in order."""
        found: dict[int, Answer] = {}
        self.answer_each(prompts, k, lambda at, answer: found.__setitem__(at, answer))
        return [found[at] for at in range(len(prompts))]

    def answer_each(self, prompts: Sequence[Prompt], k: int, done: Done) -> None:
        """Calls `done(index, answer)` as answers come in. Raises LimbeckError where asking on is of no use."""
        if any(likelihood.by_text(p) for p in prompts):
            if self.sampling.style != "raw":
                raise LimbeckError("a chat server does not say how likely a text is", self.base_url, "--raw with a server that echoes log-probabilities, or --by letter or likelihood; in a task of your own, leave `choices` out")
            prompts, done = likelihood.unfold(prompts, lambda p: self._body(p)["prompt"], k, done)
        jobs = self._jobs(prompts, k)
        waiting = [job for job in jobs if job.missing()]
        if waiting and self._offline:
            raise not_in_ledger(len(waiting), len(jobs), waiting[0].prompt.id, str(self._ledger.path if self._ledger else self.base_url))
        before = self._begin(prompts, jobs)
        self._tally, self._is_asking = Tally(len(prompts), self.progress, before), True
        try:
            for job in jobs:
                if not job.missing():
                    self._end(job, prompts, k, None, done)
            self._tally.start(sum(len(job.places) for job in waiting))
            if waiting:
                self._ask(waiting, prompts, k, done)
        finally:
            self._is_asking = False
            if self._ledger:
                self._ledger.flush()

    def _jobs(self, prompts: Sequence[Prompt], k: int) -> list[Job]:
        """Distinct questions with the draws there are."""
        jobs: dict[str, Job] = {}
        for at, prompt in enumerate(prompts):
            body = self._body(prompt)
            key = content_id([self.base_url, self.revision, body], 32)
            if key not in jobs:
                jobs[key] = Job(key, body, prompt, 1 if "said" in prompt.context or likelihood.by_letter(prompt) else max(1, k))
            jobs[key].places.append(at)
        for key, draws in (self._ledger.find(list(jobs)) if self._ledger else {}).items():
            jobs[key].draws = draws
            for draw in draws.values():
                self.heed_model(draw.model, replayed=True)
        return list(jobs.values())

    def _begin(self, prompts: Sequence[Prompt], jobs: Sequence[Job]) -> dict[str, Any]:
        """Enter the records as waiting; what this run has paid before."""
        if not (self._ledger and self._run):
            self.budget.start(self.budget.spent_usd, self.budget.spent_tokens)
            return {}
        self._ledger.begin(self._run, [(prompts[at].id, job.key, job.wanted) for job in jobs for at in job.places])
        return self.start_budget()

    def start_budget(self) -> dict[str, Any]:
        """The budget begins with what this run has spent before, which is returned (nothing without a run)."""
        if not (self._ledger and self._run):
            return {}
        spent = self._ledger.spent(self._run)
        doubt = spent["in_doubt"]
        self.budget.start(spent["paid"]["known_usd"] + (doubt["usd_at_most"] or 0.0), spent["paid"]["tokens_in"] + spent["paid"]["tokens_out"] + doubt["tokens_at_most"])
        return spent["paid"]

    def enter_cost(self, what: str, tokens_in: int | None, tokens_out: int | None) -> None:
        """A reply that answers no record: its cost goes into the budget and the run's accounts; its text is kept nowhere."""
        self.budget.charge(tokens_in, tokens_out)
        if self._ledger and self._run:
            request = content_id([self._run, what, time.time_ns()], 32)
            cost = cost_of(self._price, tokens_in, tokens_out)
            draw = Draw(number=0, request=request, asked=1, text=None, tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost, time=time.time(), revision=self.revision, more={"for": what})
            self._ledger.keep(request, [draw], run=self._run, model=self.model, host=self._host)

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent, but for the number of draws: what a key is made of."""
        chosen = self.sampling
        fixed = prompt.context.get("sampling")  # a task that prescribes how it is asked: what it does not name is not sent
        ours = {"temperature": chosen.temperature, "max_tokens": chosen.max_tokens} | {n: v for n, v in (("top_p", chosen.top_p), ("seed", chosen.seed)) if v is not None}
        body: dict[str, Any] = {"model": self.model, **(ours if fixed is None else fixed)}
        messages = list(prompt.context.get("messages") or [{"role": "user", "content": prompt.text}])
        if chosen.system:
            messages.insert(0, {"role": "system", "content": chosen.system})
        raw = chosen.style == "raw"
        body |= {"prompt": "\n\n".join(m["content"] for m in messages)} if raw else {"messages": messages}
        if "said" in prompt.context:
            return likelihood.echo_body(body, prompt.context["said"])
        if likelihood.by_letter(prompt):
            return likelihood.letter_body(body, raw)
        if self.output.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": self.output.schema}}
        top = self.output.top_logprobs
        if top is not None:
            body |= {"logprobs": top} if raw else {"logprobs": True} | ({"top_logprobs": top} if top else {})
        return body

    def _session(self) -> Any:
        import aiohttp

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.gate.most), timeout=aiohttp.ClientTimeout(total=self._timeout_s), headers=headers, cookie_jar=aiohttp.DummyCookieJar(),
        )  # fmt: skip

    def _ask(self, jobs: list[Job], prompts: Sequence[Prompt], k: int, done: Done) -> None:
        asyncio.run(self._ask_by_batch(jobs, prompts, k, done) if self._by_batch else self._ask_all(jobs, prompts, k, done))
        if self._ledger and self._ledger.is_full:
            raise LimbeckError("the disk is full; all replies that had come were kept", str(self._ledger.path), "free some disk space and run again: it goes on where it stopped")
        if self.budget.is_spent and self.budget.allowance.when_spent == "stop":
            raise self.budget.say_spent(len(prompts) - self._tally.states.total())

    async def _ask_by_batch(self, jobs: list[Job], prompts: Sequence[Prompt], k: int, done: Done) -> None:
        from limbeck.teachers.batch_file import BatchFiles, Desk

        assert self._ledger is not None
        desk = Desk(
            base_url=self.base_url, path=self._path, run=self._run, ledger=self._ledger, budget=self.budget, keep=self._keep, take=self._take,
            tell=lambda facts: self.progress({**self._tally.facts(self.gate), **facts}) if self.progress else None, first_poll_s=self.first_poll_s,
        )  # fmt: skip
        async with self._session() as session:
            await BatchFiles(desk, jobs).ask(session, lambda job, failure: self._end(job, prompts, k, failure, done))

    async def _ask_all(self, jobs: list[Job], prompts: Sequence[Prompt], k: int, done: Done) -> None:
        queue = iter(jobs)
        self._sender.start()
        async with self._session() as session:
            if await self._sender.probe(session, self.model, self.base_url):
                self.gate.trust()
            workers = [asyncio.ensure_future(self._work(session, queue, prompts, k, done)) for _ in range(min(self.gate.most, len(jobs)))]
            await settle_all(workers, self._sender, min(GRACE_S, self._timeout_s))

    async def _work(self, session: Any, queue: Iterator[Job], prompts: Sequence[Prompt], k: int, done: Done) -> None:
        """Takes one question after another."""
        for job in queue:
            failure = await self._ask_one(session, job)
            if (self._ledger and self._ledger.is_full) or (failure and failure.reason == "budget" and self.budget.allowance.when_spent == "stop"):
                self._sender.stop()
            if self._sender.is_stopping:
                return
            self._end(job, prompts, k, failure, done)
            self._count(failure)

    async def _ask_one(self, session: Any, job: Job) -> Failure | None:
        """All draws of a question that are not there; each reply is kept at once."""
        deadline = Deadline(self._deadline_s)
        while (gap := job.missing()) is not None:
            first, n = gap
            found = await self._sender.send(session, job.key, job.request(first, n), first, n, deadline)
            if isinstance(found, Failure):
                return found
            if not found.reply.choices:
                return None
            self._take(job, found, first, n)
        return None

    def _take(self, job: Job, sent: Sent, first: int, n: int) -> None:
        """A reply into the ledger, then into its question."""
        draws = self._keep(job.key, sent, first, n)
        for draw in draws:
            job.draws.setdefault(draw.number, draw)
        job.paid.add(sent.request)
        job.short += len(draws) < n
        if self.output.top_logprobs is not None and any(d.text and "logprobs" not in d.more for d in draws):
            raise LimbeckError("the server gives no log-probabilities", self.base_url, "leave them out, or ask a server that gives them; what was answered is kept")

    def _keep(self, key: str, sent: Sent, first: int, n: int) -> list[Draw]:
        """A reply's draws, in the ledger before anything is done with them."""
        self._heed(sent)
        draws = replies.draws_of(sent.reply, first=first, asked=n, request=sent.request, price_usd=self._price, latency_s=sent.latency_s, revision=self.revision)
        if self._ledger:
            self._ledger.keep(key, draws, run=self._run, model=self.model, host=self._host)
        self._tally.pay(draws)
        return draws

    def _end(self, job: Job, prompts: Sequence[Prompt], k: int, failure: Failure | None, done: Done) -> None:
        """One status for every prompt of a question. Of prompts that share it the first one bears the cost."""
        draws = [job.draws[number] for number in sorted(job.draws)]
        for nth, at in enumerate(job.places):
            if failure:
                answer = Answer(prompt_id=prompts[at].id, status=failure.status, reason=failure.reason, meta={"said": failure.detail} if failure.detail else {})
            else:
                answer = self._read(prompts[at], draws, k, frozenset() if nth else job.paid)
            state = "answered" if answer.status == "scored" else answer.status
            done(at, answer)
            if self._ledger and self._run:
                self._ledger.end(self._run, prompts[at].id, job.key, state, answer.reason)
            self._tally.end(state, not job.paid and not failure, self.gate)

    def _read(self, prompt: Prompt, draws: list[Draw], k: int, paid: frozenset[str] | set[str]) -> Answer:
        if draws and ("said" in prompt.context or likelihood.by_letter(prompt)):
            choice = replies.choice_of(draws[0])
            ranked = likelihood.read_echo(prompt, choice, self.base_url) if "said" in prompt.context else likelihood.read_letters(prompt, choice, self.base_url, k)
            return replace(ranked, cost_usd=replies.spend_of(draws, paid), meta={**replies.meta_of(draws, 1, paid, self._host), **ranked.meta})
        return replies.read_answer(prompt, draws, k, paid=paid, host=self._host, keep_reasoning=self.sampling.keep_reasoning)

    def _count(self, failure: Failure | None) -> None:
        """Gives up after a row of failures."""
        fails = failure is not None and failure.status == "failed" and failure.reason != "budget"
        self._failed_in_a_row = self._failed_in_a_row + 1 if fails else 0
        if failure and self._failed_in_a_row >= IN_A_ROW:
            raise LimbeckError(f"{IN_A_ROW} prompts failed one after another, the last with: {failure.reason}", self.base_url, "see that the server is up, then run again: what was answered is kept")

    def _heed(self, sent: Sent) -> None:
        """Before a reply is kept: answers of another model never mix in."""
        reply = sent.reply
        if self.revision and self.revision not in (reply.model or "") and self.revision != reply.fingerprint:
            raise LimbeckError(f"the server says it served {reply.model!r} ({reply.fingerprint or 'no fingerprint'}), not revision {self.revision!r}", self.base_url, "name the revision as the server says it, or leave teacher.revision out")
        self.heed_model(reply.model)

    def heed_model(self, served_by: str | None, replayed: bool = False) -> None:
        """Notices a server that changes its model, against earlier replies of this examination (`replayed`: from its log or the ledger)."""
        if served_by and self._served_by is None:
            self._served_by = served_by
        elif served_by and served_by != self._served_by and self.minds_change:
            fix = "name a pinned version of the model, or ask all anew: --no-cache with another --out" if replayed else "name a pinned version of the model; what the first one answered is kept. To examine the new one alone: --no-cache with another --out"
            raise LimbeckError(f"the server changed its model from {self._served_by!r} to {served_by!r} half-way", self.base_url, fix)
