"""A policy that two ranks load and save: each reads its own share of the files, and the folder is that of one rank."""

import os
from pathlib import Path

import pytest
import torch
from forked import in_ranks
from test_sharding import free_port
from tiny_policy import recipe, tiny_config
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel, Qwen2_5_VLForConditionalGeneration

from benchmarks.rank_memory import rise_mib
from rft.learner.model import add_lora, load_policy, stored_dtype
from rft.learner.policy_and_reference import Loading, Policies
from rft.learner.sharding import full, init_distributed
from rft.learner.weights import save_policy
from rft.recipe import Recipe

CPU = torch.device("cpu")
CASES: dict[str, tuple[Recipe, torch.dtype]] = {
    "wide": (recipe(algorithm={"beta": 0.1}), torch.bfloat16),
    "narrow": (recipe(learner={"master_dtype": "bfloat16"}), torch.bfloat16),
    "frozen": (recipe(learner={"freeze_vision": True}), torch.bfloat16),
    "lora": (recipe(learner={"lora": {"r": 2}}), torch.bfloat16),
    "float32": (recipe(), torch.float32),
}
"""Recipe, and the dtype of forward and backward."""

FILE_BYTES = 60_000
LARGE_VOCABULARY = 2**20
"""Embeddings of 64 MiB in bfloat16."""


@pytest.fixture(scope="module")
def narrow_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_narrow(tmp_path_factory.mktemp("narrow"))


def save_narrow(folder: Path, **text: object) -> Path:
    """A tiny model in bfloat16."""
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(tiny_config(**text)).to(torch.bfloat16).save_pretrained(folder)
    return folder


def values(model: PreTrainedModel) -> dict[str, Tensor]:
    """Put together where they are sharded; tied ones under each of their names."""
    parameters = {name: full(tensor.detach()) for name, tensor in model.named_parameters(remove_duplicate=False)}
    return parameters | dict(model.named_buffers())


def loaded_whole(folder: Path, settings: Recipe, dtype: torch.dtype) -> PreTrainedModel:
    """As a rank alone would hold it: in the dtype that is trained, a frozen tower in that of the forward."""
    lora = settings.learner.lora
    wide = torch.float32 if settings.learner.master_dtype == "float32" else dtype
    model = load_policy(folder, dtype if lora else wide, freeze_vision=settings.learner.freeze_vision)
    if settings.learner.freeze_vision:
        for parameter in model.model.visual.parameters():
            parameter.data = parameter.data.to(dtype)
    if lora:
        add_lora(model, lora, settings.seed, wide)
    return model


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def one_rank(rank: int, port: int, folder: Path, large: Path, out: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, 2, "127.0.0.1", port, CPU)
    for case, (settings, dtype) in CASES.items():
        policies = Policies(folder, settings, (), Loading(CPU, dtype, packed=True, features_dir=None))
        whole = loaded_whole(folder, settings, dtype)
        assert_equal(values(policies.model), values(whole))
        assert policies.model.lm_head.weight is policies.model.get_input_embeddings().weight
        trained = {name for name, parameter in policies.model.named_parameters() if parameter.requires_grad}
        assert trained == {name for name, parameter in whole.named_parameters() if parameter.requires_grad}
        if policies._reference is not None:
            reference = load_policy(folder, dtype).requires_grad_(False)
            assert_equal(values(policies._reference.model), values(reference))
        save_policy(policies.model, out / case, torch.bfloat16, FILE_BYTES)
    before = rise_mib()
    Policies(large, CASES["wide"][0], (), Loading(CPU, torch.bfloat16, packed=True, features_dir=None))
    (out / f"peak{rank}").write_text(str(rise_mib(before)))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # as in test_sharding.py


@pytest.mark.slow
def test_two_ranks_load_and_save_what_one_does(narrow_dir: Path, tmp_path: Path) -> None:
    large = save_narrow(tmp_path / "large", vocab_size=LARGE_VOCABULARY)
    in_ranks(one_rank, 2, free_port(), narrow_dir, large, tmp_path)
    original = AutoModelForImageTextToText.from_pretrained(narrow_dir, dtype=torch.bfloat16)
    for case in CASES:
        folder = tmp_path / case
        sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
        assert len(sizes) > 1
        assert max(sizes) < FILE_BYTES + 4096  # and a header
        again = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
        assert again.dtype == torch.bfloat16
        assert_equal(values(again), values(original))
    # float32 masters and the reference of a half each, and what is read of the file: 64 + 32 + 32. All: 128 + 64 + 64.
    assert max(float((tmp_path / f"peak{rank}").read_text()) for rank in range(2)) < 170


def test_dtype_in_which_files_are_loaded_as_they_are(tiny_dir: Path, narrow_dir: Path, tmp_path: Path) -> None:
    assert stored_dtype(tiny_dir) == torch.float64
    assert stored_dtype(narrow_dir) == torch.bfloat16
    assert stored_dtype(tmp_path) is None
