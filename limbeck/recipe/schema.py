"""Every knob of a recipe, one section a step. Frozen; an unknown key is an error; the text under a field is its help."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["autoregressive", "masked", "codefusion", "decoder"]


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
    """Who teaches, and how it is asked. Experts and the generator take `model` alone; the rest is for language models."""

    model: str = Field("builtin:cf", description="builtin:NAME, a path to an expert or run, openai:NAME (any OpenAI-compatible server), hf:ID-or-folder, or `generator` (the task's own gold)")
    base_url: str = Field("", description="openai: the server; OPENAI_BASE_URL unless said")
    key_env: str = Field("OPENAI_API_KEY", description="openai: the environment variable that holds the key")
    revision: str = Field("", description="which version of the model: part of each call's identity, and what a server must say it served")
    style: Literal["chat", "raw"] = Field("chat", description="chat messages, or plain completions without a chat template")
    system: str = Field("", description="a system message before every request")
    temperature: float = Field(0.7, ge=0, le=5, description="of the draws; 0 is greedy")
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus of the draws")
    max_tokens: int = Field(1024, ge=1, description="longest answer")
    seed: int | None = Field(None, ge=0, description="sent with each request, where the server knows seeds")
    samples: int = Field(1, ge=1, le=128, description="draws a request")
    schema_file: str = Field("", description="structured output: a JSON schema file that every answer must follow")
    concurrency: int = Field(64, ge=1, le=4096, description="most requests in flight; fewer while the server says 429 or 5xx, or slows down")
    timeout_s: float = Field(120, gt=0, description="seconds for one try")
    deadline_s: float | None = Field(None, gt=0, description="seconds for one record with all its tries")
    retries: int = Field(8, ge=0, le=100, description="tries after the first, with growing waits and jitter")
    budget_usd: float | None = Field(None, description="dollars that will not be passed; needs a known price")
    budget_tokens: int | None = Field(None, description="tokens, read and written, that will not be passed")
    failed_most: float = Field(0.02, ge=0, le=1, description="share of requests that may fail for good; more of them stop the step, and running again asks only those")
    when_spent: Literal["stop", "keep"] = Field("stop", description="at the end of a budget: stop with an error, or go on with the answers there are")
    price_in_usd: float | None = Field(None, ge=0, description="dollars for a million tokens read, where the catalogue has no price")
    price_out_usd: float | None = Field(None, ge=0, description="dollars for a million tokens written")
    batch_file: bool = Field(False, description="openai: ask through the server's batch files: cheaper, and hours later")
    self_test: bool = Field(True, description="try the teacher before anything is spent: template, stop tokens, likelihoods, determinism")
    offline: bool = Field(False, description="answer from the ledger of calls alone: a run is made again without its teacher, and a call that is missing is an error")
    terms: str = Field("", description="id of the terms its answers are under, where the catalogue does not know the model; see `limbeck terms --list`")


class DistillSection(Section):
    """How a teacher's answers become a training set."""

    split: str = Field("", description="ask the requests of this split of the task; empty: fresh ones from its generator")
    prompts: int = Field(20_000, ge=1, description="requests asked; of a split, at most so many")
    answers: Literal["teacher", "gold"] = Field("teacher", description="whose answers are learnt: the teacher's, or the task's gold (a teacher with weights then gives its distributions over those)")
    licence: str = Field("", description="licence of the requests or documents where the task does not know it; see `limbeck terms --list`")
    dev: int = Field(512, ge=1, description="generated examples with gold kept apart for dev loss")
    held_out: int = Field(1_000, ge=1, description="generated examples with gold kept apart for the examination alone")
    candidates: int = Field(3, ge=1, description="ranked answers asked for each")
    soft: Literal["off", "sampled", "top"] = Field("off", description="decoder students: the teacher's distributions stored beside its answers, as unbiased draws or as the likeliest with a tail (teachers with weights here)")
    soft_draws: int = Field(50, ge=1, le=1000, description="draws of each distribution (sampled)")
    align: bool = Field(False, description="with soft = \"top\": a teacher of another tokenizer is read in its own tokens, and its distributions are used where both cut the text alike; only after a self-test on the records passes")
    soft_top: int = Field(8, ge=1, le=512, description="symbols or tokens kept of each of the teacher's distributions")
    ngram: int = Field(8, ge=3, description="words of a shared run that count as overlap with a test text")
    code: tuple[str, ...] = Field((), description="code on this machine to learn from too, where the task can: stdlib, packages, system, or folders")
    slots: Literal["plain", "typed"] = Field("plain", description="how a student names what it copies from a request: by its place, or by its kind and number (bash, python)")
    shard: int = Field(512, ge=1, description="prompts between two points from which a killed run goes on")


