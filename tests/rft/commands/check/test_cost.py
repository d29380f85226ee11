"""What an update costs, by hand and against what was measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import python

from rft.commands.check.cost import (
    GroupCost,
    ModelShape,
    adapter_weights,
    decode_bytes,
    host_bytes,
    prompt_flops,
    state_bytes,
    update_bytes,
    update_flops,
)
from rft.commands.check.estimate import GPUS, Work, cost_lines, find_gpu, parse_gpus, step_work
from rft.errors import RecipeError
from rft.learner.parts import CHUNK
from rft.recipe import LearnerRecipe, LoraRecipe, Recipe

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


def shape_of(size: str) -> ModelShape:
    """A model of benchmarks/learner.py."""
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
    return ModelShape.from_config(CONFIG | {"text_config": text, "vision_config": vision})


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
    group = GroupCost(prompt_tokens, grid, (completion_tokens,) * 8)
    expected = (
        update_bytes(shape_of(size), [group], LearnerRecipe(dtype="float32", gradient_checkpointing=checkpointing))
        / 2**20
    )
    assert expected == pytest.approx(measured_mib, rel=0.1)


@pytest.mark.parametrize(
    ("learner", "measured_mib"),
    [
        (LearnerRecipe(), 323.7),
        (LearnerRecipe(master_dtype="bfloat16", optimizer_dtype="bfloat16"), 313.4),
        (LearnerRecipe(gradient_checkpointing=True), 163.2),
        (LearnerRecipe(gradient_checkpointing=True, optimizer_dtype="bfloat16"), 162.6),
        (LearnerRecipe(gradient_checkpointing=True, master_dtype="bfloat16"), 99.9),
        (LearnerRecipe(gradient_checkpointing=True, master_dtype="bfloat16", optimizer_dtype="bfloat16"), 100.0),
        (LearnerRecipe(gradient_checkpointing=True, freeze_vision=True), 135.1),
    ],
)
def test_memory_in_bfloat16_is_what_was_measured(learner: LearnerRecipe, measured_mib: float) -> None:
    """The same with --model-size 30m --dtype bfloat16 and, as --learner, the dtypes."""
    expected = update_bytes(shape_of("30m"), [GroupCost(600, (20, 10, 10), (64,) * 8)], learner) / 2**20
    assert expected == pytest.approx(measured_mib, rel=0.12)


def test_state_is_shared_by_the_ranks_but_for_a_frozen_tower() -> None:
    shape = ModelShape.from_config(QWEN_7B)
    weights = shape.text_weights + shape.tower_weights
    assert state_bytes(shape, LearnerRecipe()) == 12 * weights
    assert state_bytes(shape, LearnerRecipe(num_ranks=4), has_reference=True) == 14 * weights / 4
    frozen = state_bytes(shape, LearnerRecipe(freeze_vision=True, num_ranks=4))
    assert frozen == 2 * shape.tower_weights + 12 * shape.text_weights / 4


def test_state_follows_the_dtypes_of_the_recipe() -> None:
    shape = ModelShape.from_config(QWEN_7B)
    weights = shape.text_weights + shape.tower_weights
    assert state_bytes(shape, LearnerRecipe(optimizer_dtype="bfloat16")) == 8 * weights
    assert state_bytes(shape, LearnerRecipe(master_dtype="bfloat16", optimizer_dtype="bfloat16")) == 6 * weights
    offloaded = LearnerRecipe(offload_optimizer=True, num_ranks=2)
    assert (state_bytes(shape, offloaded), host_bytes(shape, offloaded)) == (4 * weights / 2, 8 * weights / 2)
    assert host_bytes(shape, LearnerRecipe()) == 0
    lora = LoraRecipe()
    adapters = LearnerRecipe(offload_optimizer=True, lora=lora)
    assert host_bytes(shape, adapters) == 8 * adapter_weights(shape, lora)


def test_sharded_weights_are_put_together_for_a_forward() -> None:
    """Embeddings, head and two layers, in bfloat16; the reference's embeddings and head stay."""
    shape = ModelShape.from_config(QWEN_7B)
    group = GroupCost(100, (0, 0, 0), (4,))
    one = update_bytes(shape, [group], LearnerRecipe(num_ranks=8))
    root, layers = 2 * 152064 * 3584, 2 * shape.layer_weights
    assert one > 2 * (root + layers) + 4 * (shape.text_weights + shape.tower_weights) / 8
    assert update_bytes(shape, [group], LearnerRecipe(num_ranks=8), has_reference=True) - one == 2 * root


def test_ranks_that_share_a_prompt_hold_their_tokens_and_the_keys_of_all() -> None:
    """Of 4,400 tokens 1,100 each; 4 key heads of 128 numbers in each of 28 layers, as they come and in order."""
    shape = ModelShape.from_config(QWEN_7B)
    whole, own = GroupCost(4001, (0, 0, 0), (100,) * 4), GroupCost(1001, (0, 0, 0), (100,))
    lora = LoraRecipe(r=1)  # of hardly any gradients
    shared = update_bytes(shape, [whole], LearnerRecipe(num_ranks=4, context_parallel=4, lora=lora))
    alone = update_bytes(shape, [own], LearnerRecipe(num_ranks=4, lora=lora))
    assert shared - alone == pytest.approx(28 * 2 * 4400 * 2 * (4 + 4) * 128)


