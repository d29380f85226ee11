"""What resumes training, in parts: every rank writes and reads its own share alone, as safetensors."""

import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from rft.errors import CheckpointError


def write_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Write sharded and whole tensors, a file per rank. Every rank must call this.

    The places of the parts stand in the files' own headers: nothing is pickled.
    """
    save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def shard_names(folder: Path) -> set[str]:
    """Of all tensors in a folder of `write_shards`. CheckpointError: it cannot be read."""
    try:
        return set(HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise _unreadable(folder, error) from error


def read_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Fill `tensors`, each sharded or whole, with those of these names; of each file only what they need is read.

    Every rank must call this. CheckpointError: one is missing, damaged or of another shape.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # so it is for a single process
            load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)))
    except CheckpointException as error:
        raise _unreadable(folder, next(iter(error.failures.values()))[0]) from error
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(f"{folder}: cannot be read: {error}. Resume from another checkpoint.")