class KeepSection(Section):
    """Which answers enter the training set. Every refusal is listed with its reason."""

    verify: bool = Field(True, description="the task's own verifier must pass the answer (it parses, it runs)")
    gold: bool = Field(False, description="where gold is known the task's scorer must call the answer right (rejection sampling)")
    run: bool = Field(False, description="in a sandbox. functions: the answer must pass its tests. bash: answer and gold are each run in a copy of one file tree and must do the same; where the gold tells nothing there, the scorer decides if keep.gold is set too, else the answer is refused")
    agreement: float = Field(0.0, ge=0, le=1, description="least share of a request's draws that come to the same answer; above 0 the commonest is kept")
    per_request: int = Field(1, ge=1, le=128, description="answers kept of one request, best first, all different")
    min_chars: int = Field(1, ge=0, description="shortest answer")
    max_chars: int | None = Field(None, ge=1, description="longest answer")
    language: str = Field("", description="language of requests and answers by its two-letter code; empty: any")
    personal: Literal["off", "flag", "refuse"] = Field("flag", description="e-mail addresses, telephone and card numbers, keys and the like: unlooked for, counted, or refused")
    toxicity: str = Field("", description="MODULE:FUNCTION of yours that maps a text to 0 (fine) .. 1; empty: unlooked for")
    toxicity_most: float = Field(0.5, ge=0, le=1, description="the most that passes")
    duplicates: Literal["off", "exact", "minhash", "embedding"] = Field("exact", description="what counts as a repeated request: equal when normalised, near by MinHash, or near by embedding")
    near: float = Field(0.8, gt=0, le=1, description="similarity from which two are near")
    embedding: str = Field("", description="embedding: hf:ID-or-folder of the encoder")
    against: tuple[str, ...] = Field((), description="other sets (runs, files, TASK/SPLIT) whose requests are not repeated")
    contamination: Literal["task", "known", "off"] = Field("task", description="test texts looked for: of this task, or of every benchmark limbeck knows")
    contaminated: Literal["refuse", "flag"] = Field("refuse", description="what shares a run of words with a test text: refused, or kept and shown")
    balance: Literal["off", "difficulty"] = Field("off", description="requests thinned so that each difficulty (share of draws that pass) has as many")
    opt_out: tuple[str, ...] = Field((), description="lists of people's objections: hashes of texts, ids, domains")


class MixSection(Section):
    """Another training set mixed in."""

    source: str = Field(description="a run, its distill folder, or a .jsonl file of messages or of text and answer")
    weight: float = Field(1.0, gt=0, description="how often its records are seen, against 1 for the teacher's")
    terms: str = Field("", description="id of the terms it is under; a run knows its own")
    name: str = Field("", description="what its records say they come from; source unless said")


class TermsSection(Section):
    """What binds the data and the expert."""

    accept: tuple[str, ...] = Field((), description="ids of terms that you accept, or have permission under; recorded in the run. The same as --accept-terms")
    name: str = Field("", description="the expert's published name, where terms ask for one (Llama-...)")


