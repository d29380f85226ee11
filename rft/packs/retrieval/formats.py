"""Published sets of clips and captions: CaReBench (and MSR-VTT, MSVD in its shape), and VERIFIED's fine queries."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rewards.parsing import parse_words
from rft.data.convert.dense_events import SUFFIXES
from rft.data.convert.source import Format, Published, SourceRequest, read_json
from rft.packs.retrieval.targets import MOST_CANDIDATES

VERIFIED_SPLITS = {
    f"{videos}_fig_{part}": f"{videos}/{part}"
    for videos in ("charades", "didemo", "activitynet")
    for part in ("train", "val", "val_1", "val_2", "test")
}
"""File name -> videos and split. Charades-FIG has no val; ActivityNet-FIG has val_1 and val_2 and no test."""


class CaptionedClip(BaseModel):
    """{"video": "v_00000030_5.mp4", "caption": "..."}, or several captions as a list; more keys are not read."""

    model_config = ConfigDict(frozen=True)

    video: str
    caption: str | tuple[str, ...]

    @property
    def captions(self) -> tuple[str, ...]:
        return (self.caption,) if isinstance(self.caption, str) else self.caption


class Moment(BaseModel):
    """{"video": "TAQ25", "time": [11.6, 17.7], "desc_id": 65, "duration": 28.0, "cog_desc", "fig_desc", ...}."""

    model_config = ConfigDict(frozen=True)

    video: str
    time: tuple[FiniteFloat, FiniteFloat]
    desc_id: int
    duration: float = Field(gt=0, allow_inf_nan=False)
    cog_desc: str
    """Coarse description, that of the set it comes from."""
    fig_desc: str
    """Fine description, by a model."""
    fig_desc_score: float
    """How sure the fine one is, as the noise filter says; below 0 it is likelier wrong than right."""

    def is_apart_from(self, other: "Moment") -> bool:
        """Whether the two moments share no time."""
        return self.time[1] <= other.time[0] or other.time[1] <= self.time[0]


def carebench(ranks_clips: bool) -> Format:
    """Clips with captions: captions to rank for a clip, or clips to rank for a caption, the right one among ten."""

    def read(request: SourceRequest) -> Published:
        """One draft per clip, with its first caption. Clips that share a caption are never candidates together."""
        clips = read_json(request.source, tuple[CaptionedClip, ...])
        captioned = [(clip.video, clip.captions) for clip in clips if clip.captions]
        firsts = [captions[0] for _, captions in captioned]
        videos = {captions[0]: video for video, captions in captioned}
        drafts = []
        for video, captions in captioned:
            rng = random.Random(f"carebench {video}")
            wrong = _sample(firsts, captions, MOST_CANDIDATES - 1, rng)
            fields = _ranked(captions[0], wrong, "other clips", rng)
            if ranks_clips:
                shown = [video if text == captions[0] else videos[text] for text in fields.pop("captions")]
                fields |= {"query": captions[0], "clips": shown, "image": f"sheets/{video}.png", "video": None}
            drafts.append(request.draft(request.own_dataset, video, [video], **fields))
        facts = (
            ("clips without a caption", f"{len(clips) - len(drafts):,}"),
            ("further captions of a clip, not used", f"{sum(len(captions) - 1 for _, captions in captioned):,}"),
            ("captions that another clip has too", f"{_num_shared((text, i) for i, text in enumerate(firsts)):,}"),
        )
        return Published(tuple(drafts), facts)

    return Format(("retrieval",), read)


def verified(name: str, text_of: Callable[[Moment], str]) -> Format:
    """VERIFIED with one of its two descriptions: moments to find by it, or its place among descriptions to tell."""

    def read(request: SourceRequest) -> Published:
        moments = read_json(request.source, tuple[Moment, ...])
        dataset = f"{name}_{request.split_among(VERIFIED_SPLITS)}"
        by_video: dict[str, list[Moment]] = defaultdict(list)
        for moment in moments:
            by_video[moment.video].append(moment)
        texts = [text_of(moment) for moment in moments]
        drafts = []
        for moment in moments:
            fields = (
                _telling(moment, by_video, texts, text_of)
                if request.task == "retrieval"
                else {"query": text_of(moment), "target": {"span": list(moment.time)}}
            )
            videos = [f"{moment.video}{suffix}" for suffix in (*SUFFIXES, "")]
            drafts.append(request.draft(dataset, moment.desc_id, videos, duration_s=moment.duration, **fields))
        shared = _num_shared((text_of(moment), moment.video) for moment in moments)
        facts = (
            ("fine descriptions with a score below 0", f"{sum(moment.fig_desc_score < 0 for moment in moments):,}"),
            ("rows whose text another video has too", f"{shared:,}"),
        )
        return Published(tuple(drafts), facts)

    return Format(("temporal_grounding", "retrieval"), read)


def _telling(
    moment: Moment, by_video: Mapping[str, Sequence[Moment]], texts: Sequence[str], text_of: Callable[[Moment], str]
) -> dict[str, object]:
    """The moment as a clip; wrong are other times of its video where it has such, else nine texts of the set."""
    rng = random.Random(f"verified {moment.desc_id}")
    own = by_video[moment.video]
    apart = [text_of(other) for other in own if other.is_apart_from(moment)]
    wrong = _sample(apart, [text_of(moment)], MOST_CANDIDATES - 1, rng)
    negatives = "time" if wrong else "other videos"
    wrong = wrong or _sample(texts, [text_of(other) for other in own], MOST_CANDIDATES - 1, rng)
    start, end = moment.time
    return {"start_s": start, "end_s": min(end, moment.duration), **_ranked(text_of(moment), wrong, negatives, rng)}


def _sample(texts: Sequence[str], without: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """At most `count` texts in random order, no two alike but for capitals and punctuation, none like `without`."""
    met = {parse_words(text) for text in without}
    chosen: list[str] = []
    for text in rng.sample(texts, min(len(texts), 4 * count + len(without))):
        if len(chosen) < count and parse_words(text) not in met:
            met.add(parse_words(text))
            chosen.append(text)
    return chosen


def _ranked(right: str, wrong: Sequence[str], negatives: str, rng: random.Random) -> dict[str, Any]:
    """Fields of a row with one right caption, at a random place."""
    captions = list(wrong)
    captions.insert(rng.randint(0, len(wrong)), right)
    relevance = [int(caption is right) for caption in captions]
    return {"captions": captions, "target": {"relevance": relevance, "negatives": negatives}}


def _num_shared(texts_of: Iterable[tuple[str, object]]) -> int:
    """Number of (text, owner) pairs whose text has another owner too."""
    counts: Counter[tuple[str, ...]] = Counter()
    owners: dict[tuple[str, ...], set[object]] = defaultdict(set)
    for text, owner in texts_of:
        counts[parse_words(text)] += 1
        owners[parse_words(text)].add(owner)
    return sum(count for words, count in counts.items() if len(owners[words]) > 1)


FORMATS = {
    "carebench": carebench(ranks_clips=False),
    "carebench_clips": carebench(ranks_clips=True),
    "verified": verified("verified", lambda moment: moment.fig_desc),
    "verified_coarse": verified("verified_coarse", lambda moment: moment.cog_desc),
}
