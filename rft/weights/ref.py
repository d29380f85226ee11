"""Where the weights of a policy version can be had."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


Layout = dict[str, list[Any]]
"""Names, dtypes and shapes, as vLLM's update_weights wants them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed text whose log-probabilities tell whether an engine holds the weights it should."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """[len(token_ids) - 1], of each token after the first, under the learner's policy."""


@dataclass(frozen=True, slots=True)
class WeightsRef:
    """Where the weights of one policy version lie."""

    policy_version: int
    tensors: object
    """A Ray object reference to a dict of name -> CPU tensor, in the names of the saved model; or, where they stay on
    the learner's GPU until an engine fetches them, an Offer."""
    probe: Probe = field(repr=False)
    model: str | None = None
    """Folder that holds the weights that are not among `tensors`; None: all are."""
    num_bytes: int = 0
    """Of `tensors`."""
    frozen_tower: str | None = None
    """Fingerprint of the vision tower; None: it is trained, so nothing it makes of a clip is kept."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Weights that wait on the learner's GPU."""

    ranks: tuple[tuple[str, Any], ...]
    """Of each learning process: its GPU's UUID, and its Ray handle, with the methods of LearnerRank."""
    layout: Layout


def layout(tensors: "Mapping[str, torch.Tensor]") -> Layout:
    return {
        "names": list(tensors),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
        "shapes": [list(tensor.shape) for tensor in tensors.values()],
    }