def test_lean_optimizer_takes_a_chunk_beside_all_gradients() -> None:
    shape = ModelShape.from_config(QWEN_7B)
    peak = update_bytes(
        shape, [GroupCost(100, (0, 0, 0), (4,))], LearnerRecipe(master_dtype="bfloat16", optimizer_dtype="bfloat16")
    )
    assert peak == 2 * (shape.text_weights + shape.tower_weights) + 22 * CHUNK


def test_sampling_by_hand() -> None:
    shape = ModelShape.from_config(CONFIG)
    text = 2 * (2 * 4 * shape.layer_weights + 4 * 10 * 8)
    assert prompt_flops(shape, GroupCost(4, (0, 0, 0), (2,))) == text
    weights = 2 * shape.layer_weights + 10 * 8
    assert decode_bytes(shape, 2, 3, 50.0) == 2 * (weights + 3 * 50 * 2 * 2 * 1 * 4)


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Recipe]:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))

    def make(**sections: object) -> Recipe:
        base = {"model": str(tmp_path), "tasks": {}, "data": {"train": ()}, "steps": 4, "prompts_per_step": 4}
        sampling = {"num_generations": 8, "max_completion_length": 256}
        return Recipe.model_validate(base | {"sampling": sampling} | sections)

    return make


def cost_text(recipe: Recipe, gpu: str | None = None, num_gpus: int | None = None) -> str:
    return "\n".join(f"{what}: {value}" for what, value in cost_lines(recipe, 3700, 3584, gpu, num_gpus))


def test_check_states_what_an_update_takes(make_recipe: Callable[..., Recipe]) -> None:
    learner = {"gradient_checkpointing": True, "num_ranks": 2}
    line = cost_text(make_recipe(learner=learner))
    assert line.startswith(f"update: at most {4 * (3699 + 8 * 256):,} tokens, ")
    assert "GiB a rank; " in line
    assert line.endswith("s on H100-SXM at 40% of its peak")
    costly = cost_text(make_recipe(learner=learner, algorithm={"beta": 0.1}))
    assert float(costly.split(" TFLOP")[0].split()[-1].replace(",", "")) == pytest.approx(
        1.25 * float(line.split(" TFLOP")[0].split()[-1].replace(",", "")), rel=0.01
    )
    assert cost_text(make_recipe(model="org/name")) == ""


def test_check_states_whether_a_gpu_is_large_enough(make_recipe: Callable[..., Recipe]) -> None:
    two = {"gradient_checkpointing": True, "num_ranks": 2}
    fits = cost_text(make_recipe(learner=two), "H200")
    assert "H200: 3 of them; a step at most " in fits
    assert "assumed, not measured: learners reach 40% of 989 TFLOP/s (MFU)" in fits
    assert "it fits" in fits
    assert "they fit" in fits
    tight = cost_text(make_recipe(learner=two), "A100-40GB")
    assert "it does not fit. It would with one of learner.lora={}\n" in tight
    assert "No key of learner alone changes that" in cost_text(make_recipe(), "A100-40GB")
    lean = two | {"master_dtype": "bfloat16", "offload_optimizer": True}
    assert "GiB: it fits; 30.9 GiB of CPU memory" in cost_text(make_recipe(learner=lean), "A100-40GB")
    small = cost_text(make_recipe(learner=two, rollout={"share_gpu": True, "gpu_memory_utilization": 0.5}), "RTX-4090")
    assert "RTX-4090: 2 of them" in small
    assert "of 19.1 GiB while its engine sleeps, 63.3 of 10.1 GiB while it samples: it does not fit" in small
    assert "an engine's weights need 15.4 of 12 GiB: they do not fit" in small
    ahead = {"share_gpu": True, "gpu_memory_utilization": 0.5, "ahead": 1}
    assert "of 10.1 GiB beside its engine: it does not fit" in cost_text(make_recipe(rollout=ahead), "RTX-4090")
    assert "H200: no estimate: org/name" in cost_text(make_recipe(model="org/name"), "H200")


