"""The published formats by name."""

from rft.commands.data.convert import (
    activitynet_captions,
    caption,
    charades_sta,
    generic,
    got10k,
    nextgqa,
    vidtab_quality,
)
from rft.commands.data.convert.types import Format

FORMATS = {
    "charades_sta": Format("Charades-STA: JSON by video", ("temporal_grounding",), charades_sta.read),
    "activitynet_captions": Format(
        "ActivityNet Captions: JSON by video", ("temporal_grounding",), activitynet_captions.read
    ),
    "got10k": Format("GOT-10k: the eight-box JSON, or its folders of a split", ("tracking",), got10k.read),
    "nextgqa": Format("NExT-GQA: JSON list of questions", ("grounded_qa", "multiple_choice"), nextgqa.read),
    "vidtab_quality": Format("VidTAB quality assessment: JSON list", ("quality",), vidtab_quality.read),
    "caption": Format("captions: JSON list or JSONL of video and caption or events", ("caption",), caption.read),
    "generic": Format("your own CSV, TSV, JSON or JSONL, columns named by --map", (), generic.read),
}
