"""Whether a machine has the GPUs that a recipe takes, and whether it was meant to have any."""

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rft.recipe import Recipe

DEVICES = Path("/dev")


def gpus_needed(recipe: Recipe, num_ranks: int) -> int:
    """GPUs of the recipe's engines, of `num_ranks` learning processes and of the judge that these learn by."""
    num_engine_gpus = recipe.rollout.num_workers * recipe.rollout.gpus_per_worker
    num_judge_gpus = recipe.judge.gpus if recipe.judge and num_ranks else 0
    shares = recipe.rollout.share_gpu
    return num_judge_gpus + (max(num_engine_gpus, num_ranks) if shares else num_engine_gpus + num_ranks)


def gpu_problem(recipe: Recipe, num_ranks: int, num_found: int, signs: Sequence[str]) -> str | None:
    """Why the recipe cannot run with the `num_found` GPUs there are; None: it can, on the CPU where there is none.

    `signs`: as of `gpu_signs`.
    """
    if num_found == 0:
        return none_found(signs) if signs else None
    needed, rollout = gpus_needed(recipe, num_ranks), recipe.rollout
    if needed <= num_found:
        return None
    parts = f"{rollout.num_workers} engine(s) of {rollout.gpus_per_worker}"
    parts += f" and {num_ranks} learning process(es) of 1" if num_ranks else ""
    parts += f" and the judge of {recipe.judge.gpus}" if recipe.judge and num_ranks else ""
    shared = f"rollout.share_gpu is {'true' if rollout.share_gpu else 'false'}"
    advice = "Lower rollout.num_workers, rollout.gpus_per_worker or learner.num_ranks"
    if num_ranks and not rollout.share_gpu and rollout.gpus_per_worker == 1:
        advice += ", or set rollout.share_gpu: an engine and a learning process take turns on each GPU"
    return f"{needed} GPUs are needed ({parts}; {shared}), and {num_found} are there. {advice}."


def none_found(signs: Sequence[str]) -> str:
    return (
        f"no GPU is found, though {' and '.join(signs)}: the run would go to the CPU. Look at nvidia-smi and "
        "CUDA_VISIBLE_DEVICES; for a run on the CPU install the group cpu (make env GROUP=cpu) and set "
        "CUDA_VISIBLE_DEVICES to nothing."
    )


def gpu_signs() -> tuple[str, ...]:
    """What says that this process was meant to compute on GPUs; () where nothing does."""
    signs = ("vllm is installed as built for GPUs",) if _is_installed("vllm") else ()
    return (*signs, "the NVIDIA driver shows some") if driver_gpus() else signs


def driver_gpus(devices: Path = DEVICES) -> int:
    """GPUs that the NVIDIA driver shows this process, as far as CUDA_VISIBLE_DEVICES lets it see them."""
    num_there = sum(path.name[6:].isdecimal() for path in devices.glob("nvidia*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return num_there
    return min(num_there, len([name for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]))


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
