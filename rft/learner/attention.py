"""Who may attend to whom: the mask of packed groups, and the vision tower's windows. The one place that chooses."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

VISION_ATTENTION = "rft_windows_in_flash_form"
"""transformers hands an implementation whose name contains "flash" all windows at once, as cumulative lengths;
any other name is called window by window from a Python loop."""


def packed_attention(segments: Tensor, indices: Tensor, layer_types: frozenset[str], window: int | None) -> object:
    """What the text model takes as `attention_mask`: [B, 1, L, L], True where a query (row) sees a key.

    `segments` [B, L]: 0 prompt, k > 0 the k-th completion, -1 padding. `indices` [B, L]: a token's place in its own
    prompt and completion, which a sliding window counts by. Padding sees the prompt, so that no row is empty.
    A model with sliding layers gets a mask per layer type.
    """
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    keys, queries = segments[:, None, :], segments[:, :, None]
    mask = (((keys == 0) | (keys == queries)) & causal)[:, None]
    if layer_types == {"full_attention"}:
        return mask
    if window is None or not layer_types <= {"full_attention", "sliding_attention"}:
        raise ValueError(f"no mask is known for attention layers {sorted(layer_types)} with window {window}")
    near = (indices[:, :, None] - indices[:, None, :] < window)[:, None]
    return {"full_attention": mask, "sliding_attention": mask & near}


def windowed_attention(
    module: torch.nn.Module,
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
