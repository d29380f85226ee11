"""The policy's weights out of the learner and back: for engines, as a Hugging Face folder, and to resume exactly."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from rft.errors import CheckpointError
from rft.learner.model import lora_layers
from rft.learner.optimizer import MOMENTS, empty_state, read_state, write_state
from rft.learner.sharded_state import read_shards, shard_names, write_shards
from rft.learner.sharding import full, num_ranks, sharded_like, this_rank

STATE_FILE = "optimizer.safetensors"
"""Trainable parameters as the optimizer holds them, its moments, and the random state; written by one rank."""

STATE_FOLDER = "optimizer"
"""The same, written by several ranks."""


def moving_weights(
    model: PreTrainedModel, dtype: torch.dtype, device: torch.device, *, on_every_rank: bool = False
) -> dict[str, Tensor]:
    """Copies on `device` of the weights that training moves, named as in the saved model, adapters merged.

    Layers that lie beside a trained one come along: an engine fuses some of them (q, k and v; gate and up), and what it
    has fused it replaces whole. {} on ranks above 0, unless `on_every_rank`. Every rank must call this.
    """
    return _copies(model, dtype, _beside_trained(model), device, this_rank() == 0 or on_every_rank)


def trains_all(model: PreTrainedModel) -> bool:
    """Whether `moving_weights` are all weights."""
    return all(parameter.requires_grad for parameter in model.parameters())


def _beside_trained(model: PreTrainedModel) -> set[str]:
    """Names in the state dict of the weights of layers whose parent module holds a trained layer."""

    def parent(name: str) -> str:
        layer = name.split(".lora_")[0] if ".lora_" in name else name.replace(".base_layer.", ".").rpartition(".")[0]
        return layer.rpartition(".")[0]

    parents = {parent(name) for name in trainable(model)}
    return {name for name in model.state_dict() if parent(name) in parents}


def _copies(
    model: PreTrainedModel, dtype: torch.dtype, names: set[str], device: torch.device, keep: bool
) -> dict[str, Tensor]:
    """Of the weights in `names`, adapters merged; {} unless `keep`. Sharded ones are put together on every rank."""
    merged = {f"{name}.base_layer.weight": layer for name, layer in lora_layers(model).items()}
    weights = {}
    for name, tensor in _own_weights(model).items():
        if name not in names:
            continue
        whole = full(tensor)
        if name in merged:
            layer = merged[name]
            up, down = full(layer.lora_B["default"].weight), full(layer.lora_A["default"].weight)
            whole = whole + (up @ down) * layer.scaling["default"]
        if keep:
            weights[name] = whole.detach().to(device=device, dtype=dtype, copy=True)
    return _as_saved(model, weights)


def _own_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Of the state dict: what the model without adapters holds, tied ones once."""
    tied = model.all_tied_weights_keys
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied and ".lora_" not in name}


