"""A run folder as one static page: recipe, curves, evaluation, and rollouts with what was said about each."""

import html
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rft.commands.report.curves import svg_chart
from rft.commands.report.timeline import svg_timeline
from rft.errors import CheckpointError
from rft.evaluation.evaluate import RowSet
from rft.evaluation.published_results import comparable_results
from rft.files import write_text, writing
from rft.runs.learning_curves import learning_curves
from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.runs.timeline import read_timeline

NUM_FILES = 16
"""Number of steps whose rollouts are read, evenly from the first to the last."""

NUM_SHOWN = 6
"""Rollouts of each kind (best, worst, random) shown per task."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d8dee4; }
table { border-collapse: collapse; margin: .6rem 0; } th, td { text-align: left; padding: .15rem .8rem .15rem 0; }
th { border-bottom: 1px solid #8c959f; font-weight: 600; } td { border-bottom: 1px solid #eaeef2; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f8fa; padding: .5rem .7rem; margin: .3rem 0; }
details { margin: .35rem 0; } summary { cursor: pointer; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
figcaption { font-size: .85rem; } .faint { color: #57606a; }
"""


def report(run_dir: RunDir | Path) -> Path:
    """Write report.html into the run folder and return its path; parts that the run has not written yet are left out.

    Raises CheckpointError where the folder holds no run.
    """
    run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
    if not any(path.exists() for path in (run.recipe, run.metrics, run.summary, run.rollouts)):
        raise CheckpointError(f"{run.path}: no run here. Give the folder that `rft train` named at its end.")
    parts = [
        f"<h1>{html.escape(run.path.resolve().name)}</h1>",
        section("Learning", learning(run)),
        section("Evaluation", evaluation(run.read_summary())),
        section("Curves", curves(run)),
        section("Rollouts", rollouts(run)),
        section("What ran when", svg_timeline(read_timeline(run.timeline))),
        section("Seconds by phase", seconds(run.read_summary())),
        section("Recipe", file_text(run.recipe)),
        section("Versions", file_text(run.versions)),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        # No script and nothing from elsewhere: what a policy wrote is shown, never run.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(run.path.resolve().name)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    with writing(run.report):
        write_text(run.report, page)
    return run.report


def section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>{body}" if body else ""


def file_text(path: Path) -> str:
    return f"<pre>{html.escape(path.read_text(encoding='utf-8'))}</pre>" if path.exists() else ""


def learning(run: RunDir) -> str:
    """The closing sentence, where the run has come to its end, and the learning curves."""
    verdict = run.read_summary().get("verdict", {}).get("text", "")
    drawn = "".join(svg_chart(chart.title, chart.lines) for chart in learning_curves(run))
    sentence = f"<p>{html.escape(verdict)}</p>" if verdict else ""
    return sentence + (f'<div class="charts">{drawn}</div>' if drawn else "")


def evaluation(summary: dict[str, Any]) -> str:
    """Per set of rows: every metric, blind answers first, then each evaluation with its intervals, then published
    figures where they can be compared."""
    evals: dict[str, Any] = summary.get("eval", {})
    blind: dict[str, Any] = summary.get("baselines", {})
    parts = []
    for task in sorted({task for result in evals.values() for task in result} | set(blind)):
        lines: list[tuple[str, dict[str, float], dict[str, Any]]] = [
            ("blind: " + name, metrics, {}) for name, metrics in blind.get(task, {}).items()
        ]
        published: dict[str, dict[str, float]] = {}
        for name, result in evals.items():
            of_set = result.get(task, {})
            for mode in ("greedy", "sampled"):
                for parser, figures in (("", of_set), (", strict", of_set.get("strict", {}))):
                    values, bounds = figures.get(mode, {}), figures.get("intervals", {}).get(mode, {})
                    if values:
                        lines.append((f"{name}, {mode}{parser}", values, bounds))
            rows_of = RowSet(of_set.get("task", task), of_set.get("dataset"), of_set.get("rows", 0))
            published |= {f"{one.model} ({one.source})": one.values for one in comparable_results(rows_of)}
        lines += [(name, values, {}) for name, values in published.items()]
        metrics = list(dict.fromkeys(metric for _, values, _ in lines for metric in values))
        # A task names its main metric first; that one is shown with its interval, all are in summary.json.
        main = metrics[:1]
        rows = [
            [name, *(estimate(values.get(m), bounds.get(m) if m in main else None) for m in metrics)]
            for name, values, bounds in lines
        ]
        num_rows = sorted({str(result[task].get("rows")) for result in evals.values() if task in result})
        parts.append(f"<h3>{html.escape(task)}, {html.escape(' and '.join(num_rows) or 'unknown')} rows</h3>")
        parts.append(table(["", *metrics], rows))
        parts.append(change_line(summary.get("change", {}).get(task, {})))
    return "".join(parts)


def estimate(value: float | None, bounds: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


def change_line(change: dict[str, Any]) -> str:
    """The paired differences of one task, as a table; "" where there are none."""
    rows = [
        [mode, metric, f"{c['change']:+.3f}", f"[{c['low']:+.3f}, {c['high']:+.3f}]"]
        for mode, metrics in change.items()
        for metric, c in metrics.items()
    ]
    return table(["change over the same rows", "metric", "mean", "95 % interval"], rows) if rows else ""


def seconds(summary: dict[str, Any]) -> str:
    spent = summary.get("seconds", {})
    return table(["phase", "seconds"], [[name, f"{s:.1f}"] for name, s in spent.items()]) if spent else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table. Escapes the cells."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def curves(run: RunDir) -> str:
    """One chart per metric; the rewards and the held-out values of all tasks share one each."""
    charts: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for stage in ("train", "cold_start"):
        for step, values in read_metrics(run, stage).items():
            for name, value in values.items():
                chart, line = chart_of(name)
                charts[chart if stage == "train" else f"cold start: {chart}"][line].append((step, value))
    drawn = [svg_chart(name, lines) for name, lines in sorted(charts.items(), key=lambda item: chart_rank(item[0]))]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def chart_of(name: str) -> tuple[str, str]:
    """(chart, line) that a metric is drawn in."""
    chart, _, line = name.partition("/")
    if chart == "eval" and "/" in line:
        task, mode, metric = (*line.split("/", 2), "")[:3]
        return f"{task}, {mode}, held out", metric or task
    if chart == "eval":
        return "held-out main metric", line
    if chart == "fault":
        task, _, kind = line.partition("/")
        return f"completions at fault, {task}", kind or task
    if chart == "score":
        task, _, reward = line.partition("/")
        return f"scores, {task}", reward or task
    return chart, line or "all"


def chart_rank(chart: str) -> tuple[int, str]:
    first = ("reward", "held-out main metric", "loss", "entropy", "kl", "clip_share", "logprob_gap", "grad_norm")
    return (first.index(chart) if chart in first else len(first), chart)


def rollouts(run: RunDir) -> str:
    """The rollouts section: per task the best, worst and random rollouts of steps taken evenly from the run."""
    files = sorted(run.rollouts.glob("step_*.jsonl.zst"))
    last = len(files) - 1
    chosen = sorted({round(i * last / (NUM_FILES - 1)) for i in range(NUM_FILES)}) if files else []
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for index in chosen:
        for record in read_rollouts(files[index]):
            by_task[record["task"]].append(record)
    parts = []
    for task, records in sorted(by_task.items()):
        ranked = sorted(records, key=lambda r: r["reward"])
        kinds = {
            "Best": ranked[::-1][:NUM_SHOWN],
            "Worst": ranked[:NUM_SHOWN],
            "Random": random.Random(0).sample(records, min(NUM_SHOWN, len(records))),
        }
        parts.append(
            f"<h3>{html.escape(task)}</h3><p class=faint>{len(records)} rollouts of {len(chosen)} of {len(files)} steps"
            " were read; all are in rollouts/.</p>"
        )
        for kind, of_kind in kinds.items():
            is_open = " open" if kind == "Random" else ""
            parts.append(
                f"<details{is_open}><summary>{kind} {len(of_kind)}</summary>{''.join(map(card, of_kind))}</details>"
            )
    return "".join(parts)


def card(record: dict[str, Any]) -> str:
    """One rollout: a line to find it by, unfolding to prompt, completion, target and scores."""
    advantage = "not learned from" if record["advantage"] is None else f"advantage {record['advantage']:+.2f}"
    head = (
        f"reward {record['reward']:.3f}, {advantage}, step {record['step']}, {record['prompt_id']}, "
        f"{record['num_tokens']} tokens, {record['finish_reason']}"
    )
    scores = [
        [name, f"{s['value']:.3f}", "-" if s["answer"] is None else s["answer"], s["note"]]
        for name, s in record["scores"].items()
    ]
    clip = record["video"] or record.get("image") or "text alone"
    if record["start_s"] is not None or record["end_s"] is not None:
        clip += f" from {record['start_s'] or 0} s to {record['end_s'] or 'its end'}"
    return (
        f"<details><summary>{html.escape(head)}</summary>"
        f"<p class=faint>{html.escape(clip)}</p>"
        f"<details><summary>prompt</summary><pre>{html.escape(record['text'])}</pre></details>"
        f"<pre>{html.escape(record['completion'])}</pre>"
        f"<p>target <code>{html.escape(json.dumps(record['target']))}</code></p>"
        f"{table(['reward', 'value', 'answer', 'note'], scores) if scores else '<p>not scored</p>'}</details>"
    )
