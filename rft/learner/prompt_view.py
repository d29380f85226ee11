"""What the learner makes of prompts: out of the tensors that it would train on, to compare with the engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rft.learner.batch import TokenGroup, encode_group
from rft.learner.packing import PackedGroup
from rft.parity.compare import PromptView

if TYPE_CHECKING:
    from rft.data.processor import PromptProcessor
    from rft.data.video import ClipCache


def view_prompt(
    group: TokenGroup,
    processor: "PromptProcessor",
    clips: "ClipCache",
    model: PreTrainedModel,
    seconds_per_grid: Literal["clip", "one"],
    policy_version: int,
    logprobs: Callable[[PackedGroup], Tensor],
) -> PromptView:
    """The learner's view of one group's prompt. `logprobs`: [M] of a packed group's completion tokens, as sampled."""
    frames = clips.load(group.prompt.media)
    inputs = processor.encode(group.prompt, frames)
    num_tokens = len(inputs.token_ids)
    # The learner's own prompt length: a mismatch is then reported by its cause, where training would raise.
    same_length = replace(group, num_prompt_tokens=num_tokens)
    packed = encode_group(same_length, processor, clips, model, seconds_per_grid)
    lengths = [len(completion.token_ids) for completion in group.completions]
    return PromptView(
        policy_version=policy_version,
        text=processor.tokenizer.decode(inputs.token_ids),
        token_ids=tuple(packed.token_ids[:num_tokens].tolist()),
        clip=frames.key if frames else "",
        grid=tuple(packed.visual.grid.flatten().tolist()) if packed.visual else (),
        seconds_per_grid=_seconds_per_grid(inputs.seconds_per_grid, seconds_per_grid),
        position_ids=tuple(tuple(row) for row in packed.position_ids[:, :num_tokens].tolist()),
        logprobs=tuple(tuple(values.tolist()) for values in torch.split(logprobs(packed).cpu(), lengths)),
    )


def _seconds_per_grid(of_parts: Tensor | None, setting: Literal["clip", "one"]) -> tuple[float, ...]:
    """Of the clips; images have none, which `of_parts` says with 0."""
    seconds = () if of_parts is None else tuple(filter(None, of_parts.tolist()))
    return (1.0,) * len(seconds) if setting == "one" else seconds