def test_check_states_whether_there_are_enough_gpus(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(learner={"num_ranks": 4}, rollout={"num_workers": 3})
    assert "too few: 7 GPUs are needed (3 engine(s) of 1 and 4 learning" in cost_text(recipe, "H200", 6)
    assert "too few" not in cost_text(recipe, "H200", 7)
    assert "H200: 7 of them" in cost_text(recipe, "H200")


def test_check_states_the_size_of_a_checkpoint(make_recipe: Callable[..., Recipe]) -> None:
    shape = ModelShape.from_config(QWEN_7B)
    gib = (2 + 4 + 2 * 2) * (shape.text_weights + shape.tower_weights) / 2**30
    text = cost_text(make_recipe(learner={"optimizer_dtype": "bfloat16"}), "H200")
    assert f"a checkpoint takes {gib:.3g} GiB; while one is written 3 are there: {3 * gib:.3g} GiB" in text


def test_a_forward_that_others_came_before_holds_their_gradients(make_recipe: Callable[..., Recipe]) -> None:
    """Of groups that each run alone a rank has one or two."""

    def rank_bytes(num_ranks: int) -> float:
        keys = {"num_ranks": num_ranks, "max_tokens_per_forward": 6000}
        work = step_work(make_recipe(learner=keys), 3700, 3584)
        assert work is not None
        return work.rank_bytes() - work.held_bytes()

    shape = ModelShape.from_config(QWEN_7B)
    group, learner = GroupCost(3700, (0, 0, 0), (256,) * 8), LearnerRecipe(num_ranks=4)
    gradients = 4 * (shape.text_weights + shape.tower_weights) / 4
    one, two = (update_bytes(shape, [group], learner, accumulates=more) for more in (False, True))
    assert two - one == pytest.approx(gradients)
    assert rank_bytes(2) - rank_bytes(4) == pytest.approx(2 * gradients)


def test_adapters_by_hand() -> None:
    """Rank 3 in two layers: the attention's output reads 2 x 4 and gives 8; the last of the MLP reads 16, gives 8."""
    shape = ModelShape.from_config(CONFIG)
    lora = LoraRecipe(r=3, target_modules=("o_proj", "down_proj", "of_another_model"))
    number = adapter_weights(shape, lora)
    assert number == 3 * 2 * (8 + 8 + 16 + 8)
    assert state_bytes(shape, LearnerRecipe(lora=lora)) == 2 * (shape.text_weights + shape.tower_weights) + 12 * number


@pytest.mark.slow
def test_memory_is_what_tensors_without_data_take(tmp_path: Path) -> None:
    """benchmarks/memory_estimate.py; a process of its own, which is given a group that only looks like one of 8."""
    program = tmp_path / "program.py"
    program.write_text("""
from benchmarks.memory_estimate import Case, estimate_bytes, peak_bytes
from rft.recipe import LearnerRecipe
learner = LearnerRecipe(num_ranks=8, gradient_checkpointing=True, freeze_vision=True)
case = Case("3b", learner, num_forwards=2, num_groups=1)
print(peak_bytes(case), estimate_bytes(case))
""")
    measured, estimated = map(float, python(program).split())
    assert estimated == pytest.approx(measured, rel=0.1)


def test_seconds_of_a_step(make_recipe: Callable[..., Recipe]) -> None:
    gpu = GPUS["H100-SXM"]
    one, two = (step_work(make_recipe(learner={"num_ranks": ranks}), 3700, 3584) for ranks in (1, 2))
    assert one is not None
    assert two is not None
    assert one.update_s(gpu) == pytest.approx(one.flops() / (0.4 * 989e12))
    assert two.update_s(gpu) == pytest.approx(one.update_s(gpu) / 2)
    moved = step_work(make_recipe(learner={"offload_optimizer": True}), 3700, 3584)
    assert moved is not None
    assert moved.update_s(gpu) - one.update_s(gpu) == pytest.approx(
        2 * host_bytes(one.shape, moved.recipe.learner) / 25e9
    )
    # 32 completions on one engine of 64 seats; with 16 seats they take turns, and each turn reads the weights again.
    turns = step_work(make_recipe(rollout={"max_num_seqs": 16}), 3700, 3584)
    assert turns is not None
    weights = 2 * (28 * one.shape.layer_weights + 152064 * 3584)
    assert turns.sampling_s(gpu) - one.sampling_s(gpu) == pytest.approx(256 * weights / (0.6 * 3350e9))


def test_mini_batches_cost_a_pass_of_the_old_policy_and_less_memory(make_recipe: Callable[..., Recipe]) -> None:
    def work(**algorithm: object) -> Work:
        of_step = step_work(make_recipe(algorithm=algorithm), 3700, 3584)
        assert of_step is not None
        return of_step

    once = work().flops()
    assert work(num_mini_batches=4).flops() == pytest.approx(once * (1 + 0.75 / 3))
    assert work(num_mini_batches=4, num_iterations=2, beta=0.1).flops() == pytest.approx(once * (2 + 1.75 / 3))
    assert work(num_mini_batches=4).rank_bytes() < work().rank_bytes()


def test_gpus_are_found_by_a_part_of_their_name() -> None:
    assert [find_gpu(name) for name in ("h200", "4090", "A100 80GB")] == ["H200", "RTX-4090", "A100-80GB"]
    for name, why in (("H100", r"more than once \(H100-PCIe, H100-SXM\)"), ("V100", "not in the table")):
        with pytest.raises(RecipeError, match=f"--gpu {name}: is .*{why}.*Known: A100-40GB, .*RTX-4090"):
            find_gpu(name)
    assert [parse_gpus(text) for text in ("8xH200", "rtx4090", "2x4xH200")] == [
        ("H200", (8,)),
        ("RTX-4090", ()),
        ("H200", (4, 4)),
    ]
