"""A group as the page shows it: what was asked, and its completions with what a reader of answers finds in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.parsing import parse_boxes, parse_span, parse_spans, tag_text
from rewards.targets import target_from_json
from rewards.types import Box, Span, Target

Record = Mapping[str, Any]
"""A line of a file of rollouts."""


def group_form(records: Sequence[Record]) -> dict[str, Any]:
    """The rollouts of one prompt, as JSON.

    {"step", "id", "task", "prompt", "media", "target", "written", "spans", "boxes", "duration_s", "rollouts"}; spans in
    seconds from the clip's start, boxes in [0, 1].
    """
    first = records[0]
    target = target_of(first)
    return {
        "step": first["step"],
        "id": first["prompt_id"],
        "task": first["task"],
        "prompt": first["text"],
        "media": media_forms(first),
        "target": first["target"],
        "written": target.written() if target else "",
        "spans": list(target.time_spans().values()) if target else [],
        "boxes": target.frame_boxes() if target else [],
        "duration_s": first["duration_s"],
        "rollouts": [rollout_form(record, target) for record in records],
    }


def media_forms(record: Record) -> list[dict[str, Any]]:
    """What identifies each clip and image; [] for a text-only prompt. Runs of earlier versions stored less of it."""
    row = record.get("row") or {}
    if parts := row.get("media"):
        return [_medium_form({**part, "content": one}) for part, one in zip(parts, record["content"], strict=True)]
    if not (record["video"] or record.get("image")):
        return []
    return [_medium_form({**record, "frame_times_s": row.get("frame_times_s"), "view": row.get("view")})]


def _medium_form(part: Record) -> dict[str, Any]:
    cut = {key: part.get(key) for key in ("start_s", "end_s", "source_fps", "content", "frame_times_s", "view")}
    return {"path": part.get("video") or part["image"], "is_image": part.get("video") is None, **cut}


def rollout_form(record: Record, target: Target | None) -> dict[str, Any]:
    """One completion, as JSON; "spans" and "boxes" are those of its answer."""
    return {
        "text": record["completion"],
        "reward": record["reward"],
        "advantage": record["advantage"],
        "token_ratios": record.get("token_ratios"),
        "num_tokens": record["num_tokens"],
        "finish_reason": record["finish_reason"],
        "policy_version": record["policy_version"],
        "problem": record["problem"],
        "scores": [{"name": name, **score} for name, score in record["scores"].items()],
        **answer_form(record["completion"], target),
    }


def answer_form(completion: str, target: Target | None) -> dict[str, Any]:
    """{"spans", "boxes"} of an answer, of the kinds that the target has."""
    spans, boxes = answered(completion, target) if target else ((), ())
    return {"spans": spans, "boxes": boxes}


def target_of(record: Record) -> Target | None:
    """The target; None where no kind of target has this form, as of a kind that is not installed here."""
    try:
        return target_from_json(record["target"], duration_s=record["duration_s"])
    except ValueError:
        return None


def answered(completion: str, target: Target) -> tuple[tuple[Span, ...], tuple[Box, ...]]:
    """(spans, boxes) in the tags of a completion, as written; of a kind that the target does not have: ()."""
    texts = [text for tag in target.tags if (text := tag_text(completion, tag)) is not None]
    spans: tuple[Span, ...] = ()
    boxes: tuple[Box, ...] = ()
    for text in texts:
        if target.time_spans():
            single = parse_span(text)
            spans += parse_spans(text) or ((single,) if single else ())
        if target.frame_boxes():
            boxes += parse_boxes(text) or ()
    return spans, boxes


def faults(record: Record) -> list[str]:
    """What is wrong with a completion: faults of its answer, cut off, failed."""
    found = {score["fault"] for score in record["scores"].values() if score.get("fault")}
    how = {"length": "truncated", "error": "failed"}.get(record["finish_reason"])
    return sorted(found | ({how} if how else set()))
