"""Draws videos of all demonstrations for large policies: VideoReasonBench has no training split.

python -m rft.packs.video_reasoning.generate data/video_reasoning --train 3000 --test 300
"""

import argparse
import json
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from rft.packs.video_reasoning.asking import random_target, random_video
from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.types import SKILLS
from rft.packs.video_reasoning.drawing import Look, draw_video
from rft.synthetic.clips import write_frames

FPS = Fraction(4)
SHOWN_S = 3.0
"""Seconds for which the state is shown."""


def generate(directory: Path, split: str, count: int, args: argparse.Namespace, seed: int) -> None:
    """Writes `count` videos and a row about each; demonstrations and skills take turns."""
    rng = random.Random(f"{split} {seed}")
    look = Look(args.side, round(SHOWN_S * FPS), max(1, round(args.seconds_per_operation * FPS)))
    (directory / "clips").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        name = args.demonstrations[number % len(args.demonstrations)]
        skill = SKILLS[number // len(args.demonstrations) % len(SKILLS)]
        rules = DEMONSTRATIONS[name]
        size = rng.choice(args.containers if rules.has_containers else args.board_sides)
        video = random_video(rules, size, rng.randint(*args.operations), rng)
        row_id = f"{split}_{number:05d}"
        write_frames(draw_video(name, video, look)[0], FPS, directory / f"clips/{row_id}.mp4")
        row: dict[str, Any] = {"id": row_id, "task": "video_reasoning", "video": f"clips/{row_id}.mp4"}
        target = random_target(name, skill, video, rng).to_json()
        lines.append(json.dumps({**row, "target": target, "dataset": f"video_reasoning/{split}"}))
    (directory / f"{split}.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes train.jsonl, test.jsonl and clips/ into a folder. Default: the arguments of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--train", type=int, default=3000, help="number of videos to train on")
    parser.add_argument("--test", type=int, default=300, help="number of held-out videos")
    parser.add_argument("--demonstrations", nargs="+", choices=list(DEMONSTRATIONS), default=list(DEMONSTRATIONS))
    parser.add_argument("--board-sides", nargs="+", type=int, default=[3, 4])
    parser.add_argument("--containers", nargs="+", type=int, default=[1, 2], help="numbers of paths, piles or cups")
    parser.add_argument("--operations", nargs=2, type=int, default=[5, 14], metavar=("FEWEST", "MOST"))
    parser.add_argument("--seconds-per-operation", type=float, default=1.5)
    parser.add_argument("--side", type=int, default=448, help="width and height of a frame in pixels, even")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for split in ("train", "test"):
        generate(args.directory, split, getattr(args, split), args, args.seed)


if __name__ == "__main__":
    main()
