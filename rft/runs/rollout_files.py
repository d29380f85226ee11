"""Rollouts on disk: one JSON line each, zstd compressed, with everything that decided the reward."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rft.errors import DataError
from rft.files import read_records, write_records
from rft.runs.run_dir import RunDir
from rft.types import Group, Image, Media, Several, TokenRatio, TrainGroup, Video

NOT_LEARNED: Mapping[str, Any] = {"advantage": None, "token_ratios": None}
"""Of a completion that the learner did not see."""


def write_rollouts(
    path: Path,
    step: int,
    groups: Sequence[Group],
    learned: Sequence[TrainGroup] = (),
    token_ratios: Mapping[int, Sequence[TokenRatio]] = MappingProxyType({}),
) -> None:
    """One line per rollout of `groups`; `learned`: what the learner was given of them, for the advantages.

    `token_ratios`: place of a completion among those of all train groups -> ratios of its tokens.
    """
    pairs = [pair for group in learned for pair in zip(group.completions, group.advantages, strict=True)]
    # A train group carries the rollouts' own completions, so identity tells apart equal texts of one group.
    of_learner = {
        id(completion): {"advantage": advantage, "token_ratios": token_ratios.get(place)}
        for place, (completion, advantage) in enumerate(pairs)
    }
    write_records(path, (line for group in groups for line in rollout_lines(step, group, of_learner)))


def rollout_lines(step: int, group: Group, of_learner: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Plain values of each rollout. `of_learner`: id of a completion -> what is there in place of NOT_LEARNED."""
    prompt = group.prompt
    video = prompt.media if isinstance(prompt.media, Video) else None
    asked = {
        "step": step,
        "prompt_id": prompt.prompt_id,
        "task": prompt.task,
        "video": video and str(video.path),
        "image": str(prompt.media.path) if isinstance(prompt.media, Image) else None,
        "start_s": video and video.start_s,
        "end_s": video and video.end_s,
        "source_fps": video and video.source_fps,
        "content": _contents(prompt.media),
        "text": prompt.text,
        "target": prompt.target.to_json(),
        "duration_s": getattr(prompt.target, "duration_s", None),
        "row": dict(prompt.row) or None,
    }
    for rollout in group.rollouts:
        completion = rollout.completion
        yield asked | {
            "completion": completion.text,
            "finish_reason": completion.finish_reason,
            "num_tokens": len(completion.token_ids),
            "policy_version": completion.policy_version,
            "scores": {name: asdict(score) for name, score in rollout.scores.items()},
            "reward": rollout.reward,
            "problem": rollout.problem,
            **of_learner.get(id(completion), NOT_LEARNED),
        }


def _contents(media: Media | None) -> str | list[str | None] | None:
    """Fingerprint of the clip or image, of several a list."""
    if isinstance(media, Several):
        return [part.content for part in media.parts]
    return None if media is None else media.content


def read_rollouts(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of one file, as written."""
    return read_records(path)


def completion_files(source: Path) -> list[Path]:
    """The file itself, or the rollouts of a run folder, step by step. DataError: the folder has none."""
    if not source.is_dir():
        return [source]
    files = sorted(RunDir(source).rollouts.glob("step_*.jsonl.zst"))
    if not files:
        raise DataError(f"{source}: no rollouts here. Give a JSONL file, or the folder of a run that trained.")
    return files
