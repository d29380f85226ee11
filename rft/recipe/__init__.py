"""Recipe: every setting of a run, typed, with documented defaults. Runs without torch.

Field docstrings are the text of docs/recipe.md. Relative paths start at the current directory; those of FILE.py:NAME at
the recipe's folder.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rewards.types import Fidelity
from rft.own_code import short_name
from rft.recipe.algorithm import AlgorithmRecipe
from rft.recipe.cluster import ClusterRecipe
from rft.recipe.judge import JudgeRecipe
from rft.recipe.section import Section
from rft.recipe.video import VideoRecipe
from rft.recipe.watch import AlarmName, TrackerName, ViewName
from rft.types import Sampling


class DataRecipe(Section):
    train: tuple[Path, ...]
    """Files of training rows: JSONL, parquet, a folder of them, or hf://OWNER/NAME/SPLIT (docs/data.md)."""
    eval: tuple[Path, ...] = ()
    """Files of held-out rows."""
    format: str | None = None
    """Published format of these files and of `cold_start.data`: a name of `rft list formats`, FILE.py:FORMAT for one in
    a file of your own, or a name that an installed package registers; null: they hold rows."""
    video_root: Path | None = None
    """Folder that relative paths of videos and images start from; default: the folder of the file of rows."""
    max_bad_share: float = Field(0.01, ge=0, le=1)
    """Share of rows whose video or image may fail to decode before the run stops."""
    drop_solved: float | None = Field(None, gt=0, le=1)
    """Rows whose group earned at least this share of its rewards, without the format reward, are skipped in later
    rounds while enough others are left for a step; null: every round has every row."""


class RewardRecipe(Section):
    weight: float = 1.0
    """Weight in the summed reward. Shorthand: a plain number in place of the section, as in `temporal_iou: 0.5`."""
    args: dict[str, Any] = Field({})
    """Keyword arguments of the reward function."""

    @model_validator(mode="before")
    @classmethod
    def _weight_alone(cls, value: object) -> object:
        return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class TaskRecipe(Section):
    think: bool = True
    """Ask for reasoning in <think> tags before the answer."""
    rewards: dict[str, RewardRecipe] | None = None
    """Reward name, or FILE.py:FUNCTION for a reward in a file of your own -> weight, or {weight, args}; default: the
    task's rewards. A relative path of a FILE.py starts at the recipe's folder."""
    frames: Literal["sampled", "one_per_box", "seven"] = "sampled"
    """Frames of a clip whose target is boxes. sampled: by `video`, as for other tasks; one_per_box: the first frame for
    the start box; seven: as in VideoChat-R1's released code, for eight boxes, with a stated rate of 2 per second."""
    source: str | None = None
    """FILE.py:TASK of a task of your own. A key FILE.py:TASK sets it, and the task's own name becomes the key."""

    @model_validator(mode="after")
    def _rewards_have_different_names(self) -> Self:
        names = [short_name(key) for key in self.rewards or ()]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise ValueError(f"two rewards are called {doubled}. Rename one of the functions.")
        return self


class LengthBonusRecipe(Section):
    reward: str
    """Name of a reward; tasks without it get no bonus."""
    least: float = Field(1.0, gt=0, le=1)
    """Value of that reward from which on a completion can get the bonus."""
    tokens_low: int = Field(320, ge=1)
    """Fewest tokens of a completion that gets the bonus."""
    tokens_high: int = Field(512, ge=1)
    """Most tokens of a completion that gets the bonus."""
    bonus: float = Field(0.2, gt=0)
    """Amount that is added to the reward."""


class OrderBonusRecipe(Section):
    reward: str
    """Name of the reward that answers are compared by; tasks without it get no bonus."""
    least: float = Field(1.0, gt=0, le=1)
    """Value of that reward from which on an answer counts as right."""
    bonus: float = Field(0.3, gt=0)
    """Amount that is added to the reward of right answers."""
    num_generations: int | None = Field(None, ge=1)
    """Completions per prompt on shuffled frames; default: half of sampling.num_generations."""


