"""The values that flow through one training step. Frozen: a stage returns a new type, nothing is filled in later.

Letters: P prompts per step, G completions per prompt, T tokens of a completion, F frames of a clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rewards.types import Score, Span, Target

FinishReason = Literal["stop", "length", "error"]

FRAMES_PER_GRID = 2
"""Frames per grid of visual tokens."""

MAX_FRAME_TOKENS = 768
"""Most visual tokens of a frame of a clip; qwen-vl-utils' limit."""

View = Literal["blank", "reversed", "mirrored"]
"""Frames of one grey, in reverse order, or with left and right exchanged."""

FramePick = Literal["even", "start_then_even", "published_tracking", "stream"]
"""Which frames of a clip: evenly from first to last; the first, then evenly over the rest; as VideoChat-R1's released
code shows tracking clips: 7 evenly, the last one twice, stated as 2 frames per second; or those on display every 1/fps
seconds from the start on, of one size, so that a clip that ends later begins with the same frames."""


@dataclass(frozen=True, slots=True)
class VideoSampling:
    """How frames are chosen and sized, by the rules of qwen-vl-utils.

    Example: 2 fps, 4 to 768 frames -> a clip of 31 s and 480x360 gives 60 frames of 252x336, 30 frame pairs.
    """

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
    drop_still: float = 0.0
    """A frame that differs by less from the last one shown is left out: mean difference of small greys, 0 to 255; 0:
    none is."""
    stated_fps: float | None = None
    """Frames per second that the model is told; None: the true ones."""
    times_s: tuple[float, ...] = ()
    """Frames nearest to these times, in seconds from the clip's start, in place of any rule; (): the rule."""

    def frame_pixels(self, num_frames: int, factor: int) -> float:
        """Most pixels of each of `num_frames` frames whose sides are multiples of `factor`; qwen-vl-utils' rule.

        Frames of a stream have the size of `max_frames`, however many there are yet.
        """
        num_frames = self.max_frames if self.pick == "stream" else num_frames
        budget = min(MAX_FRAME_TOKENS * factor**2, self.total_pixels / num_frames * FRAMES_PER_GRID)
        return min(self.max_pixels, max(budget, int(self.min_pixels * 1.05)))


@dataclass(frozen=True, slots=True)
class Video:
    """A clip and all that decides its frames.

    Example: start_s 30, end_s 61 of "v/AO8RW.mp4" -> a clip of 31 s, whose second 2 is second 32 of the file.
    """

    path: Path
    """A video file, a folder of frames in name order, or a list of them (.txt)."""
    sampling: VideoSampling
    start_s: float | None = None
    """Where the clip begins in the file; None: at its start. Times in targets count from here."""
    end_s: float | None = None
    source_fps: float | None = None
    """Frames per second of a folder or list of frames; a file states its own."""
    windows: tuple[Span, ...] = ()
    """Parts of the clip that frames are taken from, in seconds from its start, disjoint and in order; (): all of it."""
    shuffle_seed: int | None = None
    """Shows the frames in an order drawn with it, at the times of the true order; None: as filmed."""
    view: View | None = None
    """Shows the frames otherwise, at the times of the true order; None: as filmed."""
    content: str | None = None
    """Fingerprint of the file when the prompt was taken, such as "9f3a..."; None: each reader hashes the file."""


@dataclass(frozen=True, slots=True)
class Image:
    """A still picture and all that decides its pixels: "i/7.jpg" between 12,544 and 602,112 pixels."""

    path: Path
    min_pixels: int
    max_pixels: int
    content: str | None = None
    """Fingerprint of the file, as of a Video."""


Medium = Video | Image


@dataclass(frozen=True, slots=True)
class Several:
    """Two or more clips and images of one prompt, in the order in which it shows them."""

    parts: tuple[Medium, ...]


Media = Medium | Several

