"""TensorBoard: one folder of curves per stage, texts and pictures with those of GRPO."""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rft.runs.trackers.tracker import ShownRollout, Stage, TrackedRun, indented
from rft.tables import TextTable, plain


def open_tracker(run: TrackedRun) -> "TensorBoard":
    tracker = TensorBoard(run.folder)
    tracker.write("train", 0, [text_value("recipe", yaml.safe_dump(dict(run.recipe), sort_keys=False))])
    return tracker


class TensorBoard:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._curves: dict[Stage, EventFileWriter] = {}

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self.write(stage, step, [Summary.Value(tag=name, simple_value=value) for name, value in values.items()])

    def cut_after(self, step: int) -> None:
        start = SessionLog(status=SessionLog.START)  # TensorBoard drops what it read before, from this step on
        self._writer("train").add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        values = [text_value(f"rollouts/{rollout.name}", rollout.text) for rollout in rollouts]
        for rollout in rollouts:
            if rollout.picture is not None:
                png = io.BytesIO()
                Image.fromarray(rollout.picture).save(png, "PNG")
                height, width, _ = rollout.picture.shape
                image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png.getvalue())
                values.append(Summary.Value(tag=f"rollouts/{rollout.name}", image=image))
        self.write("train", step, values)

    def log_table(self, table: TextTable) -> None:
        self.write("train", 0, [text_value(table.title, plain(table))])

    def close(self) -> None:
        for curves in self._curves.values():
            curves.close()

    def write(self, stage: Stage, step: int, values: Sequence[Summary.Value]) -> None:
        writer = self._writer(stage)
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        writer.flush()

    def _writer(self, stage: Stage) -> EventFileWriter:
        if stage not in self._curves:
            self._curves[stage] = EventFileWriter(str(self._folder / stage))
        return self._curves[stage]


def text_value(name: str, text: str) -> Summary.Value:
    tensor = TensorProto(dtype=DT_STRING, string_val=[indented(text).encode()])
    return Summary.Value(tag=name, metadata=create_summary_metadata(name, ""), tensor=tensor)
