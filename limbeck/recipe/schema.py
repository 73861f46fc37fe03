"""Every knob of a recipe, one section a step. Frozen; an unknown key is an error; the text under a field is its help."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["autoregressive", "masked", "codefusion"]


class Section(BaseModel):
    """A frozen part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RecipeSection(Section):
    """What is made."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the run's name and default folder, runs/NAME")
    task: str = Field("cf", description="the job")
    seed: int = Field(0, ge=0, description="from which every other seed is derived")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="one student of each arm is trained for each")


class TeacherSection(Section):
    """Who teaches."""

    model: str = Field("builtin:cf", description="builtin:NAME, a path to an expert or run, or `generator` (the task's own gold)")


class DistillSection(Section):
    """How a teacher's answers become a training set."""

    prompts: int = Field(20_000, ge=1, description="utterances asked")
    dev: int = Field(512, ge=1, description="generated examples with gold kept apart for dev loss")
    held_out: int = Field(1_000, ge=1, description="generated examples with gold kept apart for the examination alone")
    candidates: int = Field(3, ge=1, description="ranked answers asked for each")
    soft_top: int = Field(8, ge=1, le=64, description="symbols kept of each of the teacher's distributions")
    ngram: int = Field(8, ge=3, description="words of a shared run that count as overlap with a test text")
    code: tuple[str, ...] = Field((), description="code on this machine to learn from too, where the task can: stdlib, packages, system, or folders")
    slots: Literal["plain", "typed"] = Field("plain", description="how a student names what it copies from a request: by its place, or by its kind and number (bash, python)")
    shard: int = Field(512, ge=1, description="prompts between two points from which a killed run goes on")


class StudentSection(Section):
    """The network: `width` is the size dial."""

    kind: Kind = Field("autoregressive", description="how it generates")
    width: int = Field(96, ge=16, le=4096, multiple_of=8, description="the size dial")
    encoder_layers: int = Field(3, ge=1, le=64, description="blocks that read the prompt")
    decoder_layers: int = Field(2, ge=1, le=64, description="blocks that write the answer (D, in CODEFUSION)")
    denoiser_layers: int = Field(2, ge=0, le=64, description="diffusion students only: blocks of the denoiser")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    buckets: int = Field(3072, ge=64, le=1_000_000, description="rows of the table of hashed word pieces")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in blocks")
    beams: int = Field(12, ge=1, le=64, description="hypotheses kept while answering (autoregressive)")
    steps: int = Field(12, ge=1, le=2000, description="denoising steps while answering (diffusion)")
    extra: dict[str, Any] = Field(default_factory=dict, description="knobs of one kind of student; see docs/models.md")


class TrainSection(Section):
    """The loop."""

    start: str = Field("", description="an expert of the same shape to go on from: its folder, a run, or builtin:NAME; empty starts anew")
    steps: int = Field(1500, ge=1, description="optimizer steps")
    batch: int = Field(64, ge=1, description="examples a step and process")
    accumulate: int = Field(1, ge=1, description="batches a step")
    optimizer: Literal["muon", "adamw"] = Field("muon", description="muon: orthogonalized momentum for linear layers, AdamW for the rest")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    warmup: int = Field(100, ge=1, description="steps of linear rise")
    weight_decay: float = Field(0.01, ge=0, description="on matrices")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the running mean of the weights")
    soft_weight: float = Field(0.5, ge=0, le=1, description="share of the loss on the teacher's distributions; 0 is hard labels only")
    soft_temperature: float = Field(1.0, gt=0, le=20, description="temperature at which teacher and student are compared; above 1 the teacher's doubts weigh more")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="bf16 autocast where the processor has it")
    compile: bool = Field(False, description="torch.compile: 20-30 s of warm-up on a CPU")
    evaluate_every: int = Field(500, ge=1, description="steps between looks at dev loss")
    patience: int = Field(0, ge=0, description="looks without gain before stopping; 0 never stops early")
    checkpoint_every: int = Field(250, ge=1, description="steps between checkpoints")


class EvaluateSection(Section):
    """How good, how sure."""

    splits: tuple[str, ...] = Field(("people-test", "generated"), description="which examples; `generated` are the held-out ones")
    k: int = Field(5, ge=1, le=50, description="candidates asked for")
    baselines: tuple[str, ...] = Field(("nearest", "majority"), description="answerers that cost nothing")
    limit: int = Field(0, ge=0, description="at most so many examples a split; 0 is all")
    sweep: dict[Kind, tuple[dict[str, Any], ...]] = Field(default_factory=dict, description="ways to answer tried for each kind of student on `sweep_split` before the examination; the best serves")
    sweep_split: str = Field("generated", description="the examples of the sweep: none of `splits`")
    footprint: int = Field(0, ge=0, le=1000, description="requests answered one at a time in a process of its own for waiting time and memory; 0 is none")


class ReportSection(Section):
    """What a reader sees."""

    examples: int = Field(60, ge=0, description="examples in the browser of the page")
    paper: Literal["", "codefusion"] = Field("", description="a paper whose tables stand beside ours, with what is wrong about them")


class ArmSection(Section):
    """A variation trained and examined beside the recipe's own student."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="its name on the report")
    set: dict[str, Any] = Field(default_factory=dict, description="keys of student and train to change, e.g. { 'train.soft_weight' = 0.0 }")


class Recipe(Section):
    """One expert."""

    recipe: RecipeSection
    teacher: TeacherSection = TeacherSection()  # type: ignore[call-arg]
    distill: DistillSection = DistillSection()  # type: ignore[call-arg]
    student: StudentSection = StudentSection()  # type: ignore[call-arg]
    train: TrainSection = TrainSection()  # type: ignore[call-arg]
    evaluate: EvaluateSection = EvaluateSection()  # type: ignore[call-arg]
    report: ReportSection = ReportSection()  # type: ignore[call-arg]
    arm: tuple[ArmSection, ...] = Field((), description="variations beside the main student")