MEDIA_MARK = "<media>"
"""Stands in a prompt's text where a clip or image is shown; a text without marks is followed by what it shows."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Question about a clip, an image, several of them or nothing but a text, and its target.

    Example: p17, temporal_grounding, "When does a person open the door? ...", that clip, target span 2.0 to 8.0 s.
    """

    prompt_id: str
    task: str
    text: str
    media: Media | None
    """What goes with the text, at its marks or behind it; None: text alone."""
    target: Target
    dataset: str | None = None
    """Published set and split of the row, such as "charades_sta/test"; None: the row names none."""
    row: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Fields of the data row that are set, for rewards that ask for them."""

    @property
    def video(self) -> str | None:
        """Path of the video or image in the data row, of several " + " between them; None: none, or not known."""
        shown = [part.get("video") or part.get("image") for part in self.row.get("media") or [self.row]]
        return " + ".join(filter(None, shown)) or None


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the completion to imitate: p17 with "<answer>2.0 to 8.0</answer>"."""

    prompt: Prompt
    completion: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are sampled: 8 per prompt at temperature 1.0, top_p 1.0, top_k 0, of at most 1,024 tokens."""

    num_generations: int
    temperature: float
    top_p: float
    top_k: int
    """Most likely tokens to sample from; 0: no limit."""
    max_completion_length: int
    """Most tokens of a completion."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text of the policy, as the rollout engine returned it.

    Example: "<answer>2.0 to 5.0</answer>" of T tokens after a prompt of 580 tokens, "stop", policy version 3.
    """

    text: str
    token_ids: tuple[int, ...]
    """[T], including the end token."""
    logprobs: tuple[float, ...]
    """[T], of the sampled tokens, under the distribution that they were sampled from."""
    num_prompt_tokens: int
    finish_reason: FinishReason
    policy_version: int
    """Number of optimizer updates of the policy that drew its first token."""
    later_versions: tuple[tuple[int, int], ...] = ()
    """(place of a token, version of the policy that drew it and those after it), where weights changed meanwhile."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(f"{len(self.token_ids)} tokens but {len(self.logprobs)} log-probabilities")


TokenRatio = tuple[int, int, float]
"""(start, end, ratio): a token, as the characters from start to end of its completion's text, and its probability in
the learner, at the last pass of a step over it, over that in the engine that drew it."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A scored completion.

    Example: answer 2.0 to 5.0, target 2.0 to 8.0: temporal_iou 0.5 of weight 1, answer_format 1.0 of weight 1 ->
    reward 1.5.
    """

    completion: Completion
    scores: dict[str, Score]
    """Reward name -> score; {} where the completion could not be scored."""
    reward: float
    """Sum of weight * value, after the rules for truncated and failed completions."""
    problem: str = ""
    """Why the update leaves it out, beginning with "failed:", "truncated:" or the reward's name; "" where it counts."""


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one prompt: p17 with G = 4 rollouts of reward 1.5, 0.0, 0.0 and 1.5."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    ground_truth: Rollout | None = None
    """The target written out and scored, where the recipe lets it join; a text, which the learner tokenizes."""
    shuffled_score: float | None = None
    """Mean score on the clip's frames in another order, where the recipe asks for it and there was an answer."""


@dataclass(frozen=True, slots=True)
class TrainGroup:
    """What the learner learns of one prompt: N completions and their advantages.

    Example: p17 with completions of reward 1.5, 0, 0, 1.5 -> advantages (0.87, -0.87, -0.87, 0.87).
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    """[N]"""
    advantages: tuple[float, ...]
    """[N]"""
    has_ground_truth: bool = False
    """The last completion is the target written out: a text alone, whose tokens the learner makes."""

    def __post_init__(self) -> None:
        if len(self.completions) != len(self.advantages):
            raise ValueError(f"{len(self.completions)} completions but {len(self.advantages)} advantages")

    @property
    def has_signal(self) -> bool:
        """Whether an advantage is not 0."""
        return any(self.advantages)


class Sampler(Protocol):
    """What draws completions: rft.rollout.pool.WorkerPool in a run."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        """Yield (index into prompts, its completions) as groups finish.

        Raises Interrupted on a request to stop, where it `may_stop` before the end.
        """
        ...