class ScoringRecipe(Section):
    reward_timeout_s: float = Field(5.0, gt=0)
    """Longest time of one reward for one group."""
    on_reward_error: Literal["stop", "drop"] = "stop"
    """If a reward raises, hangs or returns no number in [0, 1]: stop the run, or drop and count the completion."""
    truncated: Literal["score", "zero", "drop"] = "score"
    """Completions truncated at max_completion_length: scored as they are, rewarded 0, or left out of the update."""
    overlong_buffer: int = Field(0, ge=0)
    """DAPO's soft length penalty: tokens before the limit over which it grows; 0: off."""
    overlong_penalty: float = Field(1.0, ge=0)
    """Largest amount that the length penalty subtracts."""
    length_bonus: LengthBonusRecipe | None = None
    """Video-R1's bonus for good answers within a range of lengths; null: off."""
    order_bonus: OrderBonusRecipe | None = None
    """T-GRPO's bonus for right answers, if the group is not worse than a second one on shuffled frames; null: off."""


class SamplingRecipe(Section):
    num_generations: int = Field(8, ge=2)
    """G, completions per prompt."""
    temperature: float = Field(1.0, gt=0, le=2)
    """Divides the logits before sampling."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Share of the probability mass that is sampled from, the likeliest tokens first; 1: all."""
    top_k: int = Field(0, ge=0)
    """Number of likeliest tokens that are sampled from; 0: no limit."""
    max_completion_length: int = Field(1024, ge=1)
    """Tokens at which a completion is truncated."""

    def sampling(self) -> Sampling:
        return Sampling(self.num_generations, self.temperature, self.top_p, self.top_k, self.max_completion_length)


class RolloutRecipe(Section):
    num_workers: int = Field(1, ge=1)
    """Number of vLLM engines, each a Ray actor."""
    ahead: int = Field(0, ge=0)
    """Steps that sampling may be ahead of the learner. 1: the next step's groups are sampled while the learner works on
    this one's, and are one policy version old; more: with `partial`."""
    partial: bool = False
    """Partial rollouts: completions that are not finished when new weights arrive go on under these, and the learner
    does not wait for them. Of each token the log-probability is that of the policy that drew it."""
    gpus_per_worker: int = Field(1, ge=1)
    """Tensor-parallel size of an engine, on GPUs."""
    share_gpu: bool = False
    """An engine and a learning process live on one GPU: leave them room with gpu_memory_utilization."""
    weight_transfer: Literal["auto", "object_store", "ipc", "nccl"] = "auto"
    """How new weights get to the engines: the object store in the CPU's memory; ipc on a shared GPU; nccl from GPU to
    GPU. Auto: ipc with share_gpu, else nccl; the object store where there are no GPUs."""
    threads_per_worker: int | None = Field(None, ge=1)
    """CPU threads of an engine. Default: all cores; on a machine with GPUs its share of them, at most 8."""
    max_model_len: int = Field(8192, ge=16)
    """Longest prompt plus completion, in tokens."""
    max_media: int = Field(1, ge=1)
    """Most clips, and most images, of a prompt."""
    max_num_seqs: int = Field(64, ge=1)
    """Most sequences that an engine decodes together."""
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    """Share of a GPU's memory that its engine takes."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Key-value cache of an engine on the CPU."""
    max_restarts: int = Field(2, ge=0)
    """Dead or hung workers that are replaced before the run stops."""
    stall_timeout_s: float = Field(1800, gt=0)
    """Longest time between two finished groups of an engine, or for a start or a weight load; beyond it hangs."""
    probe_tolerance: float = Field(0.05, gt=0)
    """Largest mean difference of the probe's log-probabilities between learner and engine after a weight load."""
    engine: dict[str, Any] = Field({})
    """Arguments of vLLM's engine (EngineArgs), laid over those of the other keys: `{enforce_eager: true}`."""
    environment: dict[str, str | int] = Field({})
    """Environment variables of the engines' processes, laid over ours: `{VLLM_USE_V2_MODEL_RUNNER: 0}`."""

    @property
    def sleeps_during_update(self) -> bool:
        """Whether engines on GPUs sleep while the learner works there; those that sample ahead have no time to."""
        return self.share_gpu and self.ahead == 0


class LoraRecipe(Section):
    r: int = Field(16, ge=1)
    """Rank of the adapters."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of the adapters, times r: they count lora_alpha / r times."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Names of the linear layers that get adapters."""


