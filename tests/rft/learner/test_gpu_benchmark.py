import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu_learner.py"


@pytest.mark.slow
def test_gpu_benchmark_runs_without_a_gpu(tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--model-size", "tiny", "--updates", "1", "--completion-tokens", "8"]
    subprocess.run([sys.executable, str(SCRIPT), *arguments, "--results", str(tmp_path)], check=True)
    (path,) = tmp_path.iterdir()
    result = json.loads(path.read_text())
    assert result["packed"]["tokens"] < result["copies"]["tokens"]
    assert result["packed"]["mean_logprob"] == pytest.approx(result["copies"]["mean_logprob"], abs=1e-4)
