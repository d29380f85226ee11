"""Reference to the weights of a policy version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from ray import ObjectRef


TensorMetadata = dict[str, list[Any]]
"""Names, dtypes and shapes, as vLLM's update_weights wants them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed text whose log-probabilities prove that an engine has the right weights."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """[len(token_ids) - 1], of each token after the first, under the learner's policy."""


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """Weights in the CPU's memory."""

    tensors: "Mapping[str, torch.Tensor] | ObjectRef[Mapping[str, torch.Tensor]]"
    """Name, as in the saved model -> tensor; between processes a reference into Ray's object store."""


@dataclass(frozen=True, slots=True)
class StagedWeights:
    """Weights that wait on the learner's GPUs until an engine fetches them."""

    ranks: tuple[tuple[str, Any], ...]
    """(GPU's UUID, Ray handle with the methods of LearnerRank) of each learning process."""
    metadata: TensorMetadata


@dataclass(frozen=True, slots=True)
class WeightsRef:
    """Weights of one policy version: where they are, and the probe that proves that they arrived."""

    policy_version: int
    source: StoredWeights | StagedWeights
    probe: Probe = field(repr=False)
    model: str | None = None
    """Folder that holds the weights that are not in `source`; None: all are."""
    num_bytes: int = 0
    """Size of the weights in `source`."""
    frozen_tower: str | None = None
    """Fingerprint of the vision tower; None: it is trained, so nothing it makes of a clip is kept."""


def tensor_metadata(tensors: "Mapping[str, torch.Tensor]") -> TensorMetadata:
    """Names, dtypes and shapes of `tensors`, in their order."""
    return {
        "names": list(tensors),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
        "shapes": [list(tensor.shape) for tensor in tensors.values()],
    }
