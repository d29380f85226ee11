"""What the files under examples/launch must hold; nothing of them is started here."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "examples" / "launch"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RAY = next(pin.removeprefix("ray==") for pin in PROJECT["project"]["dependencies"] if pin.startswith("ray=="))


@pytest.mark.parametrize("script", [*sorted(LAUNCH.glob("*.sh")), "skypilot"], ids=str)
def test_shell_can_be_read(script: Path | str) -> None:
    text = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())["run"] if script == "skypilot" else script.read_text()
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rft train" in text
    assert "ray stop" not in text, "it would end what others started"


def test_kuberay_job() -> None:
    job = yaml.safe_load((LAUNCH / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    command, of_run = spec["entrypoint"].split()[:2], spec["entrypoint"].split()[2:]
    assert command == ["rft", "train"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1, "versions are compared at the start"
    for pod in pods:
        claimed = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) == claimed
        assert container["resources"]["requests"] == container["resources"]["limits"]
        for path in (word.partition("=")[2] or word for word in of_run if "/" in word):
            assert any(Path(path).is_relative_to(mount) for mount in mounts), path
    head, *workers = containers
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert {int(worker["resources"]["limits"]["nvidia.com/gpu"]) for worker in workers} == {8}
    assert all(group["replicas"] == group["minReplicas"] == group["maxReplicas"] for group in groups[1:])


def test_skypilot_task() -> None:
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert set(task) <= {"name", "num_nodes", "resources", "workdir", "envs", "file_mounts", "setup", "run"}
    assert (task["num_nodes"], task["resources"]["accelerators"]) == (4, "H100:8")
    ports = set(re.findall(r"(?<=--port=)\d+|(?<=:)\d{4}\b", task["run"]))
    assert ports == {"6379"}, "6380 is SkyPilot's own"
    assert Path(task["envs"]["RECIPE"]).is_relative_to(next(iter(task["file_mounts"])))
    extras = re.search(r"\[(.+)\]", task["setup"])
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_dockerfile_copies_and_installs_what_is_there() -> None:
    text = (LAUNCH / "Dockerfile").read_text()
    (base,) = re.findall(r"^FROM (\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.1[12]-slim", base), "no host of a registry, a Python that the project allows"
    copied = [source for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for source in line.split()]
    assert all((ROOT / source).exists() for source in copied)
    packages = {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml", "recipes"}
    assert packages <= set(copied)
    assert re.findall(r"KIND=(\w+)", text) == ["gpu", "cpu"]
    assert {"cpu", "gpu"} <= set(PROJECT["dependency-groups"])


def test_the_slurm_job_has_one_ray_per_node() -> None:
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", (LAUNCH / "slurm.sh").read_text(), re.MULTILINE))
    assert options["ntasks-per-node"] == "1"
    assert int(options["nodes"]) > 1
