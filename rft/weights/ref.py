"""Reference to the weights of a policy version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from ray import ObjectRef


TensorMetadata = dict[str, list[Any]]
"""Names, dtypes and shapes, as vLLM's update_weights wants them."""


Address = tuple[str, int]
"""Host and port at which processes meet to form a group; it identifies the group."""


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
class Broadcast:
    """The place of one engine in a broadcast to several."""

    group: Address
    """Where the first rank and the engines meet, unless they have."""
    place: int
    """In 0..num_engines - 1."""
    num_engines: int


@dataclass(frozen=True, slots=True)
class StagedWeights:
    """Weights that wait on the learner's GPUs until engines fetch them."""

    ranks: tuple[tuple[str, Any], ...]
    """(GPU's UUID, Ray handle with the methods of LearnerRank) of each learning process."""
    metadata: TensorMetadata
    new_group: Address | None = None
    """Where the first rank can meet all engines for a broadcast; None: each engine fetches for itself."""
    broadcast: Broadcast | None = None
    """What this engine fetches them by; None: for itself."""


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


def broadcast_refs(ref: WeightsRef, groups: Sequence[Address | None]) -> list[WeightsRef]:
    """A reference per engine, for one broadcast to all of them.

    `groups`: that each engine is in with the learner. Where it is the same one, they stay in it.
    """
    source = ref.source
    assert isinstance(source, StagedWeights)
    assert source.new_group is not None
    group = groups[0] if groups[0] is not None and len(set(groups)) == 1 else source.new_group
    places = [Broadcast(group, place, len(groups)) for place in range(len(groups))]
    return [replace(ref, source=replace(source, broadcast=place)) for place in places]


def tensor_metadata(tensors: "Mapping[str, torch.Tensor]") -> TensorMetadata:
    """Names, dtypes and shapes of `tensors`, in their order."""
    return {
        "names": list(tensors),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
        "shapes": [list(tensor.shape) for tensor in tensors.values()],
    }
