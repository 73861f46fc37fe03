"""A trained student as a folder and as an answerer. Weights are safetensors; pickles are refused."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.models.batch import EOS, SourceBatch, collate_sources, collate_targets
from limbeck.models.holes import fillers, fixed_parts, holds, readable, refuse_suffix
from limbeck.models.infill import Wish
from limbeck.models.knobs import check_knobs
from limbeck.models.network import Ranked, Shape
from limbeck.models.ranking import (
    RANKS,
    Family,
    Utility,
    by_bayes_risk,
    by_family,
    distinct_outcomes,
    edit_similarity,
    near_snippet,
)
from limbeck.recipe.schema import StudentSection
from limbeck.records import Answer, Candidate, Check, Prompt
from limbeck.task import Codec

NETWORKS = {"autoregressive": "Autoregressive", "codefusion": "CodeFusion", "masked": "Masked"}  # module: class
FORMAT = 1
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# What ranked candidates gain or lose for what they do to their prompt (a rule that marks nothing, say), in nats.
Adjust = Callable[[Prompt, Sequence[str]], list[float]]
Verify = Callable[[Prompt, str], Check]  # a task's own word on a candidate, without gold


def build_shape(student: StudentSection, codec: Any) -> Shape:
    """The size dial of a recipe together with the sizes that a codec fixes."""
    check_knobs(student.extra, "student.extra")
    extra = {"denoiser_layers": student.denoiser_layers, "steps": student.steps, **student.extra}
    if any(extra.get(name) for name in ("phase1_share", "phase1_first")):
        extra["names"] = list(names_of(codec))
    return Shape(
        kind=student.kind, width=student.width, encoder_layers=student.encoder_layers, decoder_layers=student.decoder_layers,
        heads=student.heads, dropout=student.dropout, buckets=student.buckets, kinds=codec.kinds, flags=codec.flags,
        positions=codec.positions, symbols=len(codec.symbols), fixed_symbols=codec.fixed_symbols,
        target_length=codec.target_length, extra=extra,
    )  # fmt: skip


def names_of(codec: Any) -> Sequence[int]:
    """Symbols that are identifiers or keywords, which alone CPD masks: what the codec says (`names`), else those that spell a word."""
    said = getattr(codec, "names", None)
    return said if said is not None else [n for n in range(3, codec.fixed_symbols) if NAME.fullmatch(codec.symbols[n].strip())]


def build_network(shape: Shape) -> nn.Module:
    """A fresh network of a shape."""
    module = import_module(f"limbeck.models.{shape.kind}")
    return getattr(module, NETWORKS[shape.kind])(shape)


def count_parameters(network: nn.Module, *, embeddings: bool = True) -> int:
    """Every trainable number once; without embeddings: no table of symbols, pieces or positions, and no head of its own over symbols."""
    total = sum(p.numel() for p in network.parameters())
    if embeddings:
        return total
    tables = [m for m in network.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    own = getattr(getattr(network, "head", None), "own", None)
    return total - sum(p.numel() for table in (*tables, *([own] if own is not None else [])) for p in table.parameters())


def estimate_parameters(student: StudentSection, codec: Any, *, embeddings: bool = True) -> int:
    """The size of a student without allocating it."""
    with torch.device("meta"):
        return count_parameters(build_network(build_shape(student, codec)), embeddings=embeddings)


def save_expert(folder: Path, network: nn.Module, codec: Codec, student: StudentSection) -> None:
    """Write weights (bfloat16), shape and codec settings; the config last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    shape: Shape = network.shape  # type: ignore[assignment]
    weights = {n: t.detach().to(torch.bfloat16).contiguous() for n, t in network.state_dict().items()}
    (folder / "config.json").unlink(missing_ok=True)
    save_file(weights, folder / "model.safetensors.tmp", {"format": "pt"})
    (folder / "model.safetensors.tmp").replace(folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(codec.settings(), indent=1), encoding="utf-8")
    config = {
        "model_type": f"limbeck-{shape.kind}", "format": FORMAT, "codec": codec.name, "parameters": count_parameters(network),
        "parameters_without_embeddings": count_parameters(network, embeddings=False), "torch_dtype": "bfloat16", "shape": {n: getattr(shape, n) for n in Shape.__slots__}, "beams": student.beams,
    }  # fmt: skip
    (folder / "config.json.tmp").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "config.json.tmp").replace(folder / "config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """What an expert's folder says of itself."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LimbeckError("there is no expert here, or its config is damaged", str(folder), "name a folder with config.json and model.safetensors, or a run that has finished") from problem


def start_from(folder: Path, network: nn.Module, codec: Codec) -> None:
    """Give a network the weights of an expert of the same shape and codec. Raises LimbeckError where they do not fit."""
    expert = load_expert(folder, codec)
    fits = {n: t.shape for n, t in expert.network.state_dict().items()} == {n: t.shape for n, t in network.state_dict().items()}
    settings = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) if (folder / "tokenizer.json").exists() else None
    if not fits or settings != json.loads(json.dumps(codec.settings())):
        raise LimbeckError("the expert to go on from has another shape or another vocabulary", f"train.start = {folder}", "give the student its width, layers and buckets, or start anew")
    network.load_state_dict(expert.network.state_dict())


