"""The learner's end of a transfer between GPUs, without one."""

import os
import threading

import pytest
import torch

from rft.weights.sender import WeightSender, keep_default_stream, kept_compile_threads


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


class FakeGroup:
    """Sends at once, or as NCCL does where an engine has ended: until the group is broken up."""

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.is_shut = threading.Event()
        self.num_sent = 0

    def send_weights(self) -> None:
        if not self.is_whole:
            assert self.is_shut.wait(60)
        self.num_sent += 1

    def shutdown(self) -> None:
        self.is_shut.set()


def test_a_sender_does_not_wait_for_ever() -> None:
    sender = WeightSender()
    sender._group = whole = FakeGroup(is_whole=True)
    sender.send(60)
    sender.send(60)
    assert (whole.num_sent, whole.is_shut.is_set()) == (2, False)
    sender._group = FakeGroup(is_whole=False)
    with pytest.raises(TimeoutError, match=r"an engine did not take the weights in 0\.01 s"):
        sender.send(timeout_s=0.01)


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