def _as_saved(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the names and shapes of the model's files."""
    without_adapters = {name.replace(".base_layer.", "."): tensor for name, tensor in weights.items()}
    saved: dict[str, Tensor] = revert_weight_conversion(model, without_adapters)
    return saved


def save_policy(model: PreTrainedModel, directory: Path, dtype: torch.dtype, max_file_bytes: int = 5 * 10**9) -> None:
    """A Hugging Face folder that from_pretrained and vLLM load, without the processor. Every rank must call this.

    Weights are put together file by file: the first rank holds those of one file, the others one weight at a time.
    """
    saved = {
        name: _as_saved(model, {name: torch.empty(weight.shape, dtype=dtype, device="meta")})
        for name, weight in _own_weights(model).items()
    }
    sources = {of_file: name for name, shapes in saved.items() for of_file in shapes}
    shapes = {of_file: shape for shapes in saved.values() for of_file, shape in shapes.items()}
    plan = split_torch_state_dict_into_shards(shapes, max_shard_size=max_file_bytes)
    if this_rank() == 0:
        directory.mkdir(parents=True, exist_ok=True)
    for file, names in plan.filename_to_tensors.items():
        weights = _copies(model, dtype, {sources[name] for name in names}, torch.device("cpu"), this_rank() == 0)
        if weights:
            save_file({name: weights[name].contiguous() for name in names}, directory / file, {"format": "pt"})
    if this_rank() != 0:
        return
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    config = type(model.config).from_dict(model.config.to_dict())
    config.dtype = dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(directory)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(directory)


def save_adapter(model: PreTrainedModel, config: LoraConfig, directory: Path) -> None:
    """A PEFT folder with the adapters alone. Every rank must call this."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            tensors[f"base_model.model.{name.replace('.default.', '.')}"] = full(tensor).detach().cpu().contiguous()
    if this_rank() != 0:
        return
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    config.save_pretrained(directory)


def save_state(model: PreTrainedModel, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """All that the next update depends on, apart from frozen weights. Every rank must call this.

    One rank writes a file; several write a folder, each its own share, which no other ever holds.
    """
    is_whole = num_ranks() == 1
    tensors = _random_states() if this_rank() == 0 else {}
    for name, parameter in trainable(model).items():
        for key, tensor in {"parameter": parameter, **read_state(optimizer, parameter)}.items():
            kept = full(tensor).detach().cpu().contiguous() if is_whole else tensor.detach()
            tensors[f"{key}/{name}"] = kept if is_whole or kept.ndim else kept.reshape(1)
    if is_whole:
        save_file(tensors, directory / STATE_FILE)
    else:
        write_shards(tensors, directory / STATE_FOLDER)


def load_state(model: PreTrainedModel, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Undo `save_state`, on any number of ranks, whatever their number was.

    Raises CheckpointError where the folder fits another model.
    """
    shards, path = directory / STATE_FOLDER, directory / STATE_FILE
    if shards.is_dir():
        _load_shards(model, optimizer, shards)
        return
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            _check_names(path, model, names)
            _set_random_states({name: file.get_tensor(name) for name in names if name.startswith("random/")})
            for name, parameter in trainable(model).items():
                with torch.no_grad():
                    parameter.copy_(sharded_like(file.get_tensor(f"parameter/{name}"), parameter))
                if f"step/{name}" in names:
                    state = {key: file.get_tensor(f"{key}/{name}") for key in ("step", *MOMENTS)}
                    write_state(optimizer, parameter, state)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. Resume from another checkpoint.") from error


def _load_shards(model: PreTrainedModel, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    names = shard_names(folder)
    _check_names(folder, model, names)
    parameters = trainable(model)
    states = {name: empty_state(optimizer, parameters[name]) for name in parameters if f"step/{name}" in names}
    tensors = {name: state for name, state in _random_states().items() if name in names}
    tensors |= {f"parameter/{name}": parameter.detach() for name, parameter in parameters.items()}
    tensors |= {f"{key}/{name}": tensor for name, state in states.items() for key, tensor in state.items()}
    read_shards(tensors, folder)
    _set_random_states(tensors)
    for name, state in states.items():
        write_state(optimizer, parameters[name], state | {"step": state["step"].reshape(())})


def _random_states() -> dict[str, Tensor]:
    states = {"random/cpu": torch.get_rng_state()}
    return states | ({"random/cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_states(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["random/cpu"])
    if "random/cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["random/cuda"])


def trainable(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _check_names(path: Path, model: PreTrainedModel, names: set[str]) -> None:
    """Raises CheckpointError where the state in `path`, with tensors of these names, is of another model."""
    wanted = {f"parameter/{name}" for name in trainable(model)}
    found = {name for name in names if name.startswith("parameter/")}
    missing, unknown = sorted(wanted - found), sorted(found - wanted)
    if not missing and not unknown:
        return
    raise CheckpointError(
        f"{path}: holds the weights of another model or training mode: {len(missing)} are missing "
        f"({', '.join(missing[:3])}), {len(unknown)} unknown ({', '.join(unknown[:3])}). "
        "Resume with the model, learner.lora and learner.freeze_vision of the run that wrote it."
    )


def write_json(path: Path, values: dict[str, int]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def read_json(path: Path) -> dict[str, int]:
    """Raises CheckpointError where `path` is missing or damaged."""
    try:
        values: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. Resume from another checkpoint.") from error
    return values
