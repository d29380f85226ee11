"""Imports of large libraries, without what makes them slow."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """A block that imports torch, Transformers or vLLM; without the garbage collector, a fifth of the time.

    The modules are left out of later collections too: they stay for as long as the process.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
