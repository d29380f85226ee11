import json
from pathlib import Path

import pytest
from forked import python


@pytest.mark.slow
def test_benchmark_compares_both_ways(tmp_path: Path) -> None:
    sizes = ["--prompt-tokens", "90", "--completion-tokens", "8", "--group", "4", "--repeats", "1"]
    printed = python("benchmarks/learner.py", *sizes, "--device", "cpu", "--json", "--results", tmp_path)
    result = json.loads(printed.splitlines()[-1])
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