class LearnerRecipe(Section):
    learning_rate: float = Field(1e-6, gt=0)
    """Highest learning rate of the run."""
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after warm-up: constant, or falling to min_lr_ratio at the last step."""
    warmup_steps: int = Field(0, ge=0)
    """Updates over which the learning rate rises from 0."""
    min_lr_ratio: float = Field(0.0, ge=0, le=1)
    """Last learning rate over the highest."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of AdamW."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""
    adam_epsilon: float = Field(1e-8, gt=0)
    """Term in AdamW's denominator that avoids division by 0."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Largest norm of the gradient; a larger one is scaled down to it."""
    num_ranks: int = Field(1, ge=1)
    """Learner processes; more than one shards parameters and optimizer (FSDP2)."""
    context_parallel: int = Field(1, ge=1)
    """Ranks that share each prompt: its tokens, frames and completions are dealt to them, for prompts too long for one.
    Divides num_ranks."""
    num_replicas: int = Field(1, ge=1)
    """Copies of the policy among them, each sharded over num_ranks / num_replicas (HSDP): with as many as nodes, only
    gradients go from node to node."""
    max_tokens_per_forward: int = Field(16384, ge=1)
    """Packed tokens of the groups that share one forward pass; a larger group runs alone."""
    logprob_chunk: int = Field(1024, ge=1)
    """Tokens whose logits are in memory at the same time."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Data type of the policy in learner and engine."""
    master_dtype: Literal["float32", "bfloat16"] = "float32"
    """Data type of the optimizer's copy of the trained weights, and of their gradients."""
    optimizer_dtype: Literal["float32", "bfloat16"] = "float32"
    """Data type of AdamW's two moments."""
    offload_optimizer: bool = False
    """Keep AdamW's moments in CPU memory; each update copies them to the GPU in parts."""
    freeze_vision: bool = False
    """Do not train the vision tower."""
    seconds_per_grid: Literal["clip", "one"] = "clip"
    """Time between two frame pairs in the learner's positions: the clip's, as in the engine, or always 1 s."""
    ban_vision_tokens: bool = True
    """Leave vision tokens, which the engine never draws, out of the softmax; false: log-probabilities cover all."""
    mask_padding: bool = True
    """Learn from no padding; false: a completion without the tokenizer's end token, such as one that ended in
    <|endoftext|>, is followed by padding up to the longest of its group, and that is learned from too."""
    stall_timeout_s: float = Field(1800, gt=0)
    """Longest time for an update or any other call to the learner, beyond which it hangs; that of an update grows with
    the groups beyond 16 per process."""
    max_restarts: int = Field(1, ge=0)
    """Times that learning processes which ended or hang are started again, from the last checkpoint."""
    lora: LoraRecipe | None = None
    """Train low-rank adapters instead of all weights."""

    @property
    def freezes_tower(self) -> bool:
        """Whether the vision tower is not trained, so that the features of a clip can be stored."""
        return self.freeze_vision or self.lora is not None


class ColdStartRecipe(Section):
    data: tuple[Path, ...]
    """Files of rows; the completion is the row's `demonstration`, or its target written as a completion."""
    steps: int = Field(ge=1)
    """Supervised updates."""
    loss_on: Literal["completion", "all"] = "completion"
    """Tokens in the loss: those of the completion, or the prompt's text too; never those of the video."""
    learning_rate: float = Field(1e-5, gt=0)
    """Highest learning rate of the stage."""
    lr_scheduler_type: Literal["linear", "cosine"] = "cosine"
    """Learning rate after warm-up: falling linearly to 0, or by half a cosine to a tenth."""
    rows_per_step: int = Field(16, ge=1)
    """Rows per update."""
    warmup_steps: int = Field(0, ge=0)
    """Updates over which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of AdamW."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""


class SecondLookRecipe(Section):
    fps: float | None = Field(None, gt=0)
    """Frames per second of the second look; default: twice video.fps."""
    total_pixels: int | None = Field(None, gt=0)
    """Pixel budget of the second look; default: video.total_pixels, which allows larger frames for a shorter clip."""
    margin_s: float = Field(1.0, ge=0)
    """Seconds added before and after each span."""


class ParityRecipe(Section):
    prompts_per_task: int = Field(2, ge=1)
    """Prompts of each task and kind of media that are compared between engine and learner before the first step."""
    max_ratio: float = Field(1.05, gt=1)
    """Largest mean of exp |difference of log-probabilities| between the two."""
    max_kl: float = Field(0.015, gt=0)
    """Bound of the KL between the two, per token in nats (k3 estimate); it must be below."""
    on_mismatch: Literal["stop", "warn"] = "stop"
    """Action if the two differ: the run does not start, or warns and continues."""


class EvalRecipe(Section):
    every: int = Field(0, ge=0)
    """Steps between evaluations during training; 0: only before and after training."""
    max_rows: int | None = Field(None, ge=1)
    """Rows (the first ones) of an evaluation during training; those before and after training use all."""
    num_samples: int = Field(1, ge=0)
    """Completions per row at the recipe's temperature; 0: only greedy."""
    second_look: SecondLookRecipe | None = None
    """Second look at questions with options: the first answer names the spans that show it, the second one sees only
    those; null: off."""
    views: tuple[ViewName, ...] = ()
    """The held-out rows are also asked about their clips seen otherwise: blank (grey frames), shuffled, reversed,
    mirrored (both only where the task knows how the answer changes), swapped (another row's clip); how much the answers
    rely on what is seen stands in the closing table and as `eval/<set>/reliance/<view>`."""


