"""The vision tower: what it reads and gives, all its windows in one call, and its features kept where it is frozen."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import linear, pad, scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from rft.data.cache import MemoryCache
from rft.data.feature_store import FeatureFolder
from rft.data.patches import joined, scaled
from rft.learner.context import Context, gather_rows
from rft.learner.parts import SLICE_PATCHES
from rft.learner.sharding import num_ranks

VISION_ATTENTION = "rft_windows_in_flash_form"
"""transformers hands an implementation whose name contains "flash" all windows at once, as cumulative lengths;
any other name is called window by window from a Python loop."""

MAX_MEMORY_BYTES = 1 << 30
"""Features held in memory."""


@dataclass(frozen=True, slots=True)
class VisualFeatures:
    """What the tower makes of clips and images, under the names by which transformers takes it back."""

    pooler_output: tuple[Tensor, ...]
    """Per clip or image [visual tokens, width]."""
    deepstack_features: tuple[tuple[Tensor, ...], ...] = ()
    """Qwen3-VL: per inner layer and clip or image, of the same shape."""

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.pooler_output, *(tensor for layer in self.deepstack_features for tensor in layer))

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors())

    def map(self, change: Callable[[Tensor], Tensor]) -> "VisualFeatures":
        return VisualFeatures(
            tuple(change(tensor) for tensor in self.pooler_output),
            tuple(tuple(change(tensor) for tensor in layer) for layer in self.deepstack_features),
        )

    def joined(self) -> "VisualFeatures":
        """Those of all clips and images as of one."""
        return VisualFeatures(
            (torch.cat(self.pooler_output),), tuple((torch.cat(layer),) for layer in self.deepstack_features)
        )

    def side_by_side(self) -> Tensor:
        """[visual tokens, width * (1 + inner layers)] of the one clip or image, as vLLM's towers give it."""
        return torch.cat(self.tensors(), dim=1)

    @staticmethod
    def of_several(parts: Sequence["VisualFeatures"]) -> "VisualFeatures":
        """Those of all clips and images of the parts, in order."""
        layers = zip(*(part.deepstack_features for part in parts), strict=True)
        return VisualFeatures(
            tuple(tensor for part in parts for tensor in part.pooler_output),
            tuple(tuple(tensor for of_part in layer for tensor in of_part) for layer in layers),
        )

    @staticmethod
    def of_one(features: Tensor, width: int) -> "VisualFeatures":
        """`features`: as `side_by_side` gives them; `width`: of one layer's."""
        last, *inner = torch.split(features, width, dim=1)
        return VisualFeatures((last,), tuple((layer,) for layer in inner))


@dataclass(frozen=True, slots=True)
class VisualShare:
    """How ranks that share prompts come by features: each encodes some frame pairs."""

    ranks: ProcessGroup
    width: int
    """Most visual tokens that a rank encodes."""
    rows: Tensor
    """Visual tokens that are here, among those of all ranks, `width` of each."""
    num_counted: int
    """Clips and images, counted by the first of the ranks."""

    def own_rows(self, features: VisualFeatures) -> VisualFeatures:
        """Features of the tokens that are here. `features`: of the frames encoded here. All ranks must call this."""
        width = features.pooler_output[0].shape[1]
        gathered = gather_rows(features.joined().side_by_side(), self.width, self.ranks)
        return VisualFeatures.of_one(gathered[self.rows], width)


@dataclass(frozen=True, slots=True)
class VisualInput:
    """Clips and images for the tower, or what it made of them."""

    pixels: Tensor | None
    """[patches of them all, values of a patch]: bytes, or with `scale` None floats; None beside `features`."""
    grid: Tensor
    """[clips and images, 3]: frame pairs (of an image: 1), rows and columns of patches."""
    key: str | None = None
    """Names content and sampling of the one there is; None: not known."""
    features: VisualFeatures | None = None
    is_filler: bool = False
    """Shown for the sake of the other ranks only; its features fill no place."""
    share: VisualShare | None = None
    """Of clips and images that several ranks encode; None: they are all here."""
    scale: Tensor | None = None
    """Of the bytes, as of `rft.data.patches.byte_scale`."""

    def begins(self, other: "VisualInput") -> bool:
        """Whether `other`, also one clip in pixels, goes on from all that this one shows."""
        if self.pixels is None or other.pixels is None or not torch.equal(self.grid[:, 1:], other.grid[:, 1:]):
            return False
        return torch.equal(self.pixels, other.pixels[: len(self.pixels)])

    def to(self, device: torch.device) -> "VisualInput":
        return replace(
            self,
            pixels=None if self.pixels is None else self.pixels.to(device, non_blocking=True),
            grid=self.grid.to(device, non_blocking=True),
            features=self.features and self.features.map(lambda tensor: tensor.to(device, non_blocking=True)),
            share=self.share and replace(self.share, rows=self.share.rows.to(device, non_blocking=True)),
            scale=None if self.scale is None else self.scale.to(device, non_blocking=True),
        )


