"""What a recipe hands to vLLM beside its own keys: arguments of the engine, variables of its processes."""

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from rft.errors import Problem, near_name
from rft.recipe import Recipe

OWNED_ARGUMENTS = {
    "model": "model",
    "model_weights": "model",
    "tokenizer": "model",
    "revision": "model",
    "tokenizer_revision": "model",
    "seed": "seed",
    "dtype": "learner.dtype",
    "ec_transfer_config": "learner.freeze_vision",
    "mm_processor_kwargs": "video",
    "max_model_len": "rollout.max_model_len",
    "max_num_seqs": "rollout.max_num_seqs",
    "scheduling_policy": "rollout.partial",
    "kv_cache_memory_bytes": "rollout.kv_cache_gib, or rollout.gpu_memory_utilization on GPUs",
    "gpu_memory_utilization": "rollout.gpu_memory_utilization",
    "tensor_parallel_size": "rollout.gpus_per_worker",
    "pipeline_parallel_size": "rollout.gpus_per_worker",
    "data_parallel_size": "rollout.num_workers",
    "enable_sleep_mode": "rollout.share_gpu",
    "weight_transfer_config": "rollout.weight_transfer",
    "logprobs_mode": "",
    "limit_mm_per_prompt": "",
    "disable_log_stats": "",
}
"""Argument of vLLM's engine that the recipe decides -> the key that does; "": none may."""

OWNED_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "rollout.threads_per_worker",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "",
}
"""Variable of an engine's process that is decided already -> the key that does it; "": none may."""


JUDGE_ARGUMENTS = {
    "model": "judge.model",
    "served_model_name": "",
    "max_num_seqs": "judge.max_concurrent",
    "override_generation_config": "judge.max_tokens",
    "tensor_parallel_size": "judge.gpus",
    "pipeline_parallel_size": "judge.gpus",
    "data_parallel_size": "judge.gpus",
}
"""As OWNED_ARGUMENTS, of the judge's engine."""


def engine_problems(recipe: Recipe) -> Iterator[Problem]:
    """Names for vLLM's engines and their processes that another key decides, or that vLLM does not know."""
    rollout = recipe.rollout
    yield from _owned("rollout.engine", rollout.engine, OWNED_ARGUMENTS)
    yield from _owned("rollout.environment", rollout.environment, OWNED_VARIABLES)
    arguments = rollout.engine.keys() - OWNED_ARGUMENTS.keys()
    yield from _unknown("rollout.engine", arguments, engine_arguments)
    variables = {name for name in rollout.environment.keys() - OWNED_VARIABLES.keys() if name.startswith("VLLM_")}
    yield from _unknown("rollout.environment", variables, vllm_variables)
    if recipe.judge:
        yield from _owned("judge.engine", recipe.judge.engine, JUDGE_ARGUMENTS)
        yield from _unknown("judge.engine", recipe.judge.engine.keys() - JUDGE_ARGUMENTS.keys(), engine_arguments)


def _owned(section: str, names: Collection[str], owned: Mapping[str, str]) -> Iterator[Problem]:
    for name in names:
        if name in owned:
            way_out = f"Set {owned[name]} instead" if owned[name] else "Leave it out"
            yield Problem(f"{section}.{name}", f"is not for a recipe to set here. {way_out}.")


def _unknown(section: str, names: Collection[str], read_known: Callable[[], Collection[str]]) -> Iterator[Problem]:
    known = read_known() if names else ()
    if known:  # without vLLM nothing is known here
        for name in sorted(set(names).difference(known)):
            yield Problem(f"{section}.{name}", f"vLLM knows no such name.{near_name(name, known)}")


def engine_arguments() -> Collection[str]:
    """Fields of vLLM's EngineArgs, read from its source; none where vLLM is not installed."""
    tree = _source("engine/arg_utils.py")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"]
    fields = [node.target for found in classes for node in found.body if isinstance(node, ast.AnnAssign)]
    return {field.id for field in fields if isinstance(field, ast.Name) and not field.id.startswith("_")}


def vllm_variables() -> Collection[str]:
    """Environment variables that vLLM reads by its own table, from its source; none where vLLM is not installed."""
    tables = [node.value for node in _source("envs.py").body if isinstance(node, ast.AnnAssign)]
    keys = [key for table in tables if isinstance(table, ast.Dict) for key in table.keys]
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def _source(file: str) -> ast.Module:
    """A file of vLLM, which takes seconds to import; an empty one where vLLM is not installed."""
    found = find_spec("vllm")
    folders = found.submodule_search_locations if found else None
    return ast.parse((Path(folders[0]) / file).read_text(encoding="utf-8")) if folders else ast.Module([], [])