def load_expert(folder: Path, codec: Codec, *, name: str | None = None, adjust: Adjust | None = None, check: Verify | None = None, family: Family | None = None) -> Expert:
    """The expert in a folder. Raises LimbeckError for what is missing, damaged, pickled or made for another codec."""
    where = str(folder)
    if not (folder / "model.safetensors").exists():
        pickled = [p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
        if pickled:
            raise LimbeckError(f"{pickled[0]} is a pickle, which can run code when opened", where, "convert it to safetensors where you trust it")
        raise LimbeckError("there is no expert here", where, "name a folder with config.json and model.safetensors, or a run that has finished")
    try:
        config = read_config(folder)
        if config["format"] != FORMAT or config["codec"] != codec.name:
            raise LimbeckError(f"made for format {config['format']}, codec {config['codec']}; this is {FORMAT}, {codec.name}", where, "train it again, or use the limbeck version that made it")
        network = build_network(Shape(**config["shape"]))
        weights = load_file(folder / "model.safetensors")
        network.load_state_dict({n: t.float() for n, t in weights.items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as problem:
        raise LimbeckError(f"the expert cannot be loaded: {str(problem)[:200]}", where, "the folder is damaged: make it again") from problem
    expert = Expert(name or folder.parent.name, network.eval(), codec, beams=config.get("beams", 6), adjust=adjust, check=check, family=family)
    expert.sampling = dict(config.get("sampling", {}))
    return expert


class Expert:
    """An answerer around a network: encodes, generates inside the grammar, prints, ranks, keeps what parses.

    `sampling` holds knobs of its kind of student for this answerer alone (steps, solver, order ...), and for all kinds
    `rank` ("logp"; "mbr": minimum Bayes risk under `utility`; "family": by the sum over answers of one `family`) and `distinct` ("text", or "outcome": candidates that do the
    same to their prompt, by `check`, are one answer).
    """

    def __init__(
        self, name: str, network: Any, codec: Codec, *, beams: int = 6, adjust: Adjust | None = None, check: Verify | None = None,
        utility: Utility = edit_similarity, family: Family | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.network, self.codec, self.beams, self.adjust, self.seed = name, network, codec, beams, adjust, seed
        self.check, self.utility, self.family = check, utility, family
        self.parameters: int | None = count_parameters(network)
        self.parameters_without_embeddings = count_parameters(network, embeddings=False)
        self.sampling: dict[str, Any] = {}
        self.batch = 32

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """Ranked distinct answers, at most k each; `meta` of the first carries a diffusion student's trace."""
        out: dict[int, Answer] = {}
        for rows, source in self._batches(prompts):
            out |= zip(rows, self._answer_batch([prompts[r] for r in rows], k, source), strict=True)
        return [out[row] for row in range(len(prompts))]

    def infill(self, prompt: Prompt, prefix: str = "", suffix: str = "", *, k: int = 1) -> Answer:
        """Answers that begin with `prefix` and end with `suffix`, both fixed on the canvas while the middle is written."""
        if suffix.strip():
            refuse_suffix(self.network.shape.kind)
        free = self.answer([prompt], k=max(k, self.beams))[0]
        parts = fixed_parts(self.codec, prompt, prefix, suffix, fillers([c.text for c in free.candidates], prompt.text, prefix))
        if parts is None and any(holds(c.text, prefix, suffix) for c in free.candidates):
            parts = [], []
        if parts is None:
            raise LimbeckError("no answer can be made of the given beginning and end", "prefix, suffix", "give text that stands in an answer to this request, whole words or brackets")
        answer = self._wished(prompt, Wish(prefix=tuple(parts[0]), suffix=tuple(parts[1])), max(k, self.beams))
        kept = {c.text: c for c in (*answer.candidates, *free.candidates) if holds(c.text, prefix, suffix)}
        return _within(answer, sorted(kept.values(), key=lambda c: -c.score)[:k], "no candidate keeps the given text")

    def edit(self, prompt: Prompt, snippet: str, *, k: int = 1, strength: float = 0.5) -> Answer:
        """Answers near a snippet that may be wrong or broken: a share `strength` of it is lost in noise and made anew.

        Candidates lose by each symbol they change (ranking.near_snippet), so a small strength keeps more. What cannot be read of a broken snippet is dropped from its end on.
        """
        if not 0 < strength <= 1:
            raise LimbeckError(f"strength {strength} is no share", "strength", "give a number above 0 and at most 1; small keeps more of the snippet")
        free = self.answer([prompt], k=self.beams)[0]
        symbols = readable(self.codec, prompt, snippet, fillers([c.text for c in free.candidates], prompt.text))
        if not symbols:
            raise LimbeckError("nothing of the snippet can be read", "snippet", "give an answer to this request, or the beginning of one")
        answer = self._wished(prompt, Wish(snippet=tuple(symbols)), max(k, self.beams), strength=strength)
        found = {c.text: c for c in (*free.candidates, *answer.candidates)}
        return _within(answer, near_snippet(list(found.values()), symbols, strength)[:k], answer.reason)

    def _wished(self, prompt: Prompt, wish: Wish, k: int, **given: Any) -> Answer:
        return self._answer_batch([prompt], k, collate_sources([self.codec.encode(prompt)]), wishes=[wish], **given)[0]

    def _batches(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], SourceBatch]]:
        """Prompts of about the same length together: less padding, the same answers."""
        sources = [self.codec.encode(p) for p in prompts]
        order = sorted(range(len(prompts)), key=lambda row: len(sources[row].kind_S))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            yield rows, collate_sources([sources[row] for row in rows])

    @torch.no_grad()
    def _answer_batch(self, prompts: Sequence[Prompt], k: int, source: SourceBatch, **given: Any) -> list[Answer]:
        began = time.perf_counter()
        chosen = {"beams": max(k + 1, self.beams), **{n: v for n, v in self.sampling.items() if n not in ("rank", "distinct")}}
        ranked = self.network.generate(
            source, k=max(k, self.beams), allowed=lambda row, prefix: self.codec.allowed(prompts[row], prefix), seed=self.seed,
            valid=lambda row, symbols: self._is_answer(prompts[row], symbols), **chosen, **given,
        )  # fmt: skip
        answers = [self._finish(p, found, k) for p, found in zip(prompts, ranked, strict=True)]
        seconds = (time.perf_counter() - began) / len(prompts)
        return [Answer(prompt_id=a.prompt_id, candidates=a.candidates, status=a.status, reason=a.reason, seconds=seconds) for a in answers]

    def _is_answer(self, prompt: Prompt, symbols: Sequence[int]) -> bool:
        text = self.codec.decode(prompt, symbols)
        return text is not None and (self.check is None or self.check(prompt, text).ok)

    def _finish(self, prompt: Prompt, found: list[Ranked], k: int) -> Answer:
        """Print, merge spellings of the same answer, adjust, rank."""
        best: dict[str, Candidate] = {}
        for candidate in found:
            text = self.codec.decode(prompt, candidate.symbols)
            if text is None:
                continue
            meta: dict[str, Any] = {"symbols": candidate.symbols}
            if candidate.trace:
                meta["trace"] = [self._shown(prompt, t) for t in candidate.trace]
            if text not in best or best[text].score < candidate.score:
                best[text] = Candidate(text=text, score=candidate.score, meta=meta)
        ranked = sorted(best.values(), key=lambda c: -c.score)
        how = self.sampling.get("rank", "logp")
        if how not in RANKS:
            raise LimbeckError(f"candidates cannot be ranked by {how!r}", "sampling.rank", f"choose from {', '.join(RANKS)}")
        if how == "mbr":
            ranked = by_bayes_risk(ranked, self.utility)
        if self.adjust:
            losses = self.adjust(prompt, [c.text for c in ranked])
            ranked = sorted((replace(c, score=c.score + loss) for c, loss in zip(ranked, losses, strict=True)), key=lambda c: -c.score)
        if how == "family" and self.family is not None:
            ranked = by_family(ranked, self.family)
        if self.check is not None and self.sampling.get("distinct") == "outcome":
            ranked = distinct_outcomes(prompt, ranked, self.check)
        if not ranked:
            return Answer(prompt_id=prompt.id, status="no_answer", reason="no candidate parses")
        return Answer(prompt_id=prompt.id, candidates=tuple(ranked[:k]))

    def _shown(self, prompt: Prompt, symbols: list[int]) -> str:
        """A half-made candidate: as a rule where it is one, else symbol by symbol with a dot for each still hidden."""
        text = self.codec.decode(prompt, symbols) if -1 not in symbols else None
        return text or " ".join("·" if s < 0 else self.codec.symbols[s] for s in symbols)

    @torch.no_grad()
    def answer_with_soft(self, prompts: Sequence[Prompt], k: int, width: int = 8) -> list[tuple[Answer, dict[str, Any] | None]]:
        """Answers, and for the best of each the distributions it was read from: the `width` likeliest symbols per position."""
        beams, self.beams = self.beams, k + 1
        out: dict[int, tuple[Answer, dict[str, Any] | None]] = {}
        for rows, source in self._batches(prompts):
            memory = self.network.reader(source, self.network.symbols)  # read once, for the answers and their distributions
            answers = self._answer_batch([prompts[r] for r in rows], k, source, memory=memory)
            targets = [[*a.candidates[0].meta["symbols"], EOS] if a.candidates else [EOS] for a in answers]
            top = self.network(source, collate_targets(targets), memory).float().log_softmax(-1).topk(width, -1)
            for at, (row, answer, symbols) in enumerate(zip(rows, answers, targets, strict=True)):
                soft = {"symbols": symbols, "top_ids": top.indices[at, : len(symbols)].numpy(), "top_logps": top.values[at, : len(symbols)].numpy()}
                out[row] = answer, soft if answer.candidates else None
        self.beams = beams
        return [out[row] for row in range(len(prompts))]


def _within(answer: Answer, kept: Sequence[Candidate], reason: str) -> Answer:
    """The answer with these candidates only."""
    if not kept:
        return replace(answer, candidates=(), status="no_answer", reason=reason)
    return replace(answer, candidates=tuple(kept), status="scored", reason="")
