"""Actions on piles and cups: "add X to pile0", "remove X from pile0"."""

import re

from rft.packs.video_reasoning.demonstrations.types import IllegalOperation, Operated

_ACTION = re.compile(r"(add|remove) (.+) (?:to|from) (\w+)")


def action(verb: str, thing: str, container: str) -> str:
    """An action as it is compared."""
    return f"{verb} {thing} {'to' if verb == 'add' else 'from'} {container}"


def action_pattern(thing: str, container: str) -> re.Pattern[str]:
    """Pattern of an action in a text: verb, the groups of `thing`, container."""
    return re.compile(
        rf"\b(add|remov)(?:e|ed|es|ing|ing|s)?+\s++(?:the\s++|a\s++)?+{thing}\s++(?:(?:to|from|in|into)\s++)?+"
        rf"({container}\s?+[0-9])\b",
        re.IGNORECASE,
    )


def action_parts(operation: str) -> tuple[str, str, str]:
    """(verb, thing, container). Raises IllegalOperation."""
    match = _ACTION.fullmatch(operation)
    if match is None:
        raise IllegalOperation("neither adds nor removes")
    return match[1], match[2], match[3]


def things_of_kind(video: Operated, verb: str) -> list[tuple[str, str]]:
    """(thing, container) of each action of a kind, in order."""
    parts = map(action_parts, video.operations)
    return [(thing, container) for one, thing, container in parts if one == verb]