class StudentSection(Section):
    """The network: `width` is the size dial."""

    kind: Kind = Field("autoregressive", description="how it generates")
    source: str = Field("", description="decoder: weights to start from, hf:ID-or-folder or builtin:smollm2-135m; empty: a Llama shape of `width` with random weights")
    tokenizer: str = Field("", description="decoder with random weights: whose tokenizer, hf:ID-or-folder or builtin:smollm2-135m; the teacher's unless said; `own` learns one from the run's records")
    vocabulary: int = Field(2048, ge=300, le=65_536, description="decoder with `tokenizer = \"own\"`: tokens it has")
    length: int = Field(512, ge=16, le=1_048_576, description="decoder: tokens in a packed row; longer records are refused")
    lora_rank: int = Field(0, ge=0, le=4096, description="decoder: rank of LoRA updates; 0 trains all weights")
    lora_alpha: float | None = Field(None, gt=0, description="decoder: scale of LoRA; twice the rank unless said")
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
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "skew_kl"] = Field("forward_kl", description="decoder: how the teacher's distribution is matched; the last three need `distill.soft = \"top\"`")
    beta: float = Field(0.5, ge=0, le=1, description="jsd: weight of the teacher in the mixture; skew_kl: share of the student in it")
    chunk_tokens: int = Field(1024, ge=16, description="decoder: positions whose logits exist at one time")
    whole: bool = Field(False, description="decoder: learn requests too, not answers alone")
    on_policy_steps: int = Field(0, ge=0, description="decoder: steps of on-policy distillation at the end, through TRL (teacher with weights here and the same vocabulary)")
    soft_temperature: float = Field(1.0, gt=0, le=20, description="temperature at which teacher and student are compared; above 1 the teacher's doubts weigh more")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="bf16 autocast where the processor has it")
    compile: bool = Field(False, description="torch.compile: 20-30 s of warm-up on a CPU")
    evaluate_every: int = Field(500, ge=1, description="steps between looks at dev loss")
    patience: int = Field(0, ge=0, description="looks without gain before stopping; 0 never stops early")
    checkpoint_every: int = Field(250, ge=1, description="steps between checkpoints")


Share = Annotated[float, Field(gt=0, le=0.2)]


class AlignSection(Section):
    """Prefer better answers: fewer disallowed ones, no more refusals of what is allowed, the task kept (decoders)."""

    method: Literal["off", "best_of_n", "dpo", "grpo"] = Field("off", description="best_of_n: learn the best of several answers; dpo: prefer the better of two; grpo: the reward itself, on answers written along the way")
    policy: str = Field("default", description="what good answers are: default, medical, or a TOML file")
    share: Share = Field(0.03, description="requests to be refused, as a share of the training set they come beside; more makes a model timid")
    sweep: tuple[Share, ...] = Field((), description="other shares that are tried; the one that serves answers fewest held-out requests to be refused, among those that refuse no more allowed ones than `max_overrefusal` lets them")
    contrast: float = Field(1.0, ge=0, le=10, description="harmless requests that sound alike, for each one to be refused")
    helpful: float = Field(1.0, ge=0, le=100, description="requests of the task itself, for each one to be refused")
    samples: int = Field(4, ge=2, le=64, description="answers drawn for each request")
    temperature: float = Field(1.0, gt=0, le=5, description="of the draws")
    max_tokens: int = Field(96, ge=8, le=4096, description="longest draw")
    min_gap: float = Field(0.1, ge=0, description="least difference of two rewards that makes a pair")
    task_weight: float = Field(1.0, ge=0, le=100, description="of the task's own score in the reward, beside the policy's")
    beta: float = Field(0.1, gt=0, le=10, description="dpo, grpo: how close to the model it starts from")
    sft_weight: float = Field(0.0, ge=0, le=10, description="dpo: of the chosen answers' own likelihood in the loss, so that a wording that the model never used becomes likely, not merely likelier than another")
    steps: int = Field(60, ge=1, description="optimizer steps")
    batch: int = Field(4, ge=1, description="pairs a step (dpo), answers a step (best_of_n); grpo: requests a step, each answered `samples` times")
    lr: float = Field(5e-6, gt=0, description="peak learning rate")
    judge: str = Field("", description="a MODEL that answers the policy's questions of kind judge; empty: the policy has none, or its rules stand in")
    judge_url: str = Field("", description="openai: the judge's server; OPENAI_BASE_URL unless said")
    labels: str = Field("", description="a file of people's labels on which the grader is examined first; empty: as it was examined when it was made")
    min_grader_accuracy: float = Field(0.75, ge=0, le=1, description="below this accuracy of any proposition that the reward uses, nothing is trained")
    probe: int = Field(0, ge=0, description="requests of each family asked before and after, for the gate; 0 is all")
    max_overrefusal: float = Field(0.02, ge=0, le=1, description="the gate: points (as a share) by which refusals of allowed requests may rise; 1 asks nothing")
    min_task_score: float = Field(0.98, ge=0, le=1, description="the gate: share of the task's score before that must be left; 0 asks nothing")


