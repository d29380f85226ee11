"""Row and Task: the form of a data row, its question to the policy, and the metrics of answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rewards import REWARDS, RewardFn
from rewards.targets.choice import LETTERS
from rewards.types import Target
from rft.types import View

LATE_END_S = 1.55
"""Seconds by which a target span may end after its clip: published ends exceed published lengths, by up to 1.5 s in
Charades-STA. More means times in another unit or of another clip."""

OF_CLIPS = ("start_s", "end_s", "source_fps", "view", "duration_s", "frame_times_s")
"""Fields of a row that need a video."""

T = TypeVar("T")
Rewards = Mapping[str, RewardFn]
"""Reward name -> reward of the parser that reads the completion."""
MoreMetrics = Mapping[str, Callable[[Sequence[tuple[str, Any]]], list[dict[str, float]]]]
"""Name -> function of many (completion, target) that gives each one's further metrics."""
HeldOut = Sequence[tuple[T, float | None]]
"""(target, length of its clip in seconds or None) of each held-out row."""
Answers = dict[str, list[str]]
"""Baseline name -> one completion per held-out row."""

FORMS = ("think_format", "answer_format")
"""Names of the format rewards with and without a thought; each task names its other rewards."""

THOUGHT = "I look at the clip."
"""Text of the think block in a completion that is written from a target."""


def thought_before(tags: str, thought: str = THOUGHT) -> str:
    """A completion: the tags of an answer with a thought before them."""
    return f"<think>{thought}</think>{tags}"


class Part(BaseModel):
    """One of the clips and images of a row that shows several; its fields are those of a row that shows one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str | None = Field(None, min_length=1)
    image: str | None = Field(None, min_length=1)
    start_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    end_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    source_fps: float | None = Field(None, gt=0, allow_inf_nan=False)
    view: View | None = None

    @model_validator(mode="after")
    def _is_one_medium(self) -> Self:
        if (self.video is None) == (self.image is None):
            raise ValueError("name a video or an image.")
        if self.image and (self.start_s, self.end_s, self.source_fps, self.view) != (None, None, None, None):
            raise ValueError("start_s, end_s, source_fps and view are for videos. Take them out.")
        return self

    @property
    def path(self) -> str:
        return self.video or self.image or ""


class Row(BaseModel):
    """One line of a data file: a clip, an image, several of them or nothing, and a target. Tasks add their question."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: str = Field(min_length=1)
    task: str
    """Name of the task, a key of TASKS."""
    video: str | None = Field(None, min_length=1)
    """A video file, a folder of frames, or a list of them (.txt)."""
    image: str | None = Field(None, min_length=1)
    """An image file: jpg, png or webp. A row with neither video nor image is a text-only prompt."""
    media: tuple[Part, ...] | None = Field(None, min_length=2)
    """Several clips and images in place of one, such as [{"video": "a.mp4", "end_s": 8}, {"image": "b.jpg"}]. They are
    shown in this order where the question says <media>, once for each; behind the text where it does not."""
    start_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Start of the clip in the file; default: the file's start. Times in the target count from here."""
    end_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    """End of the clip in the file; default: the file's end."""
    source_fps: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Frames per second of a folder or list of frames; a file states its own."""
    view: View | None = None
    """Shows the clip otherwise: "mirrored", "reversed" or "blank" (grey); the target is that of what is shown."""
    duration_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Length of the whole file, if known: times in the target are checked against it."""
    frame_times_s: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = Field(None, min_length=1)
    """The frames nearest to these times are shown, in seconds from the clip's start; default: those of the recipe's
    rule."""
    target: dict[str, Any]
    """The ground truth: {"span": ..}, {"choice": ..}, {"boxes": ..} and so on, see rewards/targets/."""
    dataset: str | None = None
    """Published set and split the row is from, such as "charades_sta/test"; evaluation reports each of them."""
    demonstration: str | None = None
    """Completion for the supervised stage; default: the target written as a completion."""

    @model_validator(mode="after")
    def _has_one_medium(self) -> Self:
        if [self.video, self.image, self.media].count(None) < 2:
            raise ValueError("a row shows a video or an image, not both; or several, as media. Take the others out.")
        if self.video is not None:
            return self
        of_clips = [name for name in OF_CLIPS if getattr(self, name) is not None]
        if of_clips:
            raise ValueError(f"{', '.join(of_clips)}: only for rows with a video. Name it, or take them out.")
        return self

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the row shows, one by one; (): text only."""
        if self.media or self.kind == "text":
            return self.media or ()
        return (
            Part.model_construct(
                video=self.video,
                image=self.image,
                start_s=self.start_s,
                end_s=self.end_s,
                source_fps=self.source_fps,
                view=self.view,
            ),
        )

    @property
    def media_path(self) -> str | None:
        """Path of the row's video or image, of several " + " between them; None: text only."""
        return " + ".join(part.path for part in self.parts) or None

    @property
    def kind(self) -> Literal["video", "image", "several", "text"]:
        """Kind of the row's media."""
        return "video" if self.video else "image" if self.image else "several" if self.media else "text"

    @property
    def clip_s(self) -> float | None:
        """Length of the clip in seconds; None if the row has no end and no duration."""
        end = self.end_s if self.end_s is not None else self.duration_s
        return None if end is None else end - (self.start_s or 0.0)

    @property
    def num_options(self) -> int | None:
        """Number of options of the row; None if it has none."""
        return None


