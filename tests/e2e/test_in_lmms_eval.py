"""lmms-eval itself asks the model `rft`: the answers are those of `rft eval`, token by token.

lmms-eval asks for an older PyAV than ours, so that no environment of the project has it; docs/evaluation.md says how to
install it beside rft.
"""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from forked import python, rft

from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy

pytestmark = pytest.mark.slow

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed: it asks for av<16 (docs/evaluation.md)")

FUNCTIONS = """
def text(doc, lmms_eval_specific_kwargs=None):
    return f"When does this happen: {doc['caption']}. Answer in words."


def no_visual(doc, lmms_eval_specific_kwargs=None):
    raise AssertionError("frames are rft's own")


def length(doc, results):
    return {"length": len(results[0])}
"""
TASK = """
task: drawn_events
dataset_path: json
dataset_kwargs: {data_files: {test: DOCUMENTS}}
test_split: test
output_type: generate_until
generation_kwargs: {max_new_tokens: 1}
doc_to_visual: !function functions.no_visual
doc_to_text: !function functions.text
doc_to_target: caption
process_results: !function functions.length
metric_list:
  - {metric: length, aggregation: mean, higher_is_better: true}
"""


def write_rows(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """Four rows about two clips, and the documents of the last three, in another order."""
    rows, documents = [], []
    for clip in range(2):
        shape = Shape("red", "circle", 0.15, (0.1, 0.2 + 0.3 * clip), (0.9, 0.5), (0.5, 3.0))
        write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=clip), folder / f"clip{clip}.mp4")
        for query in ("the red circle moves", "the circle leaves"):
            row = {"id": f"{clip} {query}", "task": "temporal_grounding", "query": query, "video": f"clip{clip}.mp4"}
            rows.append(row | {"duration_s": 4.0, "target": {"span": [0.5, 3.0]}})
            documents.append({"video": f"clip{clip}.mp4", "caption": query})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, documents[:0:-1]


def test_lmms_eval_gets_the_answers_of_rft_eval(tmp_path: Path) -> None:
    build_policy(tmp_path / "policy", 0)
    rows, documents = write_rows(tmp_path)
    settings = {
        "video.max_frames": 8,
        "video.min_pixels": 56**2,
        "video.max_pixels": 56**2,
        "sampling.max_completion_length": 12,
        "rollout.max_model_len": 512,
        "rollout.kv_cache_gib": 0.25,
    }
    keys = [f"{key}={value}" for key, value in settings.items()]
    rft("eval", tmp_path / "policy", "--data", rows, "--num-samples", 0, "-o", tmp_path / "ours.jsonl", *keys)
    ours = {line["id"]: line for line in map(json.loads, (tmp_path / "ours.jsonl").read_text().splitlines())}

    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    (tasks / "drawn.yaml").write_text(TASK.replace("DOCUMENTS", str(tmp_path / "documents.json")))
    model = ",".join([f"pretrained={tmp_path / 'policy'}", f"data={rows}", *keys])
    asked = ("--model", "rft", "--model_args", model, "--tasks", "drawn_events", "--include_path", tasks)
    python("-m", "lmms_eval", *asked, "--log_samples", "--output_path", tmp_path / "theirs")

    (log,) = (tmp_path / "theirs").rglob("*samples_drawn_events.jsonl")
    samples = {line["doc_id"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert len(samples) == 3
    for number, document in enumerate(documents):
        row = ours[f"{document['video'][4]} {document['caption']}"]
        assert samples[number]["filtered_resps"] == row["completion"]
        assert samples[number]["token_counts"][0]["output_tokens"] == row["num_tokens"]
    assert len({line["completion"] for line in ours.values()}) > 1, "the answers do not tell the rows apart"
    (results,) = (tmp_path / "theirs").rglob("*results.json")
    lengths = [len(sample["filtered_resps"]) for sample in samples.values()]
    measured = json.loads(results.read_text())["results"]["drawn_events"]["length,none"]
    assert measured == pytest.approx(sum(lengths) / len(lengths))
