"""Checks of a Hugging Face model folder by its files, without loading the model."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+$")

PACKED_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Model types whose text layers pass `packing` on to attention; tests compare each with unpacked copies."""


def model_problems(model: str) -> tuple[list[str], list[str]]:
    """(problems, notes) of a recipe's model: a folder, or a name on the hub."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return _not_a_folder(model, folder)
    problems = [
        f"{folder} has no {what} ({' or '.join(files)}). Save it there with save_pretrained."
        for what, files in _PARTS.items()
        if not any((folder / name).is_file() for name in files)
    ]
    if not (folder / "tokenizer.json").is_file() and not all((folder / n).is_file() for n in _SLOW_TOKENIZER):
        problems.append(f"{folder} has no tokenizer (tokenizer.json, or vocab.json with merges.txt). Save it there.")
    broken = [name for name in _JSON_FILES if (folder / name).is_file() and _json_object(folder / name) is None]
    problems += [f"{folder / name} is not a JSON object. Copy it again." for name in broken]
    templates = any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))
    inside = (_json_object(folder / name) or {} for name in ("tokenizer_config.json", "processor_config.json"))
    if not templates and not any("chat_template" in config for config in inside):
        problems.append(f"{folder} has no chat template (chat_template.jinja or chat_template.json). Save it there.")
    notes = []
    if not any(folder.glob("*.safetensors")):
        notes.append(f"{folder} holds no *.safetensors: there are no weights to train yet.")
    config = _json_object(folder / "config.json") or {}
    kind = config.get("model_type")
    if kind not in (None, *PACKED_TYPES):
        notes.append(f"the model is of type {kind}; only {', '.join(PACKED_TYPES)} have been tried.")
    obstacle = packing_obstacle(config) if kind is not None else None
    if obstacle is not None:
        notes.append(f"a group is trained as copies of its prompt, which costs several times as much: {obstacle}.")
    return problems, notes


def model_type(model: str) -> str | None:
    """`model_type` of a folder's config.json; None if there is none."""
    kind = local_config(model).get("model_type")
    return kind if isinstance(kind, str) else None


def local_config(model: str) -> Mapping[str, Any]:
    """config.json of a model folder; {} if there is none on this machine."""
    return _json_object(Path(model).expanduser() / "config.json") or {}


def size_factor(model: str) -> int:
    """Patch size times merge size of the model's vision tower, of which sides of frames and images are multiples.

    The config.json of a hub name is downloaded. Raises OSError if that fails.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() or not _HUB_NAME.match(model):
        return config_size_factor(local_config(model))
    from huggingface_hub import hf_hub_download

    return config_size_factor(_json_object(Path(hf_hub_download(model, "config.json"))) or {})


def config_size_factor(config: Mapping[str, Any]) -> int:
    """Like `size_factor`, from a config.json; missing values are those of Qwen2-VL."""
    vision = config.get("vision_config")
    vision = vision if isinstance(vision, dict) else {}
    return int(vision.get("patch_size", 14)) * int(vision.get("spatial_merge_size", 2))


def packing_obstacle(config: Mapping[str, Any]) -> str | None:
    """Reason why the learner cannot pack groups for a model of this config.json; None: it can."""
    kind, text = config.get("model_type"), config.get("text_config") or config
    if kind not in PACKED_TYPES:
        return f"type {kind} is not among {', '.join(PACKED_TYPES)}"
    unknown = set(text.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    if unknown:
        return f"it has layers of {', '.join(sorted(unknown))}"
    if text.get("attention_dropout"):
        return "it drops attention weights at random"
    return None


_PARTS = {
    "model configuration": ("config.json",),
    "processor": ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
}
_SLOW_TOKENIZER = ("vocab.json", "merges.txt")
_JSON_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", *_PARTS["processor"])


def _not_a_folder(model: str, folder: Path) -> tuple[list[str], list[str]]:
    if folder.exists():
        return [f"{model} is not a folder. Name the folder that holds config.json."], []
    if _HUB_NAME.match(model) and not folder.parent.is_dir():
        return [], [f"{model} is no folder here: it is taken as a hub name, and downloaded where the run starts."]
    return [f"folder {model} not found. Name a model folder, or a hub name such as org/name."], []


def _json_object(path: Path) -> dict[str, object] | None:
    """The JSON object in a file; None if there is no such file or no object in it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