class Task(ABC):
    """One kind of question: the type of its rows, the prompt, the rewards and the metrics.

    Each task is a subclass in one file of rft/tasks/. `row` and `target` are of the task's own types, `row_type` and
    `target_type`. What the target knows itself, such as its JSON form, is no part of the task.
    """

    name: ClassVar[str]
    """Name in rows and recipes, such as "temporal_grounding"."""
    row_type: ClassVar[type[Row]]
    target_type: ClassVar[type[Target]]
    example: ClassVar[Row]
    """A complete row: `rft check` tests that every reward of the task gives its target full score."""
    rewards: ClassVar[tuple[tuple[str, float], ...]]
    """(reward name, weight), without the format rewards."""
    own_rewards: ClassVar[Rewards] = {}
    """Reward name -> reward that only this task has, in addition to REWARDS."""
    published_rewards: ClassVar[Rewards] = {}
    """Reward name -> the reward as released code computes it, faults included, in addition to PUBLISHED_EVAL."""
    more_metrics: ClassVar[MoreMetrics] = {}
    """What `rft eval --also NAME` measures: metrics that need another library, or many completions at once."""
    main_metric: ClassVar[str]
    """Name of the metric that represents the task in tables; one of those of `metrics`."""

    @abstractmethod
    def question(self, row: Any, target: Any) -> str:
        """Question, with the unit of the answer; `prompt_text` adds the tags."""

    @abstractmethod
    def metrics(self, completion: str, target: Any, rewards: Rewards) -> dict[str, float]:
        """Metric name -> value of this completion, in [0, 1]; the rewards do the parsing."""

    def corpus_metrics(self, judged: Sequence[tuple[Any, Mapping[str, float]]]) -> dict[str, float]:
        """Metric -> value of metrics that are no mean over completions, such as macro recall.

        `judged`: target and `metrics` of each completion. A metric without a value for them is left out.
        """
        return {}

    def row_problems(self, row: Any, target: Any) -> list[str]:
        """Problems of a row, each with what to do; the limits of its clip are checked elsewhere."""
        return []

    def target_in_view(self, target: Any, row: Mapping[str, Any], view: View) -> Target | None:
        """Target of the row where its clip is mirrored or runs backwards; None: not known.

        `row`: its fields, as in the file.
        """
        return None

    def claim(self, row: Any, target: Any) -> str | None:
        """What a target says of the row's clip, to be asked with "In which of the two .. ?"; None: it cannot be said.

        Such as 'is "left" the right answer to "Which way does it go?"'.
        """
        return None

    def baselines(self, train: Sequence[Any], rows: HeldOut[Any]) -> Answers:
        """Completions for the held-out rows, written without their clips. `train`: training targets.

        A baseline is left out if the lengths or training targets that it needs are missing; without training targets
        "majority" is the most frequent target of the rows themselves, more than any constant answer can reach.
        """
        return {}

    def prompt_text(self, row: Row, think: bool) -> str:
        """Text of the prompt, without the video."""
        return self.prompt_about(row, self.target(row), think)

    def prompt_about(self, row: Row, target: Target, think: bool) -> str:
        """Like `prompt_text`, but asks this task's question about a row of any task that has the fields it needs."""
        how = (
            "Think first, then answer, in this form: <think>your thoughts</think>" if think else "Answer in this form: "
        )
        return f"{self.question(row, target)}\n{how}{self.target_type.answer_form}"

    def read_target(
        self, data: Mapping[str, object], *, duration_s: float | None = None, num_options: int | None = None
    ) -> Target:
        """Target from a JSON object. Raises ValueError with every problem and what to do."""
        if not self.target_type.fits(data):
            has = ", ".join(sorted(data)) or "no keys"
            raise ValueError(f"has {has}, but {self.name} needs {self.target_type.json_form}")
        return self.target_type.read(data, duration_s=duration_s, num_options=num_options)

    def target(self, row: Row) -> Target:
        """Target of a row, checked against the row. Raises ValueError with every problem and what to do."""
        target = self.read_target(row.target, duration_s=row.clip_s, num_options=row.num_options)
        spans, clip_s = target.time_spans(), row.clip_s
        problems = []
        if clip_s is not None and clip_s <= 0:
            problems.append(f"the clip ends {-clip_s:g} s before it starts; check start_s, end_s and duration_s")
        elif clip_s is not None:
            problems += [
                f"{name} ends at {end:g} s, outside the clip of {clip_s:g} s; times count from the clip's start: "
                "correct the row or drop it"
                for name, (_, end) in spans.items()
                if end > clip_s + LATE_END_S
            ]
        late = [time_s for time_s in row.frame_times_s or () if clip_s is not None and time_s > clip_s + LATE_END_S]
        problems += [f"frame_times_s: {time_s:g} s is outside the clip of {clip_s:g} s" for time_s in late[:1]]
        problems += self.row_problems(row, target)
        if row.video is None and (spans or target.frame_boxes()):
            problems.append(f"{', '.join(row.target)}: lies in the time of a video, but the row has none")
        if problems:
            raise ValueError("; ".join(problems))
        return target

    def target_completion(self, target: Target, think: bool, thought: str = THOUGHT) -> str:
        """Completion written from the target; it gets full score from the task's rewards."""
        return thought_before(target.written(), thought) if think else target.written()

    def default_rewards(self, think: bool) -> dict[str, float]:
        """Weight by reward name, the format reward included."""
        return {**dict(self.rewards), FORMS[0] if think else FORMS[1]: 1.0}

    def measure(self, completion: str, target: Target, rewards: Rewards = REWARDS) -> dict[str, float]:
        """Metric values of one completion, in [0, 1]; a task's metrics are their means over completions."""
        well_formed = max(rewards[form](completion, target).value for form in FORMS)
        table = {**self.own_rewards, **rewards} if self.own_rewards else rewards
        return {**self.metrics(completion, target, table), "well_formed": well_formed}


def option_lines(options: Sequence[str]) -> str:
    """Options as '(A) text' lines; an option that begins with its letter does not get it twice."""
    return "\n".join(
        f"({letter}) {option.strip().removeprefix(f'({letter})').strip()}"
        for letter, option in zip(LETTERS, options, strict=False)
    )


def option_problems(options: Sequence[str], choice: str) -> list[str]:
    """Problem of a target letter that is not among the options, as a list."""
    last = LETTERS[len(options) - 1]
    return [f"choice: {choice} is not among the options A..{last}"] if choice > last else []


def majority(choices: Sequence[str]) -> str | None:
    """The most frequent value, of equals the first in the alphabet; None if there are no values."""
    return max(sorted(set(choices)), key=choices.count, default=None)
