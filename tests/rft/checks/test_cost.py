"""What an update costs, by hand and against what was measured."""

import json
from pathlib import Path

import pytest

from rft.checks.cost import GroupCost, ModelShape, Training, state_bytes, update_bytes, update_flops
from rft.checks.estimate import update_line
from rft.recipe import Recipe

TEXT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 10,
}
VISION = {"hidden_size": 4, "intermediate_size": 6, "depth": 3, "fullatt_block_indexes": [2], "window_size": 56}
CONFIG = {"model_type": "qwen2_5_vl", "text_config": TEXT, "vision_config": VISION, "tie_word_embeddings": True}

QWEN_7B = {
    "model_type": "qwen2_5_vl",
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "depth": 32,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "window_size": 112,
    },
    "tie_word_embeddings": False,
}


def test_weights_by_hand() -> None:
    shape = ModelShape.from_config(CONFIG)
    assert shape.layer_weights == 8 * 4 * (2 * 2 + 2 * 1) + 3 * 8 * 16
    assert shape.block_weights == 4 * 16 + 3 * 4 * 6
    assert shape.merger_weights == 16 * (16 + 8)
    assert shape.text_weights == 2 * shape.layer_weights + 80
    published = ModelShape.from_config(QWEN_7B)
    assert published.text_weights + published.tower_weights == pytest.approx(8.29e9, rel=0.01)


def test_flops_of_a_group_by_hand() -> None:
    shape = ModelShape.from_config(CONFIG)
    group = GroupCost(4, (0, 0, 0), (2, 1))
    tokens, seen = 3 + 3, 6 + (2 * 3 + 3) + (1 * 3 + 1)
    text = 3 * 2 * (2 * tokens * shape.layer_weights + 4 * seen * 8)
    head = 3 * 2 * 3 * 8 * 10
    assert update_flops(shape, [group]) == text + head
    copied = update_flops(shape, [group], packed=False)
    assert copied - update_flops(shape, [group]) == 3 * 2 * (2 * 3 * shape.layer_weights + 4 * 6 * 8)
    patches, windows = 2 * 4 * 8, 2 * 16 + 1 * 32
    assert windows == 64
    tower = 3 * (2 * patches * 3 * shape.block_weights + 2 * patches / 4 * shape.merger_weights)
    tower += 3 * 4 * patches * windows * 4 + 2 * 2 * patches * 1176 * 4
    with_video = GroupCost(4, (2, 4, 8), (2, 1))
    assert update_flops(shape, [with_video]) - update_flops(shape, [group]) == pytest.approx(tower)
    assert update_flops(shape, [with_video], train_vision=False) == update_flops(shape, [group])


@pytest.mark.parametrize(
    ("size", "prompt_tokens", "completion_tokens", "grid", "checkpointing", "measured_mib"),
    [
        ("1m", 600, 64, (20, 10, 10), False, 68.4),
        ("1m", 600, 64, (0, 0, 0), False, 40.5),
        ("1m", 3700, 256, (20, 26, 28), False, 387.7),
        ("30m", 600, 64, (20, 10, 10), False, 546.5),
        ("30m", 600, 64, (0, 0, 0), False, 377.0),
        ("30m", 600, 64, (20, 10, 10), True, 173.6),
        ("30m", 600, 64, (0, 0, 0), True, 146.1),
    ],
)
def test_memory_is_what_was_measured(
    size: str,
    prompt_tokens: int,
    completion_tokens: int,
    grid: tuple[int, int, int],
    checkpointing: bool,
    measured_mib: float,
) -> None:
    """`peak_mib` of benchmarks/learner.py, float32 on a CPU, with its models."""
    hidden, mlp, layers, heads, out = (128, 320, 3, 4, 96) if size == "1m" else (512, 1536, 8, 8, 256)
    text = TEXT | {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
    }
    depth, full = (1, [0]) if size == "1m" else (4, [3])
    vision = {"hidden_size": out, "intermediate_size": 2 * out, "depth": depth, "fullatt_block_indexes": full}
    shape = ModelShape.from_config(CONFIG | {"text_config": text, "vision_config": vision})
    group = GroupCost(prompt_tokens, grid, (completion_tokens,) * 8)
    expected = update_bytes(shape, [group], Training(4, checkpointing=checkpointing)) / 2**20
    assert expected == pytest.approx(measured_mib, rel=0.1)


def test_state_is_shared_by_the_ranks_but_for_a_frozen_tower() -> None:
    shape = ModelShape.from_config(QWEN_7B)
    weights = shape.text_weights + shape.tower_weights
    assert state_bytes(shape, Training(2)) == 12 * weights
    assert state_bytes(shape, Training(2, num_ranks=4, has_reference=True)) == 14 * weights / 4
    frozen = state_bytes(shape, Training(2, train_vision=False, num_ranks=4))
    assert frozen == 2 * shape.tower_weights + 12 * shape.text_weights / 4


def test_check_tells_what_an_update_takes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    sections = {
        "sampling": {"num_generations": 8, "max_completion_length": 256},
        "learner": {"gradient_checkpointing": True, "num_ranks": 2},
    }
    base = {"model": str(tmp_path), "tasks": {}, "data": {"train": ()}, "steps": 4, "prompts_per_step": 4}
    line = update_line(Recipe.model_validate(base | sections), 3700, 3584)
    assert line is not None
    assert line.startswith(f"at most {4 * (3699 + 8 * 256):,} tokens, ")
    assert "GiB a rank; " in line
    assert line.endswith("s on an H100 or H200 at 40% of its peak")
    costly = update_line(Recipe.model_validate(base | sections | {"algorithm": {"beta": 0.1}}), 3700, 3584)
    assert costly is not None
    assert float(costly.split(" TFLOP")[0].split()[-1].replace(",", "")) == pytest.approx(
        1.25 * float(line.split(" TFLOP")[0].split()[-1].replace(",", "")), rel=0.01
    )
    assert update_line(Recipe.model_validate(base | {"model": "org/name"}), 3700, 3584) is None
