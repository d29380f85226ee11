import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "learner.py"


@pytest.mark.slow
def test_benchmark_compares_both_ways(tmp_path: Path) -> None:
    sizes = ["--prompt-tokens", "90", "--completion-tokens", "8", "--group", "4", "--repeats", "1"]
    command = [sys.executable, str(SCRIPT), *sizes, "--device", "cpu", "--json", "--results", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == result
    packed, copies = result["packed"], result["copies"]
    assert (packed["tokens"], copies["tokens"]) == (89 + 4 * 8, 4 * (89 + 8))
    assert (packed["encoded_videos"], copies["encoded_videos"]) == (1, 4)
    assert result["token_bound"] < result["bound"] < 4
    assert result["ratio"] == copies["seconds"] / packed["seconds"]
    assert packed["peak_mib"] < copies["peak_mib"]
    assert result["logprob_difference"] < 1e-4
    assert result["gradient_difference"] < 1e-3