def join_visuals(visuals: Sequence[VisualInput | None]) -> VisualInput | None:
    """All in one, in order; None where there is none. Either all have features or none has."""
    shown = [visual for visual in visuals if visual is not None]
    if not shown:
        return None
    grid = torch.cat([visual.grid for visual in shown])
    features = [visual.features for visual in shown if visual.features is not None]
    if not features:
        pixels = joined([visual.pixels for visual in shown if visual.pixels is not None])
        return VisualInput(pixels, grid, scale=shown[0].scale)
    assert len(features) == len(shown)
    return VisualInput(None, grid, features=VisualFeatures.of_several(features))


def filler_visual(model: PreTrainedModel) -> VisualInput:
    """The smallest clip that the tower takes, black: one visual token."""
    vision = model.config.vision_config
    side = vision.spatial_merge_size
    num_values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return VisualInput(torch.zeros(side**2, num_values), torch.tensor([[1, side, side]]), is_filler=True)


def share_visual(visual: VisualInput, rows: Tensor, context: Context, merge: int) -> VisualInput:
    """The features of this rank's tokens, or, where there are none yet, the frame pairs that it encodes.

    `rows`: visual tokens that are here, among all. `merge`: the side of a visual token, in patches.
    """
    if visual.features is not None:
        return replace(visual, features=visual.features.joined().map(lambda tensor: tensor[rows]))
    assert visual.pixels is not None
    pairs = visual.grid[:, 0]
    patches = visual.grid[:, 1:].prod(1).repeat_interleave(pairs)
    bounds = torch.arange(context.size + 1) * len(patches) // context.size
    edges = pad(patches.cumsum(0), (1, 0))[bounds]
    tokens = edges // merge**2
    width, of_rank = int(tokens.diff().max()), torch.searchsorted(tokens[1:], rows, right=True)
    num_counted = 0 if context.rank else len(visual.grid)
    share = VisualShare(context.ranks, width, of_rank * width + rows - tokens[of_rank], num_counted)
    first, last = bounds[context.rank : context.rank + 2].tolist()
    pixels = visual.pixels[edges[context.rank] : edges[context.rank + 1]]
    if first == last:
        filler = pixels.new_zeros(merge**2, pixels.shape[1])
        least = torch.tensor([[1, merge, merge]])
        return VisualInput(filler, least, is_filler=True, share=share, scale=visual.scale)
    ends = pairs.cumsum(0)
    own = ends.clamp(first, last) - (ends - pairs).clamp(first, last)
    grid = torch.cat([own[:, None], visual.grid[:, 1:]], dim=1)[own > 0]
    return VisualInput(pixels, grid, share=share, scale=visual.scale)


def encode_visual(model: PreTrainedModel, visual: VisualInput) -> VisualFeatures:
    """What the tower makes of clips and images; it sees an image as a clip of one frame pair.

    With gradient checkpointing it sees at most SLICE_PATCHES at a time, as frame pairs do not see each other, and all
    features come as of one clip: the backward pass recomputes a block of one slice, in place of all. Not on several
    ranks, which would have to make as many passes as each other.
    """
    if visual.pixels is None or not model.is_gradient_checkpointing or num_ranks() > 1:
        return _encode(model, visual)
    grids = _slices(visual.grid)
    pixels = torch.split(visual.pixels, [int(grid.prod(1).sum()) for grid in grids])
    slices = [replace(visual, pixels=one, grid=grid) for one, grid in zip(pixels, grids, strict=True)]
    return VisualFeatures.of_several([_encode(model, one) for one in slices]).joined()


def _encode(model: PreTrainedModel, visual: VisualInput) -> VisualFeatures:
    """One pass of the tower."""
    pixels = visual.pixels
    if pixels is not None and visual.scale is not None:
        pixels = scaled(pixels, visual.scale)
    outputs = model.model.get_video_features(pixels, visual.grid, return_dict=True)
    return VisualFeatures(
        tuple(outputs.pooler_output),
        tuple(tuple(layer) for layer in getattr(outputs, "deepstack_features", None) or ()),
    )


