"""What a vLLM engine and its process are told, by the recipe's own keys and past them."""

from typing import Any

import pytest

from rft.actors.rollout import engine_environment
from rft.commands.check.engine import JUDGE_ARGUMENTS, OWNED_ARGUMENTS, OWNED_VARIABLES
from rft.recipe import Recipe
from rft.recipe.judge import JudgeRecipe

SWITCHES = {
    "block_size",
    "distributed_executor_backend",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "use_tqdm_on_load",
}
"""Arguments of ours that rollout.engine may replace."""


def recipe_of(**rollout: Any) -> Recipe:
    return Recipe.model_validate({"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1, "rollout": rollout})


@pytest.mark.slow  # vLLM is imported
@pytest.mark.parametrize(
    ("rollout", "use_gpu"),
    [({}, False), ({"gpus_per_worker": 2}, True), ({"share_gpu": True, "weight_transfer": "ipc"}, True)],
)
def test_an_argument_is_a_keys_own_or_a_switch(rollout: dict[str, Any], use_gpu: bool) -> None:
    from vllm.engine.arg_utils import EngineArgs

    from rft.rollout.engine import engine_args

    plain = engine_args("m", recipe_of(**rollout), use_gpu)
    assert plain.keys() - OWNED_ARGUMENTS.keys() <= SWITCHES
    assert OWNED_ARGUMENTS.keys() | SWITCHES <= EngineArgs.__dataclass_fields__.keys()
    laid_over = engine_args("m", recipe_of(**rollout, engine={"enforce_eager": False, "quantization": "fp8"}), use_gpu)
    assert laid_over == plain | {"enforce_eager": False, "quantization": "fp8"}


def test_the_recipes_variables_come_last() -> None:
    given = {"VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_USE_V2_MODEL_RUNNER": 0}
    plain = engine_environment(recipe_of().rollout, use_gpu=True, offline=True, threads=3)
    laid_over = engine_environment(recipe_of(environment=given).rollout, use_gpu=True, offline=True, threads=3)
    assert laid_over == plain | {"VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_USE_V2_MODEL_RUNNER": "0"}
    assert OWNED_VARIABLES.keys() - plain.keys() == {"CUDA_VISIBLE_DEVICES"}


@pytest.mark.parametrize(("use_gpu", "given", "threads"), [(True, None, "3"), (True, 5, "5"), (False, 5, "5")])
def test_threads_of_an_engine(use_gpu: bool, given: int | None, threads: str) -> None:
    """Ray would leave it one."""
    rollout = recipe_of(threads_per_worker=given).rollout
    assert engine_environment(rollout, use_gpu, offline=True, threads=3)["OMP_NUM_THREADS"] == threads


@pytest.mark.slow  # vLLM is imported
def test_the_judges_server_spreads_over_its_gpus() -> None:
    from rft.rollout.judge_server import server_args

    args = server_args(JudgeRecipe(model="j", gpus=2, engine={"max_model_len": 99}), use_gpu=True)
    assert args.keys() - SWITCHES - {"disable_uvicorn_access_log", "max_model_len"} == JUDGE_ARGUMENTS.keys() - {
        "pipeline_parallel_size",
        "data_parallel_size",
    }
    assert (args["tensor_parallel_size"], args["distributed_executor_backend"]) == (2, "mp")
    assert "tensor_parallel_size" not in server_args(JudgeRecipe(model="j", gpus=2), use_gpu=False)