class Recipe(Section):
    model: str
    """Hugging Face model folder or hub name, with weights, processor and chat template."""
    tasks: dict[str, TaskRecipe]
    """Task name, or FILE.py:TASK for a task in a file of your own -> its prompt and rewards; rows of other tasks are
    errors."""
    data: DataRecipe
    """Files of rows, and the folder of their videos."""
    fidelity: Fidelity | None = None
    """Reproduce VideoChat-R1: keys that are left out take the values of its released code, or those with its errors
    corrected, and rewards parse answers in that way (`rft check` lists the differences); null: the defaults below."""
    steps: int = Field(ge=0)
    """GRPO steps of the whole run; 0: only the supervised stage."""
    prompts_per_step: int = Field(8, ge=1)
    """P, groups per step."""
    system_prompt: str | None = None
    """Replaces the chat template's default system message."""
    video: VideoRecipe = VideoRecipe()
    """How frames are chosen, sized, decoded and kept."""
    scoring: ScoringRecipe = ScoringRecipe()
    """What happens around the reward functions."""
    judge: JudgeRecipe | None = None
    """A language model as judge, served by the run itself, for rewards with `judge: model` and no judge_url."""
    sampling: SamplingRecipe = SamplingRecipe()
    """How completions are drawn."""
    rollout: RolloutRecipe = RolloutRecipe()
    """The vLLM engines that draw them."""
    algorithm: AlgorithmRecipe = AlgorithmRecipe()
    """From rewards to a loss."""
    learner: LearnerRecipe = LearnerRecipe()
    """From a loss to new weights."""
    cold_start: ColdStartRecipe | None = None
    """A supervised stage before GRPO."""
    cluster: ClusterRecipe = ClusterRecipe()
    """The machines of the run: this one, or a Ray cluster that is there."""
    parity: ParityRecipe = ParityRecipe()
    """The comparison of engine and learner before the first step, and the alarm in every step."""
    eval: EvalRecipe = EvalRecipe()
    """When the policy is measured, and on how much."""
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    """Libraries that show the run besides its folder; each but tensorboard is an extra to install (docs/runs.md)."""
    on_alarm: Literal["note", "stop"] = "note"
    """Action if an alarm fires (docs/runs.md): a note, or the run stops with a checkpoint and exit status 3."""
    silent_alarms: tuple[AlarmName, ...] = ()
    """Alarms that are switched off."""
    save_every: int = Field(100, ge=1)
    """Steps between checkpoints; the last step and an interrupt save one too."""
    save_every_s: float | None = Field(None, gt=0)
    """Seconds between checkpoints, at the end of a step; null: as many as the steps between them take."""
    keep_checkpoints: int = Field(2, ge=1)
    """Most recent checkpoints kept."""
    seed: int = 0
    """Of the order of rows, of sampling and of new adapter weights."""
    run_dir: Path | None = None
    """Default: runs/<recipe name>."""

    @property
    def total_updates(self) -> int:
        """Optimizer updates of a run whose every step has enough groups."""
        return self.steps * self.algorithm.updates_per_step
