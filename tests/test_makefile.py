"""The Makefile's commands for GPUs, as make would run them."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands(*arguments: str) -> str:
    """What make would run, in an environment that is complete."""
    command = ["make", "-n", "-o", "env", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.replace("\\\n", " ")


def test_benchmarks_have_the_options_they_are_run_with() -> None:
    text = commands("gpu-attention", "gpu-learner", "gpu-weights", "gpu-step")
    found = re.findall(r"-m benchmarks\.(\w+) (.*)", text)
    assert {name for name, _ in found} == {"attention", "learner", "weights", "gpu_step"}
    for name, arguments in found:
        source = "".join((ROOT / "benchmarks" / f"{file}.py").read_text() for file in (name, "tiny", "report"))
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in source, f"benchmarks/{name}.py {option}"


def test_an_image_without_an_index_installs_what_was_brought_along() -> None:
    text = commands("gpu-check", "BIN=/image/bin")
    assert "uv sync" not in text
    assert re.search(r"/image/bin/python -m pip install .*--no-index .*\.whl/\*\.whl", text)
    assert "tests/gpu/test_learner_on_gpu.py tests/gpu/test_attention_on_gpu.py" in text
    assert "benchmarks.weights" not in text


def test_what_is_brought_along_is_fetched_in_the_versions_of_the_environment() -> None:
    assert re.search(r"pip download .*--no-deps .*transformers peft pydantic", commands("gpu-carry"))


def test_with_an_index_everything_is_checked() -> None:
    text = commands("gpu-check")
    assert "-m pytest -m gpu tests/gpu" in text
    assert "benchmarks.weights" in text
    assert "--no-index" not in text