class EvaluateSection(Section):
    """How good, how sure."""

    splits: tuple[str, ...] = Field(("people-test", "generated"), description="which examples; `generated` are the held-out ones")
    k: int = Field(5, ge=1, le=50, description="candidates asked for")
    baselines: tuple[str, ...] = Field(("nearest", "majority"), description="answerers that cost nothing")
    teacher: bool = Field(True, description="examine the teacher too, on the same examples; a language model is paid for it")
    before: bool = Field(True, description="examine also the weights that a decoder starts from: its score before it was taught")
    limit: int = Field(0, ge=0, description="at most so many examples a split; 0 is all")
    sweep: dict[Kind, tuple[dict[str, Any], ...]] = Field(default_factory=dict, description="ways to answer tried for each kind of student on `sweep_split` before the examination; the best serves")
    sweep_split: str = Field("generated", description="the examples of the sweep: none of `splits`")
    footprint: int = Field(0, ge=0, le=1000, description="requests answered one at a time in a process of its own for waiting time and memory; 0 is none")


class PredictSection(Section):
    """A forecast of the student, made from a ladder of smaller ones and sealed before it is trained."""

    share: float = Field(0.0, ge=0, le=0.5, description="what the ladder may cost, as a share of the target's compute; 0: no ladder and no forecast")
    larger: float = Field(1.0, ge=1, le=10_000, description="the student forecast has so many times the parameters and data of the recipe's own; 1: it is the recipe's own, and its forecast is scored")
    examples: int = Field(2_000, ge=0, description="generated held-out examples that the forecast score speaks of (distill.held_out needs as many, evaluate.splits names them); 0: the loss alone is forecast")
    rung_examples: int = Field(500, ge=50, description="of these, the first so many are answered by each rung")
    least_steps: int = Field(200, ge=20, description="a rung takes at least so many optimizer steps, of 8 examples or more: shorter ones are still learning what is most frequent")
    sweep: bool = Field(False, description="train one middle rung at half and at twice its learning rate too: the transferred one must agree")


class StaircaseSection(Section):
    """Generations of teacher and student, and the controls beside them (`limbeck staircase`)."""

    generations: int = Field(3, ge=1, le=20, description="after generation 0, which learns from gold")
    requests: int = Field(2_000, ge=1, description="fresh requests asked in each generation; their gold is not shown")
    samples: int = Field(8, ge=1, le=128, description="draws a request of the larger model; smaller ones are asked more often, at equal compute")
    temperature: float = Field(1.0, gt=0, le=5, description="of the draws")
    max_tokens: int = Field(128, ge=1, description="longest draw")
    larger: dict[str, Any] = Field(default_factory=dict, description="keys of student and train that make the larger model, e.g. { 'student.width' = 192 }")
    weaker: dict[str, Any] = Field(default_factory=dict, description="keys of student and train that make the weaker one, for the arm of that name")
    arms: tuple[Literal["seed", "self", "larger", "unverified", "replace", "weaker", "gold"], ...] = Field(("seed", "self", "larger", "unverified", "replace", "gold"), min_length=1, description="seed: gold of generation 0 alone; self: its own verified answers; larger: the larger model's; unverified: all of the larger model's; replace: those instead of what there was; weaker: a smaller model's; gold: gold of the same requests")
    stop: bool = Field(True, description="self and larger end where a generation gains nothing beyond its interval")
    vocabulary: int = Field(512, ge=300, le=65_536, description="tokens where student.tokenizer is \"own\"")
    processes: int = Field(0, ge=0, le=1024, description="arms and seeds worked on side by side, one thread each; 0: as many as there are cores. The results are the same")


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
    keep: KeepSection = KeepSection()  # type: ignore[call-arg]
    terms: TermsSection = TermsSection()  # type: ignore[call-arg]
    student: StudentSection = StudentSection()  # type: ignore[call-arg]
    train: TrainSection = TrainSection()  # type: ignore[call-arg]
    align: AlignSection = AlignSection()  # type: ignore[call-arg]
    evaluate: EvaluateSection = EvaluateSection()  # type: ignore[call-arg]
    predict: PredictSection = PredictSection()  # type: ignore[call-arg]
    staircase: StaircaseSection = StaircaseSection()  # type: ignore[call-arg]
    report: ReportSection = ReportSection()  # type: ignore[call-arg]
    mix: tuple[MixSection, ...] = Field((), description="other sets mixed in")
    arm: tuple[ArmSection, ...] = Field((), description="variations beside the main student")
