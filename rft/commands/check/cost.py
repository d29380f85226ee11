"""Cost of a learner update: arithmetic of a model on packed groups, from its config.json alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rft.learner.parts import CHUNK, CHUNK_BYTES, SLICE_PATCHES
from rft.recipe import LearnerRecipe, LoraRecipe

BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number by its data type."""

REDUCE_BYTES = 4
"""Bytes of a gradient's number while ranks add theirs up."""


@dataclass(frozen=True, slots=True)
class GroupCost:
    """Sizes of one group."""

    num_prompt_tokens: int
    """Visual tokens included."""
    grid: tuple[int, int, int]
    """Frame pairs, rows and columns of patches; all 0 without a video."""
    completion_lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a Qwen-VL model that decide its cost."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool
    tower_hidden: int
    tower_mlp: int
    tower_mlp_matrices: int
    tower_depth: int
    tower_full_blocks: int
    """Blocks whose patches see their whole frame pair; in the others they see their window."""
    tower_window: int
    """Patches of a window."""
    patch_values: int
    merge: int
    """Sides of the square of patches that is one visual token."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelShape":
        """`config`: a model folder's config.json, of Qwen2-VL, Qwen2.5-VL or Qwen3-VL. KeyError: of another kind."""
        text, vision = config.get("text_config", config), config["vision_config"]
        hidden, heads = text["hidden_size"], text["num_attention_heads"]
        patch, merge = vision.get("patch_size", 14), vision.get("spatial_merge_size", 2)
        depth = vision["depth"]
        windowed = "fullatt_block_indexes" in vision
        tower_hidden = vision["embed_dim"] if "embed_dim" in vision else vision["hidden_size"]
        mlp = vision.get("intermediate_size") or round(tower_hidden * vision.get("mlp_ratio", 4))
        return cls(
            hidden=hidden,
            mlp=text["intermediate_size"],
            layers=text["num_hidden_layers"],
            heads=heads,
            kv_heads=text.get("num_key_value_heads") or heads,
            head_width=text.get("head_dim") or hidden // heads,
            vocabulary=text["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
            tower_hidden=tower_hidden,
            tower_mlp=mlp,
            tower_mlp_matrices=3 if windowed else 2,
            tower_depth=depth,
            tower_full_blocks=len(vision["fullatt_block_indexes"]) if windowed else depth,
            tower_window=(vision.get("window_size", 112) // patch) ** 2,
            patch_values=vision.get("in_channels", 3) * vision.get("temporal_patch_size", 2) * patch**2,
            merge=merge,
        )

    @property
    def layer_weights(self) -> int:
        """Weights in the matrices of one text layer."""
        attention = self.hidden * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.mlp

    @property
    def block_weights(self) -> int:
        """Weights in the matrices of one block of the vision tower."""
        return 4 * self.tower_hidden**2 + self.tower_mlp_matrices * self.tower_hidden * self.tower_mlp

    @property
    def merger_weights(self) -> int:
        wide = self.tower_hidden * self.merge**2
        return wide * (wide + self.hidden)

    @property
    def text_weights(self) -> int:
        return self.layers * self.layer_weights + (1 if self.tied else 2) * self.vocabulary * self.hidden

    @property
    def tower_weights(self) -> int:
        return self.tower_depth * self.block_weights + self.patch_values * self.tower_hidden + self.merger_weights


def update_flops(
    shape: ModelShape,
    groups: Sequence[GroupCost],
    *,
    packed: bool = True,
    train_vision: bool = True,
    checkpointing: bool = False,
) -> float:
    """Multiplications and additions of one forward and backward pass over the matrices and attention scores.

    A backward pass costs two forward passes. `packed`: prompts once per group, else once per completion. A frozen
    tower costs nothing: its features are kept. `checkpointing`: the forward pass once more.
    """
    passes = 4.0 if checkpointing else 3.0
    total = 0.0
    for group in groups:
        num_completions = len(group.completion_lengths)
        num_copies = 1 if packed else num_completions
        prefix, written = group.num_prompt_tokens - 1, sum(group.completion_lengths)
        tokens = num_copies * prefix + written
        seen = num_copies * _causal(prefix) + sum(n * prefix + _causal(n) for n in group.completion_lengths)
        total += passes * shape.layers * (2 * tokens * shape.layer_weights + 4 * seen * shape.heads * shape.head_width)
        total += 3.0 * 2 * written * shape.hidden * shape.vocabulary
        if train_vision:
            total += num_copies * tower_flops(shape, group.grid, passes)
    return total


def prompt_flops(shape: ModelShape, group: GroupCost) -> float:
    """Floating-point operations of an engine that prefills the prompt of a group once."""
    tokens = group.num_prompt_tokens
    seen = _causal(tokens)
    text = shape.layers * (2 * tokens * shape.layer_weights + 4 * seen * shape.heads * shape.head_width)
    return text + tower_flops(shape, group.grid, 1.0)


def decode_bytes(shape: ModelShape, size: int, num_sequences: int, context: float) -> float:
    """Bytes read to decode one token of each of `num_sequences` sequences: weights once, keys and values of each.

    `size`: bytes of a number. `context`: tokens that a sequence sees, on average.
    """
    weights = shape.layers * shape.layer_weights + shape.vocabulary * shape.hidden
    seen = num_sequences * context * 2 * shape.layers * shape.kv_heads * shape.head_width
    return size * (weights + seen)


def tower_flops(shape: ModelShape, grid: tuple[int, int, int], passes: float) -> float:
    """Operations of the vision tower on one video, forward and backward (the pixels need no gradient)."""
    pairs, rows, columns = grid
    patches, frame = pairs * rows * columns, rows * columns
    seen = patches * (
        shape.tower_full_blocks * frame + (shape.tower_depth - shape.tower_full_blocks) * min(shape.tower_window, frame)
    )
    linear = 2 * patches * shape.tower_depth * shape.block_weights + 2 * patches / shape.merge**2 * shape.merger_weights
    embedding = 2 * patches * shape.patch_values * shape.tower_hidden
    return passes * (linear + 4 * seen * shape.tower_hidden) + (passes - 1) * embedding


def _causal(length: int) -> float:
    """Pairs of tokens of which the later sees the earlier, itself included."""
    return length * (length + 1) / 2


def adapter_sides(shape: ModelShape, lora: LoraRecipe | None) -> list[tuple[int, int]]:
    """(numbers read, numbers given) per token by each adapter of a layer; names of no known layer are left out."""
    heads, kv_heads = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    sides = {
        "q_proj": (shape.hidden, heads),
        "k_proj": (shape.hidden, kv_heads),
        "v_proj": (shape.hidden, kv_heads),
        "o_proj": (heads, shape.hidden),
        "gate_proj": (shape.hidden, shape.mlp),
        "up_proj": (shape.hidden, shape.mlp),
        "down_proj": (shape.mlp, shape.hidden),
    }
    return [sides[name] for name in lora.target_modules if name in sides] if lora else []


def adapter_weights(shape: ModelShape, lora: LoraRecipe | None) -> int:
    """Weights of all adapters; 0 without."""
    return lora.r * shape.layers * sum(map(sum, adapter_sides(shape, lora))) if lora else 0


def state_bytes(shape: ModelShape, learner: LearnerRecipe, *, has_reference: bool = False) -> float:
    """Held between updates, by each rank: weights, AdamW's two moments unless offloaded, the reference.

    `has_reference`: a second model for the KL term.
    """
    frozen, trained = BYTES[learner.dtype], BYTES[learner.master_dtype]
    if not learner.offload_optimizer:
        trained += 2 * BYTES[learner.optimizer_dtype]
    text = shape.text_weights * (trained if learner.lora is None else frozen)
    text += adapter_weights(shape, learner.lora) * trained
    tower = shape.tower_weights * (frozen if learner.freezes_tower else trained)
    reference = frozen * (shape.text_weights + shape.tower_weights) if has_reference else 0
    if learner.freezes_tower:  # a frozen tower is not sharded
        return tower + (text + reference) / learner.num_ranks
    return (text + tower + reference) / learner.num_ranks


def host_bytes(shape: ModelShape, learner: LearnerRecipe) -> float:
    """Bytes of the moments that a rank keeps in CPU memory."""
    if not learner.offload_optimizer:
        return 0.0
    return 2.0 * BYTES[learner.optimizer_dtype] * _trained_weights(shape, learner) / learner.num_ranks


def checkpoint_bytes(shape: ModelShape, learner: LearnerRecipe) -> float:
    """On disk: the policy in the dtype of the engines, trained weights as the optimizer holds them, its moments."""
    held = BYTES[learner.master_dtype] + 2 * BYTES[learner.optimizer_dtype]
    policy = BYTES[learner.dtype] * (shape.text_weights + shape.tower_weights)
    return float(policy + held * _trained_weights(shape, learner))


def _trained_weights(shape: ModelShape, learner: LearnerRecipe) -> int:
    text = shape.text_weights if learner.lora is None else adapter_weights(shape, learner.lora)
    return text + (0 if learner.freezes_tower else shape.tower_weights)


def update_bytes(
    shape: ModelShape,
    groups: Sequence[GroupCost],
    learner: LearnerRecipe,
    *,
    packed: bool = True,
    has_reference: bool = False,
    accumulates: bool = False,
) -> float:
    """Bytes that an update adds to `state_bytes` at its peak, with `groups` in its largest forward pass.

    Either where a forward pass ends, all that the backward pass needs, the logits of a chunk and the head's gradient
    being held (with checkpointing: these, or one layer, or on one rank a slice of a block of the tower); or where the
    backward pass ends, with all gradients and one layer; or in the optimizer. In between one shrinks as the other
    grows. `accumulates`: other forward passes came before it, whose gradients are held too. Ranks that share prompts
    hold their share of the tokens, and of a layer the keys and values of all tokens, as they came and in order.
    """
    size, master = BYTES[learner.dtype], BYTES[learner.master_dtype]
    is_sharded = learner.num_ranks > 1 or (learner.lora is None and size < master)
    copies = [1 if packed else len(group.completion_lengths) for group in groups]
    written = sum(sum(group.completion_lengths) for group in groups)
    tokens = written + sum(n * (group.num_prompt_tokens - 1) for n, group in zip(copies, groups, strict=True))
    patches = sum(n * math.prod(group.grid) for n, group in zip(copies, groups, strict=True))
    share = learner.context_parallel
    gathered = 2 * tokens * size * 2 * shape.kv_heads * shape.head_width if share > 1 else 0.0
    written, tokens, patches = (-(-number // share) for number in (written, tokens, patches))
    in_slices = learner.gradient_checkpointing and learner.num_ranks == 1
    at_once = min(patches, SLICE_PATCHES) if in_slices else patches
    layer, block = _layer_bytes(shape, tokens, size) + gathered, _block_bytes(shape, at_once, size)
    if master > size and not is_sharded:  # adapters in float32 take copies of what they read
        layer += tokens * master * sum(read for read, _ in adapter_sides(shape, learner.lora))
    merger = patches * size * 5 * shape.tower_hidden
    together, head, reduced = _root_bytes(shape, learner, has_reference=has_reference, is_sharded=is_sharded)
    logits = 5 * 4.0 * min(written, learner.logprob_chunk) * shape.vocabulary + head
    kept, seen = layer * shape.layers + logits, block * shape.tower_depth + merger
    if learner.gradient_checkpointing:
        kept = tokens * size * shape.hidden * shape.layers + max(layer, logits)
        seen = patches * size * shape.tower_hidden * shape.tower_depth + block + merger
    if learner.freezes_tower:
        block = seen = 0.0
    pixels = patches * 4.0 * shape.patch_values
    gradients = master * _trained_weights(shape, learner) / learner.num_ranks
    lean = learner.offload_optimizer or min(master, BYTES[learner.optimizer_dtype]) < 4
    chunk = min(CHUNK, shape.vocabulary * shape.hidden / learner.num_ranks)
    forward = kept + together + seen + (gradients if accumulates else 0.0)
    end_of_backward = gradients + max(together + max(layer, block), reduced)
    optimizer = gradients + (CHUNK_BYTES * chunk if lean else 0.0)
    return pixels + max(forward, end_of_backward, optimizer)


def _layer_bytes(shape: ModelShape, tokens: int, size: int) -> float:
    """What the backward pass of a text layer needs: per token two norms, queries, keys, values, what attention gives,
    and four of the MLP."""
    attention = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_width
    return float(tokens * (shape.hidden * _norm_bytes(size) + size * attention + size * 4 * shape.mlp))


def _block_bytes(shape: ModelShape, patches: int, size: int) -> float:
    """The same of a block of the vision tower."""
    wide = (shape.tower_mlp_matrices + 1) * shape.tower_mlp
    return float(patches * (shape.tower_hidden * _norm_bytes(size) + size * (4 * shape.tower_hidden + wide)))


def _norm_bytes(size: int) -> int:
    """Of two norms, per number; each takes a float32 copy."""
    return 2 * (4 + 2 * size)


def _root_bytes(
    shape: ModelShape, learner: LearnerRecipe, *, has_reference: bool, is_sharded: bool
) -> tuple[float, float, float]:
    """Bytes of embeddings and head, which make up the root: weights that are put together during a forward pass, with
    two layers (the reference's root stays so); the head's gradient; and what reducing the root's gradients takes."""
    size, matrix = BYTES[learner.dtype], shape.vocabulary * shape.hidden
    root = matrix * (1 if shape.tied else 2)
    if not is_sharded:
        gradient = 0.0 if learner.lora else float(BYTES[learner.master_dtype] * matrix)
        return 0.0, gradient, gradient
    together = float(size * ((1 + has_reference) * root + 2 * shape.layer_weights))
    if learner.lora:
        return together, 0.0, 0.0
    return together, float(size * matrix), float((size + REDUCE_BYTES + size * has_reference) * root)
