"""The files of a policy, and where they go."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from rft.commands.push.card import card, published_recipe
from rft.errors import CheckpointError, refuse
from rft.files import write_bytes, writing
from rft.runs.checkpoint import check_digests
from rft.runs.run_dir import RunDir, step_of

Files = Mapping[str, Path | bytes]
"""Path in the pushed folder -> a file, or its content."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def push(
    run: RunDir,
    name: str,
    base_model: str | None,
    dry_run: Path | None,
    upload: Callable[[str, Files], str],
) -> str:
    """Give the policy of the run's last checkpoint, with a card, to `upload`; returns where it is.

    `name`: "owner/model". `base_model`: hub name for the card; default: the recipe's model, where it is one. `dry_run`:
    write the folder there instead. Raises CheckpointError where the run has no policy or its files are damaged,
    DataError for a name or folder that cannot be used.
    """
    problems = [] if HUB_NAME.fullmatch(name) else [f"{name}: write OWNER/MODEL"]
    if dry_run and dry_run.exists() and any(dry_run.iterdir()):
        problems.append(f"--dry-run: {dry_run} holds files already. Name another folder.")
    refuse(problems)
    files = policy_files(run, name, base_model)
    if dry_run is None:
        return upload(name, files)
    for inside, source in files.items():
        _write(dry_run / inside, source)
    size = sum(file.stat().st_size for file in dry_run.rglob("*") if file.is_file())
    return f"{dry_run}: {len(files)} files, {size / 1e6:.1f} MB, as they would be pushed to {name}"


def policy_files(run: RunDir, name: str, base_model: str | None) -> Files:
    """The policy's own files, the card, recipe and versions. Raises CheckpointError, see `push`."""
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: no checkpoint here. Give the folder of a run that saved one.")
    check_digests(checkpoint, "policy")
    run.load_tasks()
    policy, recipe = checkpoint / "policy", published_recipe(run)
    model = recipe["model"]
    if base_model is None and HUB_NAME.fullmatch(model) and not Path(model).exists():
        base_model = model
    text = card(run, name, step_of(checkpoint), base_model)
    return {
        **{str(file.relative_to(policy)): file for file in sorted(policy.rglob("*")) if file.is_file()},
        "README.md": text.encode(),
        "recipe.yaml": yaml.safe_dump(recipe, sort_keys=False, width=120).encode(),
        "versions.json": run.versions.read_bytes(),
    }


def upload_to_hub(name: str, files: Files) -> str:
    """One commit to the model repository, which is made, private, where it is not there.

    The token is huggingface_hub's own: that of `hf auth login`, or HF_TOKEN. It is in no message.
    """
    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    hub = HfApi()
    try:
        hub.create_repo(name, private=True, exist_ok=True)
        operations = [CommitOperationAdd(inside, source) for inside, source in files.items()]
        return str(hub.create_commit(name, operations, commit_message="Policy, card, recipe and versions").commit_url)
    except (OSError, ValueError, HTTPError) as error:
        # Without its cause: the request in it has the token.
        raise CheckpointError(f"{name}: not pushed: {without(str(error), get_token())}") from None


def without(text: str, secret: str | None) -> str:
    """The text with the secret blotted out."""
    return text.replace(secret, "***") if secret else text


def _write(path: Path, source: Path | bytes) -> None:
    remedy = "name another folder with --dry-run"
    if isinstance(source, bytes):
        write_bytes(path, source, remedy)
        return
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