def _slices(grid: Tensor) -> list[Tensor]:
    """Grids of consecutive frame pairs with at most SLICE_PATCHES each, or one pair."""
    slices: list[list[list[int]]] = [[]]
    room = SLICE_PATCHES
    for pairs, rows, columns in grid.tolist():
        while pairs:
            if room < rows * columns and slices[-1]:
                slices.append([])
                room = SLICE_PATCHES
            fitting = min(pairs, max(1, room // (rows * columns)))
            slices[-1].append([fitting, rows, columns])
            pairs -= fitting
            room -= fitting * rows * columns
    return [torch.tensor(one, device=grid.device) for one in slices]


class FeatureCache:
    """Features of one frozen tower, each clip's computed once per run: in memory, and in a folder shared with engines.

    In memory they take at most MAX_MEMORY_BYTES; the least recently used go first. `encode` is called for a clip that
    is in neither.
    """

    def __init__(
        self,
        encode: Callable[[VisualInput], VisualFeatures],
        tower: str,
        width: int,
        folder: FeatureFolder | None,
    ) -> None:
        """`tower`: fingerprint of its weights and precision. `width`: of one layer's features."""
        self.tower = tower
        self.num_encoded = 0
        """Clips encoded."""
        self.num_hits = 0
        """Clips whose features were kept."""
        self._encode = encode
        self._width = width
        self._folder = folder
        self._memory = MemoryCache[str, VisualFeatures](MAX_MEMORY_BYTES)

    def cached(self, visual: VisualInput | None) -> VisualInput | None:
        """`visual` with its features, on the CPU, in place of its pixels."""
        if visual is None:
            return None
        features = self._find(visual.key)
        if features is None:
            features = self._compute(visual)
            if visual.key is not None:
                self._memory.put(visual.key, features, features.num_bytes)
                if self._folder is not None:
                    self._folder.store(self.tower, visual.key, features.side_by_side())
        else:
            self.num_hits += 1
        return replace(visual, pixels=None, features=features)

    def computed(self, visual: VisualInput | None) -> VisualInput | None:
        """As `cached`, but computed by this tower in any case: to compare it with the tower of an engine."""
        return visual and replace(visual, pixels=None, features=self._compute(visual))

    def _compute(self, visual: VisualInput) -> VisualFeatures:
        self.num_encoded += 1
        return self._encode(visual).map(lambda tensor: tensor.detach().cpu())

    def _find(self, key: str | None) -> VisualFeatures | None:
        if key is None:
            return None
        if (kept := self._memory.get(key)) is not None:
            return kept
        stored = self._folder.load(self.tower, key) if self._folder else None
        if stored is None:
            return None
        features = VisualFeatures.of_one(stored, self._width)
        self._memory.put(key, features, features.num_bytes)
        return features


def tower_is_frozen(model: PreTrainedModel) -> bool:
    return not any(parameter.requires_grad for parameter in model.model.visual.parameters())


def tower_fingerprint(tower: nn.Module) -> str:
    """Equal for towers of equal weights in equal precision."""
    digest = hashlib.blake2b(digest_size=12)
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def windowed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **_: object,
) -> tuple[Tensor, None]:
    """Full attention inside each window, one call per distinct window length; [1, L, heads, d].

    `query`, `key`, `value` [1, heads, L, d]; window i spans tokens cu_seq_lens_q[i] to cu_seq_lens_q[i + 1].
    """
    lengths = cu_seq_lens_q.diff()
    distinct = sorted(set(lengths.tolist()))
    if len(distinct) == 1:
        return _equal_windows(query, key, value, distinct[0], scaling), None
    starts, parts, places = cu_seq_lens_q[:-1].long(), [], []
    for length in distinct:
        offsets = torch.arange(length, device=starts.device)
        place = (starts[lengths == length, None] + offsets).flatten()
        chosen = [tensor.index_select(2, place) for tensor in (query, key, value)]
        parts.append(_equal_windows(chosen[0], chosen[1], chosen[2], length, scaling))
        places.append(place)
    return torch.cat(parts, dim=1).index_select(1, torch.cat(places).argsort()), None


def _equal_windows(query: Tensor, key: Tensor, value: Tensor, length: int, scaling: float) -> Tensor:
    def split(tensor: Tensor) -> Tensor:
        _, num_heads, _, width = tensor.shape
        return tensor.view(num_heads, -1, length, width).transpose(0, 1)

    out = scaled_dot_product_attention(split(query), split(key), split(value), scale=scaling)
    return out.transpose(1, 2).flatten(0, 1)[None]


def batch_vision_windows(model: PreTrainedModel) -> None:
    """Let the vision tower of `model` attend in all its windows at once; same values, no loop in Python."""
    AttentionInterface.register(VISION_ATTENTION, windowed_attention)
    model.config.vision_config._attn_implementation = VISION_ATTENTION


class PatchEmbedding(nn.Conv3d):
    """The patch embedding's convolution, whose kernel covers a whole patch: one matrix product, twice as fast."""

    def forward(self, patches: Tensor) -> Tensor:
        flat = linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return flat[:, :, None, None, None]


def embed_patches_as_matrix(model: PreTrainedModel) -> None:
    """Same weights and values; towers that do not embed patches by a Conv3d stay as they are."""
    projection = getattr(getattr(model.model.visual, "patch_embed", None), "proj", None)
    if type(projection) is nn.Conv3d and projection.kernel_size == projection.stride:
        projection.__class__ = PatchEmbedding
