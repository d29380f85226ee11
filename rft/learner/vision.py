"""The vision tower: what it reads and gives, all its windows in one call, and its features kept where it is frozen."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

VISION_ATTENTION = "rft_windows_in_flash_form"
"""transformers hands an implementation whose name contains "flash" all windows at once, as cumulative lengths;
any other name is called window by window from a Python loop."""

MAX_MEMORY_BYTES = 1 << 30
"""Features held in memory."""


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """What the tower makes of videos, under the names by which transformers takes it back."""

    pooler_output: tuple[Tensor, ...]
    """Per video [visual tokens, width]."""
    deepstack_features: tuple[tuple[Tensor, ...], ...] = ()
    """Qwen3-VL: per inner layer and video, of the same shape."""

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.pooler_output, *(tensor for layer in self.deepstack_features for tensor in layer))

    def map(self, change: Callable[[Tensor], Tensor]) -> "VideoFeatures":
        return VideoFeatures(
            tuple(change(tensor) for tensor in self.pooler_output),
            tuple(tuple(change(tensor) for tensor in layer) for layer in self.deepstack_features),
        )


@dataclass(frozen=True, slots=True)
class VideoInput:
    """Videos for the tower, or what it made of them."""

    pixels: Tensor | None
    """[patches of all videos, values of a patch]; None beside `features`."""
    grid: Tensor
    """[videos, 3]: frame pairs, rows and columns of patches."""
    key: str | None = None
    """Names content and sampling of the one video; None: not known."""
    features: VideoFeatures | None = None

    def to(self, device: torch.device) -> "VideoInput":
        return replace(
            self,
            pixels=None if self.pixels is None else self.pixels.to(device, non_blocking=True),
            grid=self.grid.to(device, non_blocking=True),
            features=self.features and self.features.map(lambda tensor: tensor.to(device, non_blocking=True)),
        )


def join_videos(videos: Sequence[VideoInput | None]) -> VideoInput | None:
    """All in one, in order; None where there is none. Either all have features or none has."""
    shown = [video for video in videos if video is not None]
    if not shown:
        return None
    grid = torch.cat([video.grid for video in shown])
    features = [video.features for video in shown if video.features is not None]
    if not features:
        return VideoInput(torch.cat([video.pixels for video in shown if video.pixels is not None]), grid)
    assert len(features) == len(shown)
    layers = zip(*(one.deepstack_features for one in features), strict=True)
    return VideoInput(
        None,
        grid,
        features=VideoFeatures(
            tuple(tensor for one in features for tensor in one.pooler_output),
            tuple(tuple(tensor for videos in layer for tensor in videos) for layer in layers),
        ),
    )


def encode_video(model: PreTrainedModel, video: VideoInput) -> VideoFeatures:
    """One pass of the tower."""
    found = model.model.get_video_features(video.pixels, video.grid, return_dict=True)
    return VideoFeatures(
        tuple(found.pooler_output),
        tuple(tuple(layer) for layer in getattr(found, "deepstack_features", None) or ()),
    )


class FeatureCache:
    """Features of one frozen tower, each clip's computed once per run: in memory, and in a folder that ranks share.

    In memory they take at most MAX_MEMORY_BYTES, in `directory` (None: nowhere) at most `max_gib`; the least recently
    used go first. `encode` is called for a clip that is in neither.
    """

    def __init__(
        self, encode: Callable[[VideoInput], VideoFeatures], tower: str, directory: Path | None, max_gib: float
    ) -> None:
        """`tower`: fingerprint of its weights and precision."""
        self.num_encoded = 0
        """Clips encoded."""
        self.num_hits = 0
        """Clips found."""
        self._encode = encode
        self._directory = directory / tower if directory else None
        self._max_bytes = int(max_gib * 2**30)
        self._memory: OrderedDict[str, VideoFeatures] = OrderedDict()
        self._memory_bytes = 0
        self._bytes_since_look = 0
        if self._directory:
            self._directory.mkdir(parents=True, exist_ok=True)

    def fill(self, video: VideoInput | None) -> VideoInput | None:
        """`video` with its features, on the CPU, in place of its pixels."""
        if video is None:
            return None
        features = self._find(video.key)
        if features is None:
            features = self._encode(video).map(lambda tensor: tensor.detach().cpu())
            self.num_encoded += 1
            if video.key is not None:
                self._remember(video.key, features)
                self._store(video.key, features)
        else:
            self.num_hits += 1
        return replace(video, pixels=None, features=features)

    def _find(self, key: str | None) -> VideoFeatures | None:
        if key is None:
            return None
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        path = self._path(key)
        if path is None:
            return None
        try:
            tensors = load_file(path)
            path.touch()
        except (FileNotFoundError, SafetensorError):
            return None
        layers = (tensors[str(number)] for number in range(1, len(tensors)))
        features = VideoFeatures((tensors["0"],), tuple((layer,) for layer in layers))
        self._remember(key, features)
        return features

    def _remember(self, key: str, features: VideoFeatures) -> None:
        self._memory[key] = features
        self._memory_bytes += _num_bytes(features)
        while self._memory_bytes > MAX_MEMORY_BYTES:
            self._memory_bytes -= _num_bytes(self._memory.popitem(last=False)[1])

    def _store(self, key: str, features: VideoFeatures) -> None:
        path = self._path(key)
        if path is None or self._directory is None:
            return
        part = path.with_suffix(f".{id(self):x}.part")
        save_file({str(number): tensor.contiguous() for number, tensor in enumerate(features.tensors())}, part)
        part.replace(path)
        self._bytes_since_look += _num_bytes(features)
        if self._bytes_since_look * 20 < self._max_bytes:  # other ranks write too: look often enough for all
            return
        self._bytes_since_look = 0
        files = sorted((file.stat().st_mtime_ns, file.stat().st_size, file) for file in self._directory.glob("*.feat"))
        total = sum(size for _, size, _ in files)
        for _, size, file in files[:-1]:
            if total <= self._max_bytes:
                break
            file.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path | None:
        return self._directory / f"{key}.feat" if self._directory else None


def _num_bytes(features: VideoFeatures) -> int:
    return sum(tensor.nbytes for tensor in features.tensors())


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
