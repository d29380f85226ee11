"""The varlen kernel of benchmarks/attention.py, as torch has it on GPUs."""

import pytest
import torch

from benchmarks import attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_all_ways_agree_in_bfloat16() -> None:
    small = ["--device", "cuda", "--prompt-tokens", "301", "--completion-tokens", "37", "--group", "3"]
    found = attention.compare(attention.parse([*small, "--heads", "4", "--key-heads", "2", "--repeats", "1"]))
    assert set(found) == set(attention.WAYS)
    for way, of in found.items():
        assert (of["difference"] or 0.0) < 0.03, way
