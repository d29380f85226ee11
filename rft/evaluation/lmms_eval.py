"""Sample logs of lmms-eval (`--log_samples`), read as stored completions.

A line has `doc_id`, `target` (text), `filtered_resps` (the reply without its thought) and, where it differs, `resps`
(the whole reply); what it was asked is in `input`. Seen in lmms_eval/loggers/evaluation_tracker.py, 0.7.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_LETTER = re.compile(r"\(?([A-G])\)?\.?")
_SPAN = re.compile(r"[\[(].*[\])]", re.DOTALL)


def is_sample(value: Mapping[str, Any]) -> bool:
    """Whether a line of JSON is a sample of lmms-eval."""
    return "filtered_resps" in value and "doc_id" in value and "completion" not in value


def sample_as_completion(value: Mapping[str, Any]) -> dict[str, Any]:
    """The line with the keys of a stored completion. ValueError: several replies, or a target of another kind.

    A reply without an <answer> is the answer as a whole: prompts of lmms-eval ask for no tag.
    """
    replies = _texts(value.get("resps", value["filtered_resps"]))
    if len(replies) != 1:
        raise ValueError(f"{len(replies)} replies; only logs with one for each sample can be read")
    (reply,) = replies
    submission = value.get("submission")
    video = next(iter(submission)).partition(">>>")[0] if isinstance(submission, dict) and submission else None
    return {
        "id": value["doc_id"],
        "completion": reply if "<answer>" in reply else f"<answer>{reply}</answer>",
        "target": _target(value.get("target")),
        **({"video": video} if video else {}),
    }


def _texts(value: Any) -> list[str]:
    """The texts in nested lists."""
    if isinstance(value, str):
        return [value]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def _target(written: Any) -> dict[str, Any]:
    text = str(written).strip()
    if letter := _LETTER.fullmatch(text):
        return {"choice": letter.group(1)}
    if _SPAN.fullmatch(text):
        try:
            span = [float(end) for end in json.loads(f"[{text[1:-1]}]")]
        except (ValueError, TypeError):
            span = []
        if len(span) == 2:
            return {"span": span}
    raise ValueError(f"target: {text[:60]!r} is neither a letter nor a time span [start, end]")
