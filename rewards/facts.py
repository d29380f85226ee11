"""Facts about a completion beside its text, which a reward asks for by keyword arguments of these names."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "row": "fields of the data row, by name: `duration_s`, `question`, `options`, `task`, ...",
        "num_tokens": "number of tokens of the completion, with its end token",
        "truncated": "whether it was cut off at max_completion_length",
        "group": "texts of all completions of the prompt, and the place of this one: CompletionGroup",
        "logprobs": "log-probability of each token when it was sampled, a tuple of num_tokens floats",
        "frames": "a function: frames(4) are up to 4 frames of the clip, evenly spaced, as JPEG files; in a run alone",
    }
)
"""Name of the keyword argument -> what a reward gets by it."""

OF_PROMPT = frozenset({"row", "frames"})
"""Facts that do not depend on the completion."""


@dataclass(frozen=True, slots=True)
class CompletionGroup:
    """The completions of one prompt that are judged, and the place of one of them."""

    texts: tuple[str, ...]
    index: int
    """Place among `texts` of the completion that is judged now, from 0."""


@functools.cache
def asked_facts(reward: Callable[..., object]) -> tuple[str, ...]:
    """The facts that a reward asks for, in the order of FACTS; () if its text and target are enough."""
    parameters = inspect.signature(reward).parameters
    return tuple(name for name in FACTS if name in parameters)


@functools.cache
def needed_facts(reward: Callable[..., object]) -> tuple[str, ...]:
    """Those of `asked_facts` that have no default: without them the reward cannot judge."""
    parameters = inspect.signature(reward).parameters
    return tuple(name for name in asked_facts(reward) if parameters[name].default is inspect.Parameter.empty)
