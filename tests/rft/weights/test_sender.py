"""The learner's end of a transfer between GPUs, without one."""

import os

import pytest
import torch

from rft.weights.sender import keep_default_stream, kept_compile_threads


@pytest.mark.parametrize(("on_gpu", "streams"), [(True, ["default"]), (False, [])])
def test_vllm_is_told_the_stream_that_the_learner_computes_on(
    on_gpu: bool, streams: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: "default")
    monkeypatch.setattr(torch.cuda, "set_stream", told.append)
    keep_default_stream()
    assert told == streams


@pytest.mark.parametrize("told", [None, "3"])
def test_what_vllm_leaves_the_compiler_is_undone(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    variable = "TORCHINDUCTOR_COMPILE_THREADS"
    monkeypatch.setenv(variable, told or "")
    if told is None:
        monkeypatch.delenv(variable)
    with config.patch(compile_threads=7):
        with kept_compile_threads():
            os.environ[variable] = "1"
            config.compile_threads = 1
        assert (os.environ.get(variable), config.compile_threads) == (told, 7)


@pytest.mark.slow  # vLLM is imported
def test_vllm_remembers_the_stream_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks vLLM for the thread's stream after that gets this one, and no new one is made."""
    from vllm.utils import torch_utils

    stream = object()
    monkeypatch.setattr(torch_utils, "prev_set_stream", lambda stream: None)
    monkeypatch.setattr(torch_utils, "_current_stream_tls", type(torch_utils._current_stream_tls)())
    torch_utils._patched_set_stream(stream)
    assert torch_utils.current_stream() is stream
    assert torch.cuda.set_stream is torch_utils._patched_set_stream
