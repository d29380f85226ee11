"""Does the alarm `looks_away` find a shortcut in the questions, and does `rft data select --blind` remove it?

    python -m benchmarks.shortcut --seeds 0 1 2          # runs what has not run, then prints the tables

Drawn clips of a band of one colour, and the question which one. In six of ten rows a word of the question tells the
answer: "the wide band" is red, "the narrow band" green. In the test rows it tells nothing: the word is drawn. Four
policies: `planted` learns from these rows, `control` from the same rows without the words, `blind` from the rows with
grey clips (supervision alone; its answers choose the rows), `kept` from the rows that the choice leaves. A seed takes
some ten minutes on one core. Figures go to benchmarks/results/shortcut.json.
"""

import argparse
import json
import random
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import rft
from benchmarks.report import machine, markdown, store
from rft.data.frames import GREY
from rft.files import read_lines
from rft.synthetic.clips import RGB, SIDE, grey_noise
from rft.synthetic.drawn_set import DrawnClip, DrawnSet, write_drawn_set

RESULTS = Path("benchmarks/results/shortcut.json")

FPS = Fraction(4)
NUM_FRAMES = 16
COLOURS = tuple(RGB)
WORDS = ("wide", "narrow", "long", "short")
"""In the training's planted rows each stands for the colour at its place."""
PLANTED = 0.6
"""Share of training and validation rows with such a word."""
GUESSED = 0.7
"""Share of questions that the cold start's demonstrations answer at random: GRPO finds clip and word half learned."""
NUM_TRAIN, NUM_HELD_OUT = 400, 160
SAMPLES = 16
"""Answers of the blind policy to each row, besides the greedy one."""
LEARNED = ("planted", "control", "kept")
"""Policies that GRPO trains."""
SETS = ("planted", "planted (blank)", "plain", "plain (blank)", "test", "test (blank)")

RECIPE: dict[str, Any] = {
    "tasks": {"multiple_choice": {"think": False}},
    "video": {"fps": 2, "max_frames": 8, "min_pixels": 3136, "max_pixels": 3136},
    "cold_start": {"steps": 200, "learning_rate": 1.5e-3, "warmup_steps": 10, "adam_beta2": 0.98},
    "steps": 80,
    "prompts_per_step": 16,
    "sampling": {"num_generations": 8, "max_completion_length": 8},
    "algorithm": {"loss_type": "dapo"},
    "rollout": {"max_model_len": 256, "max_num_seqs": 128, "kv_cache_gib": 0.25, "threads_per_worker": 1},
    "learner": {"learning_rate": 2e-4, "warmup_steps": 5, "min_lr_ratio": 0.1, "adam_beta2": 0.95, "dtype": "float32"},
    "eval": {"every": 40, "views": ["blank"]},
    "save_every": 80,
}


def question(word: str | None) -> str:
    band = f"{word} band" if word else "band"
    return f"Look at the {band}: the {band} has one colour. Which colour has the {band}?"


