"""What a benchmark prints and stores: tables, and one JSON object that tells the machine too."""

import argparse
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rft.tables import TextTable, plain


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--results", type=Path, help="folder that the JSON is written to as well")


def processor() -> str:
    """The processor's own name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gpu_name() -> str | None:
    """Of the first one; None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def machine() -> dict[str, Any]:
    """What a figure has to be read with."""
    import torch
    import transformers

    return {
        "processor": processor(),
        "gpu": gpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def finish(
    name: str, result: Mapping[str, Any], tables: Sequence[TextTable], arguments: argparse.Namespace, *of: str
) -> int:
    """Print the tables, unless the JSON is wanted alone, then the JSON object as the last line; exit status.

    `of`: what sets the file of this result apart from others of that benchmark. On a GPU its name does so too.
    """
    text = json.dumps({"benchmark": name, "machine": machine(), **result})
    if not arguments.json:
        print("\n".join(plain(table) for table in tables))
    if arguments.results:
        arguments.results.mkdir(parents=True, exist_ok=True)
        parts = [re.sub(r"[^a-z0-9]+", "-", part.lower()) for part in (*of, gpu_name()) if part]
        (arguments.results / f"{'_'.join([name, *parts])}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def store(path: Path, figures: object) -> None:
    """Write figures as indented JSON; the folder is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table for docs/; the first line names the columns."""
    header, *rows = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
