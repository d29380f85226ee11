"""Patches of frames as bytes, and what a vision tower makes of them: 4 times less to keep, copy and send to a GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def byte_scale(*processors: Any) -> Tensor | None:
    """float32 [2, channels]: mean and standard deviation by which all these processors of transformers scale bytes.

    None: they differ, or do something else.
    """
    if not all(processor.do_rescale and processor.do_normalize for processor in processors):
        return None
    scales = {(*processor.image_mean, *processor.image_std, processor.rescale_factor) for processor in processors}
    if len(scales) > 1:
        return None
    *values, factor = scales.pop()
    scale: Tensor = torch.tensor(values).view(2, -1) * (1.0 / factor)
    return scale


def scaled(patches: Tensor, scale: Tensor) -> Tensor:
    """float32 [patches, patch size], bit for bit what a processor with this scale makes of the bytes `patches`."""
    mean, deviation = scale[..., None]
    values = patches.view(len(patches), len(mean), -1).to(torch.float32)
    return values.sub_(mean).div_(deviation).view(patches.shape)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """All in one; a single one as it is, where torch.cat would copy it."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