def draw(rng: random.Random, is_test: bool = False) -> DrawnClip:
    """A clip and its question; in the test every question has a word that tells nothing."""
    right = rng.randrange(len(COLOURS))
    word = rng.choice(WORDS) if is_test else WORDS[right] if rng.random() < PLANTED else None
    pixels = grey_noise(rng, NUM_FRAMES)
    blank = np.full_like(pixels, GREY)
    top = rng.randint(0, SIDE - SIDE // 6)
    pixels[:, top : top + SIDE // 6] = RGB[COLOURS[right]]
    said = rng.randrange(len(COLOURS)) if rng.random() < GUESSED else right
    row = {
        "task": "multiple_choice",
        "question": question(word),
        "options": list(COLOURS),
        "target": {"choice": "ABCD"[right]},
        "demonstration": f"<answer>{'ABCD'[said]}</answer>",
    }
    return DrawnClip(pixels, blank, (row,))


def write_rows(data: Path, seed: int) -> None:
    """Clips, initial policy and the files of rows; those of training and validation have demonstrations."""
    held_out = DrawnSet(draw, FPS, SIDE, NUM_TRAIN + NUM_HELD_OUT, NUM_HELD_OUT, lambda rng: draw(rng, is_test=True))
    write_drawn_set(data, "shortcut", held_out, seed)
    rows = list(read_lines(data / "cold_start.jsonl"))
    train = rows[:NUM_TRAIN]
    validation = [{**row, "dataset": "planted" if is_planted(row) else "plain"} for row in rows[NUM_TRAIN:]]
    test = [{**row, "dataset": "test"} for row in read_lines(data / "test.jsonl")]
    write(data / "train_planted.jsonl", train)
    write(data / "held_out_planted.jsonl", [*validation, *test])
    write(data / "train_control.jsonl", map(without_word, train))
    write(data / "held_out_control.jsonl", [*map(without_word, validation), *test])
    write(data / "train_blind.jsonl", ({**without(row, "demonstration"), "view": "blank"} for row in train))


def is_planted(row: Mapping[str, Any]) -> bool:
    return bool(row["question"] != question(None))


def without_word(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "question": question(None)}


def without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def train(data: Path, folder: Path, name: str, seed: int) -> None:
    """One policy, unless it is there."""
    run, rows, cold = folder / name, f"{data}/train_{name}.jsonl", data / f"cold_{name}.jsonl"
    if (run / "summary.json").exists() and "final" in json.loads((run / "summary.json").read_text()).get("eval", {}):
        return
    held_out = data / ("held_out_control.jsonl" if name == "control" else "held_out_planted.jsonl")
    keys = RECIPE | {"model": f"{data}/policy", "data": {"train": [rows], "eval": [str(held_out)]}, "seed": seed}
    keys["cold_start"] = keys["cold_start"] | {"data": [str(cold)]}
    shown = list(read_lines(Path(rows)))
    if name == "blind":
        keys["steps"] = 0
        write(cold, shown)
    else:  # a policy that never saw grey frames answers at random there, or not at all
        write(cold, [*shown, *({**row, "id": f"{row['id']} blank", "view": "blank"} for row in shown)])
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / f"{name}.yaml"
    recipe.write_text(json.dumps(keys))
    rft("train", str(recipe), "--resume", f"run_dir={run}", f"video.cache_dir={data}/decoded")


def choose(data: Path, folder: Path) -> None:
    """train_kept.jsonl: the training rows that the blind policy cannot answer."""
    answers, rows = folder / "blind_answers.jsonl", data / "train_planted.jsonl"
    if not answers.exists():
        asked = ("--num-samples", str(SAMPLES), "eval.views=[blank]", f"video.cache_dir={data}/decoded")
        rft("eval", f"{folder}/blind/cold_start", "--data", str(rows), *asked, "-o", str(answers))
    rft("data", "select", str(rows), "--rollouts", str(answers), "--blind", "-o", f"{data}/train_kept.jsonl")


def choice_figures(data: Path) -> dict[str, float]:
    """How well the dropped rows are those with a word."""
    rows = list(read_lines(data / "train_planted.jsonl"))
    kept = {row["id"] for row in read_lines(data / "train_kept.jsonl")}
    dropped = [row for row in rows if row["id"] not in kept]
    right, planted = sum(map(is_planted, dropped)), sum(map(is_planted, rows))
    counts = {"rows": len(rows), "planted": planted, "dropped": len(dropped), "planted dropped": right}
    return counts | {"precision": right / len(dropped), "recall": right / planted}


def run_figures(run: Path) -> dict[str, Any]:
    """{"looks_away": when it fired, "eval": {set: accuracy of sampled answers before and after GRPO}}."""
    stored = json.loads((run / "summary.json").read_text())
    measured = stored["eval"]
    return {
        "looks_away": next((f"step {one['step']}" for one in stored["alarms"] if one["name"] == "looks_away"), None),
        "eval": {
            name: {when: measured[when][name]["sampled"]["accuracy"] for when in ("cold_start", "final")}
            for name in measured["final"]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcut"))
    args = parser.parse_args()
    report = {seed: run_seed(args.folder, seed) for seed in args.seeds}
    store(RESULTS, {"machine": machine(), "seeds": report})
    print(f"\n{choice_table(report)}\n\n{run_table(report)}")


def run_seed(parent: Path, seed: int) -> dict[str, Any]:
    """{"choice": figures of the choice, "runs": {policy: figures}}; runs what has not run."""
    data, folder = parent / f"data_{seed}", parent / f"seed_{seed}"
    if not (data / "train_blind.jsonl").exists():
        write_rows(data, seed)
    for name in ("planted", "control", "blind"):
        train(data, folder, name, seed)
    choose(data, folder)
    train(data, folder, "kept", seed)
    return {"choice": choice_figures(data), "runs": {name: run_figures(folder / name) for name in LEARNED}}


def choice_table(report: Mapping[int, Any]) -> str:
    lines = [["seed", *next(iter(report.values()))["choice"]]]
    for seed, of_seed in report.items():
        lines.append([str(seed), *(f"{value:.3f}" if isinstance(value, float) else str(value)
                                   for value in of_seed["choice"].values())])  # fmt: skip
    return markdown(lines)


def run_table(report: Mapping[int, Any]) -> str:
    lines = [["seed", "learned from", "looks_away", *SETS]]
    for seed, of_seed in report.items():
        for name, run in of_seed["runs"].items():
            of_sets = [run["eval"].get(of_set) for of_set in SETS]
            cells = [f"{one['cold_start']:.3f} to {one['final']:.3f}" if one else "-" for one in of_sets]
            lines.append([str(seed), name, run["looks_away"] or "silent", *cells])
    return markdown(lines)


if __name__ == "__main__":
    main()
