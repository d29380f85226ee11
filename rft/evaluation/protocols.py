"""Prompt, frames, length and reading of a reply as others measure with: so that figures of one model can be told apart.

Sources: arXiv:2504.06958 and its repository (paper); arXiv:2502.13923, section 3.3, and QwenLM/Qwen3-VL issue 925
(qwen); lmms_eval/models/simple/qwen2_5_vl.py and lmms_eval/tasks/charades_sta of lmms-eval at 0229ae5 (lmms-eval).
Questions are worded by us; what is asked, and the place of the clip, are theirs.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewards.parsing import tag_text
from rft.evaluation.evaluate import Parser
from rft.types import MEDIA_MARK, Completion, Prompt, Sampler, Sampling

_NUMBER = r"\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*(?:-|to)\s*({_NUMBER})")

VISUAL_TOKEN = 28 * 28
"""Pixels of a visual token of Qwen2.5-VL."""


@dataclass(frozen=True, slots=True)
class Question:
    """How a task is asked, and how a reply becomes a completion that the task's parsers read."""

    text: Callable[[Prompt], str] = lambda prompt: prompt.text
    completion: Callable[[str], str] = lambda reply: reply


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to measure."""

    settings: Mapping[str, Any]
    """Recipe key -> value; keys of the command line win."""
    questions: Mapping[str, Question]
    """Task -> how it is asked; other tasks have no such protocol."""
    parser: Parser
    """Whose figures are theirs."""

    def asked_by(self, sampler: Sampler) -> Sampler:
        return _Asked(self, sampler)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A Sampler that asks as the protocol does."""

    protocol: Protocol
    sampler: Sampler

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        questions = [self.protocol.questions[prompt.task] for prompt in prompts]
        asked = [replace(prompt, text=how.text(prompt)) for prompt, how in zip(prompts, questions, strict=True)]
        for index, completions in self.sampler.generate(asked, sampling, seed, may_stop=may_stop):
            read = questions[index].completion
            yield index, tuple(replace(completion, text=read(completion.text)) for completion in completions)


def event_after_clip(prompt: Prompt) -> str:
    """The clip, then the question for an event's time, without tags."""
    return (
        f"{MEDIA_MARK}At what time does this happen in the video: {_query(prompt)}? "
        "Answer with start and end in seconds."
    )


def event_as_sentence(prompt: Prompt) -> str:
    """The clip, then the request for a sentence with an event's time, of which an example is given."""
    return (
        f"{MEDIA_MARK}A sentence describes an event of the video: find the times at which the event starts and ends. "
        "Answer in this form: 'It happens in start time - end time'. For example, the event 'a dog jumps up' "
        f"happens in 3.5 - 8.0 seconds. The sentence is: {_query(prompt)}. Give its start time and end time."
    )


def whole_reply(reply: str) -> str:
    """The reply as the answer, where it has no tag."""
    return reply if tag_text(reply, "answer") is not None else f"<answer>{reply}</answer>"


def first_range(reply: str) -> str:
    """The first "a - b" or "a to b" as the answer, else the first two numbers; turned round where it is reversed."""
    text = reply.lower()
    found = _RANGE.search(text)
    ends = found.groups() if found else re.findall(_NUMBER, text)[:2]
    if len(ends) < 2:
        return f"<answer>{reply}</answer>"
    start, end = sorted(ends, key=float)
    return f"<answer>{start} to {end}</answer>"


def _query(prompt: Prompt) -> str:
    return str(prompt.row["query"]).strip().rstrip(".")


AS_ASKED = Question()

PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        {
            "video.fps": 2.0,
            "video.min_frames": 4,
            "video.max_frames": 768,
            "video.min_pixels": 16 * VISUAL_TOKEN,
            "video.max_pixels": 768 * VISUAL_TOKEN,
            "video.total_pixels": 3584 * VISUAL_TOKEN,
            "sampling.max_completion_length": 2048,
            "eval.num_samples": 0,
        },
        dict.fromkeys(("temporal_grounding", "grounded_qa", "tracking", "multiple_choice", "quality"), AS_ASKED),
        "strict",
    ),
    "qwen": Protocol(
        {
            "video.fps": 2.0,
            "video.min_frames": 4,
            "video.max_frames": 768,
            "video.min_pixels": 128 * VISUAL_TOKEN,
            "video.max_pixels": 768 * VISUAL_TOKEN,
            "video.total_pixels": 24576 * VISUAL_TOKEN,
            "sampling.max_completion_length": 256,
            "eval.num_samples": 0,
            "rollout.max_model_len": 32768,
        },
        {"temporal_grounding": Question(event_after_clip, whole_reply)},
        "lenient",
    ),
    "lmms-eval": Protocol(
        {
            "video.min_frames": 32,
            "video.max_frames": 32,
            "video.stated_fps": 2.0,
            "video.min_pixels": 256 * VISUAL_TOKEN,
            "video.max_pixels": 768 * VISUAL_TOKEN,
            "video.total_pixels": 115200 * VISUAL_TOKEN,
            "sampling.max_completion_length": 50,
            "eval.num_samples": 0,
            "rollout.max_model_len": 16384,
        },
        {"temporal_grounding": Question(event_as_sentence, first_range)},
        "lenient",
    ),
}
