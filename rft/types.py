"""The values that flow through one training step. Frozen: a stage returns a new type, nothing is filled in later.

Letters: P prompts per step, G completions per prompt, T tokens of a completion, F frames of a clip.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rewards.types import Score, Span, Target

FinishReason = Literal["stop", "length", "error"]

FramePick = Literal["even", "start_then_even", "published_tracking"]
"""Which frames of a clip: evenly from first to last; the first, then evenly over the rest; or as VideoChat-R1's
released code shows tracking clips: 7 evenly, the last one twice, told as 2 frames per second."""


@dataclass(frozen=True, slots=True)
class VideoSampling:
    """How frames are chosen and sized, by the rules of qwen-vl-utils."""

    fps: float
    min_frames: int
    max_frames: int
    min_pixels: int
    """Least pixels of a frame."""
    max_pixels: int
    """Most pixels of a frame."""
    total_pixels: int
    """Most pixels of a clip's frame pairs together; long clips get smaller frames."""
    num_frames: int | None = None
    """Exactly so many frames in place of fps, min_frames and max_frames; of an odd number the last is shown twice."""
    pick: FramePick = "even"


@dataclass(frozen=True, slots=True)
class Video:
    """A clip and all that decides its frames."""

    path: Path
    """A video file, or a folder of frames in name order."""
    sampling: VideoSampling
    start_s: float | None = None
    """Where the clip begins in the file; None: at its start. Times in targets count from here."""
    end_s: float | None = None
    source_fps: float | None = None
    """Frames per second of a folder of frames; a file states its own."""
    windows: tuple[Span, ...] = ()
    """Parts of the clip that frames are taken from, in seconds from its start, apart and in order; (): all of it."""
    shuffle_seed: int | None = None
    """Shows the frames in an order drawn with it, at the times of the true order; None: as filmed."""


@dataclass(frozen=True, slots=True)
class Image:
    """A still picture and all that decides its pixels."""

    path: Path
    min_pixels: int
    max_pixels: int


Media = Video | Image


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is asked about a clip, a picture or a text alone, and the truth."""

    prompt_id: str
    task: str
    text: str
    media: Media | None
    """What it is shown; None: nothing but the text."""
    target: Target
    dataset: str | None = None
    """Published set and split it is from, where the row tells it."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the completion to imitate."""

    prompt: Prompt
    completion: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn."""

    num_generations: int
    temperature: float
    top_p: float
    top_k: int
    """0: no limit."""
    max_completion_length: int
    """Tokens."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy wrote, as the rollout engine returned it."""

    text: str
    token_ids: tuple[int, ...]
    """[T], the end token included."""
    logprobs: tuple[float, ...]
    """[T], of the sampled tokens, under the distribution they were drawn from."""
    num_prompt_tokens: int
    finish_reason: FinishReason
    policy_version: int
    """Optimizer updates behind the policy that wrote it."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(f"{len(self.token_ids)} tokens but {len(self.logprobs)} log-probabilities")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A scored completion."""

    completion: Completion
    scores: dict[str, Score]
    """By reward name; empty where the completion could not be judged."""
    reward: float
    """Sum of weight * value, after what scoring does to truncated or failed completions."""
    problem: str = ""
    """Why the update leaves it out, beginning with "failed:", "truncated:" or the reward's name; "" where it counts."""


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one prompt."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    ground_truth: Rollout | None = None
    """The target written out and judged, where the recipe lets it join; a text, whose tokens the learner makes."""
    shuffled_score: float | None = None
    """Mean score on the clip's frames in another order, where the recipe asks for it and there was an answer."""


@dataclass(frozen=True, slots=True)
class TrainSample:
    """One completion the learner learns from."""

    prompt: Prompt
    completion: Completion
    advantage: float
    is_ground_truth: bool = False
    """No engine drew the completion, which has a text alone."""
