"""Rewards about events on odd and telling answers, by hand-worked numbers."""

import json
import sys
import time
from typing import Any

import pytest
from chat_server import chat_server, verdicts
from hypothesis import given
from hypothesis import strategies as st

from rewards.judge import JudgeError
from rft.errors import RewardError
from rft.packs.events import published, text_scores
from rft.packs.events.matching import (
    average_precision,
    caption_score,
    iou_of,
    mean_f1,
    ordered_f1,
    seconds_f1,
    word_f1,
)
from rft.packs.events.reading import answered_order, answered_saliency, answered_spans, answered_time
from rft.packs.events.rewards import (
    best_iou,
    caption_chrf,
    event_captions,
    event_chrf,
    event_judged,
    event_times,
    moment_nearness,
    paired_giou,
    saliency_ap,
    seconds_overlap_f1,
    span_set_f1,
)
from rft.packs.events.targets import (
    AnyOfTarget,
    MomentTarget,
    SaliencyTarget,
    SpansTarget,
    TimedCaptionsTarget,
)

TWO = SpansTarget(((0.0, 4.0), (6.0, 8.0)), duration_s=10.0)
ANY = AnyOfTarget(((0.0, 4.0), (6.0, 8.0)), duration_s=10.0)
MOMENT = MomentTarget(((6.0, 8.0),), duration_s=20.0)
STEPS = TimedCaptionsTarget((((0.0, 4.0), "cut the onion"), ((4.0, 8.0), "fry it")), duration_s=8.0)
SALIENT = SaliencyTarget(2.0, ((0.0, 0.0), (4.0, 3.0), (1.0, 0.0), (4.0, 2.0)))

ALL = [(span_set_f1, TWO), (seconds_overlap_f1, TWO), (best_iou, ANY), (moment_nearness, MOMENT), (event_times, STEPS),
       (paired_giou, TWO), (event_captions, STEPS), (event_judged, STEPS), (saliency_ap, SALIENT),
       (published.span_set_f1, TWO), (published.best_iou, ANY), (published.moment_nearness, MOMENT)]  # fmt: skip


def said(text: str) -> str:
    return f"<answer>{text}</answer>"


@pytest.mark.parametrize(
    ("text", "f1", "seconds", "released"),
    [
        ("0 - 4, 6 - 8", 1.0, 1.0, 1.0),
        ("6 to 8 seconds; 0 to 4 seconds", 1.0, 1.0, 1.0),
        ("[(0, 4), (6, 8)]", 1.0, 1.0, 0.0),
        ("0 - 4", 2 / 3, 0.8, 2 / 3),
        # Once more each: the released F1 does not see it.
        ("0 - 4, 0 - 4, 6 - 8, 6 - 8", 2 / 3, 1.0, 1.0),
        # The whole clip: IoU 0.4 with the first span, which reaches .1 and .3, and 0.2 with the second.
        ("0 - 10", 2 * 0.4 / 3, 12 / 16, (1.0 + 2 / 3) / 4),
        ("none", 0.0, 0.0, 0.0),
        ("0:00 - 0:04", 2 / 3, 0.8, 0.0),
        ("4 - 0", 0.0, 0.0, 2 / 3),
        ("0s - 4s", 2 / 3, 0.8, 0.0),
        ("0 - 1 - 2", 0.0, 0.0, 0.5 / 4 * 4 / 3),
    ],
)
def test_spans_of_an_event(text: str, f1: float, seconds: float, released: float) -> None:
    assert span_set_f1(said(text), TWO).value == pytest.approx(f1)
    assert seconds_overlap_f1(said(text), TWO).value == pytest.approx(seconds)
    assert published.span_set_f1(said(text), TWO).value == pytest.approx(released)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 - 4, 6 - 8", 1.0),
        # The gap of 2 s in a hull of 8, and the one of 2 s in a hull of 8.
        ("6 - 8, 0 - 4", (1 - 2 / 8) / 2),
        ("0 - 4", 1 / 2),
        ("6 - 8", (1 - 2 / 8) / 2 / 2),
        ("0 - 4, 6 - 8, 9 - 10", 2 / 3),
        ("4 - 0", 0.0),
        ("none", 0.0),
    ],
)
def test_spans_paired_as_written(text: str, value: float) -> None:
    assert paired_giou(said(text), TWO).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "iou", "fault"),
    [
        ("6 - 8", 1.0, None),
        ("0 - 2", 0.5, None),
        ("0 - 4, 6 - 8", 0.0, "wrong_count"),
        ("12 - 14", 0.0, "out_of_range"),
        ("soon", 0.0, "unreadable"),
    ],
)
def test_one_of_several_spans(text: str, iou: float, fault: str | None) -> None:
    score = best_iou(said(text), ANY)
    assert (score.value, score.fault) == (iou, fault)


@pytest.mark.parametrize(
    ("text", "value", "released"),
    [
        ("7", 1.0, 1.0),
        ("at 6.0 seconds", 1.0, 1.0),
        ("0:07", 1.0, 0.0),
        # Two seconds away, of five at which nothing is earned.
        ("10", 0.6, 0.0),
        ("13", 0.0, 0.0),
        ("21", 0.0, 0.0),
        ("frame 3 at 7", 0.0, 0.0),
        ("6 - 8", 0.0, 1.0),
        ("-7", 0.0, 0.0),
        ("7..", 1.0, 1.0),
        ("", 0.0, 0.0),
    ],
)
def test_a_moment(text: str, value: float, released: float) -> None:
    assert moment_nearness(said(text), MOMENT).value == pytest.approx(value)
    assert published.moment_nearness(said(text), MOMENT).value == released


def test_a_moment_without_the_clips_length_is_hit_or_missed() -> None:
    assert moment_nearness(said("9"), MomentTarget(((6.0, 8.0),))).value == 0.0
    assert moment_nearness(said("9"), MOMENT, reach=0.0).value == 0.0
    assert moment_nearness(said("7"), MOMENT, reach=0.0).value == 1.0


@pytest.mark.parametrize(
    ("text", "times", "captions"),
    [
        ("0 - 4, cut the onion. 4 - 8, fry it.", 1.0, 1.0),
        ("0 - 4 seconds: cut onion\n4 - 8 seconds: fry it", 1.0, (0.8 + 1.0) / 2),
        ("0 - 8, cut the onion and fry it.", 2 * 0.5 / 3, 2 * 0.5 * (2 * 3 / 9) / 3),
        ("0 - 4, fry it. 4 - 8, cut the onion.", 1.0, 0.0),
        ("0 - 4", 2 / 3, 0.0),
        ("cut the onion, then fry it", 0.0, 0.0),
    ],
)
def test_events_with_captions(text: str, times: float, captions: float) -> None:
    assert event_times(said(text), STEPS).value == pytest.approx(times)
    assert event_captions(said(text), STEPS).value == pytest.approx(captions)


@pytest.mark.parametrize(
    ("text", "soda", "paired"),
    [
        ("0 - 4, abc. 4 - 8, fry it.", 1.0, 1.0),
        # "ab" for "abc": precision 1; recall 2/3 of single characters, 1/2 of pairs, none of 3 can be asked. F2: 7/11.
        ("0 - 4, ab. 4 - 8, Fry It.", (7 / 11 + 1) / 2, (7 / 11 + 1) / 2),
        ("0 - 4, abc", 2 / 3, 1.0),
        # IoU 0.5 with both, which is not 0.7: one right and one wrong pair at two of four thresholds.
        ("0 - 8, abc", 2 * 0.5 / 3, 0.5 * 0.5),
        ("0 - 4, xyz. 20 - 24, abc.", 0.0, 0.0),
        ("4 - 0, abc", 0.0, 0.0),
        ("abc", 0.0, 0.0),
    ],
)
def test_captions_by_chrf(text: str, soda: float, paired: float) -> None:
    pytest.importorskip("sacrebleu", reason="the extra text-scores")
    target = TimedCaptionsTarget((((0.0, 4.0), "abc"), ((4.0, 8.0), "fry it")))
    assert event_chrf(said(text), target).value == pytest.approx(soda)
    assert caption_chrf(said(text), target).value == pytest.approx(paired)


def test_captions_by_a_judge() -> None:
    # The first caption overlaps both true events, with IoU 1 and 1/3; the second the latter alone, with IoU 2/3.
    answer = said("0 - 6, he slices onions. 0 - 4, he slices onions. 6 - 8, in a pan")
    two = TimedCaptionsTarget((((0.0, 6.0), "cut the onion"), ((4.0, 7.0), "fry it")), duration_s=8.0)
    asks = {"judge": "model", "judge_model": "m", "judge_retries": 0}
    with chat_server(verdicts(lambda caption, true: (caption, true) == ("he slices onions", "cut the onion"))) as chat:
        score = event_judged(answer, two, **asks, judge_url=chat.url)
        assert score.value == pytest.approx(2 * 1 / 5)
        assert score.note == "3 events for 2; 3 requests, 300 + 30 tokens"
        assert [len(verdict["events"]) for verdict in map(asked, chat.bodies)] == [2, 1, 1]
    with pytest.raises(JudgeError, match="gave no answer"):
        event_judged(answer, two, **asks, judge_url="http://127.0.0.1:9/v1")
    assert event_judged(said("0 - 6, he cuts an onion; 4 - 7, sleep"), two).value == pytest.approx(2 * 1 / 4)


def asked(body: dict[str, Any]) -> dict[str, Any]:
    """Caption and true captions of a request to the judge."""
    material: dict[str, Any] = json.loads(body["messages"][1]["content"])
    return material


def test_captions_are_compared_where_spans_fit() -> None:
    true = [((0.0, 4.0), "a"), ((0.0, 8.0), "b")]
    same = [((0.0, 4.0), "a")]
    # At .3 and .5 a pair for each true event, at .7 and .9 the right one alone.
    assert caption_score(same, true, lambda text, other: float(text == other)) == (0.5 + 0.5 + 1 + 1) / 4
    # Repeats do not cost, an event that fits none does.
    assert caption_score(same * 2, true[:1], lambda text, other: 1.0) == 1.0
    assert caption_score([*same, ((8.0, 9.0), "b")], true[:1], lambda text, other: 1.0) == 0.5
    assert caption_score([], true, lambda text, other: 1.0) == 0.0


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    text_scores.chrf.cache_clear()
    with pytest.raises(RewardError, match=r"sacrebleu is not installed\..*extra `text-scores`"):
        event_chrf(said("0 - 4, cut the onion"), STEPS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Highlights: parts 1 and 3 of the first annotator, part 1 of the second.
        ("2: 4, 6: 3", 1.0),
        ("2.0: 4, 6.0: 4", (1.0 + 0.5) / 2),
        # All parts equal: one level of recall.
        ("0: 1, 2: 1, 4: 1, 6: 1", (0.5 + 0.25) / 2),
        # The wrong part first: precision 1/2 and 2/3, made non-increasing, for the first annotator.
        ("4: 4, 2: 3, 6: 2", (2 / 3 + 0.5) / 2),
        ("99: 4", (0.5 + 0.25) / 2),
        ("the middle", 0.0),
    ],
)
def test_saliency(text: str, value: float) -> None:
    assert saliency_ap(said(text), SALIENT).value == pytest.approx(value)


def test_average_precision_of_ties() -> None:
    assert average_precision([True, True, True, False, False], [2, 1, 1, 1, 0]) == pytest.approx(0.875)
    assert (average_precision([True, True], [0, 0]), average_precision([False, False], [1, 0])) == (1.0, 0.0)


def test_matching_keeps_the_order_of_time() -> None:
    crossed = [((0.0, 2.0), "b"), ((2.0, 4.0), "a")]
    true = [((0.0, 2.0), "a"), ((2.0, 4.0), "b")]
    assert ordered_f1(crossed, true, lambda event, other: float(event[1] == other[1])) == 0.5
    assert ordered_f1(crossed, true, iou_of) == 1.0
    assert (ordered_f1([], [], iou_of), ordered_f1([], true, iou_of)) == (1.0, 0.0)


def test_words_and_seconds() -> None:
    assert word_f1("cut the onion", "Cut the onion!") == 1.0
    assert word_f1("cut cut cut", "cut the onion") == pytest.approx(1 / 3)
    assert word_f1("", "") == 0.0
    assert seconds_f1([(0, 2), (1, 3)], [(0, 3)]) == 1.0
    assert mean_f1([(0.0, 4.0)], [(0.0, 4.0)], (0.5,), strictly=True) == 1.0
    assert mean_f1([(0.0, 2.0)], [(0.0, 4.0)], (0.5,), strictly=True) == 0.0


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("10.2 - 12.8 seconds", [(10.2, 12.8)]),
        ("5.0s - 9.0s", []),
        ("between 3 and 9", []),
        ("00:10 - 00:20", [(0.0, 10.0)]),
        ("-5 - 9", [(5.0, 9.0)]),
        ("12.. - 14", []),
        ("9 to 3", [(3.0, 9.0)]),
        ("it starts at 3!\nit ends at 9", [(3.0, 9.0)]),
        ("3  to\n9", []),
        ("3  to \n9", [(3.0, 9.0)]),
        ("on weekend 3, 4!\nwith a friend 9.5", [(3.0, 9.5)]),
        ("it starts at 0:00:03!\nit ends at 0:00:09", [(0.0, 0.0)]),
        ("at 0:00:03 and 0:00:09", []),
    ],
)
def test_what_the_released_code_reads(text: str, spans: list[tuple[float, float]]) -> None:
    assert published.released_spans(text) == spans


@given(st.text(max_size=60) | st.text("0123456789.:- ,toands()[]<>=\n", max_size=60), st.booleans())
def test_no_text_raises_or_leaves_the_range(text: str, in_tags: bool) -> None:
    for reward, target in ALL:
        score = reward(said(text) if in_tags else text, target)
        assert 0.0 <= score.value <= 1.0
    answered_spans(text), answered_time(text), answered_order(text), answered_saliency(text, 2.0, 4)


@pytest.mark.parametrize("piece", ["1 - 2, ", "1", "1: 2, ", "- ", "a. ", "1 to ", "[(1, 2), ", "then "])
def test_long_texts_take_no_time(piece: str) -> None:
    text = said(piece * (1_000_000 // len(piece)))
    spent_s = time.process_time()
    for reward, target in ALL:
        reward(text, target)
    assert time.process_time() - spent_s < 2


def test_no_blind_constant_earns_all() -> None:
    for text in ("0 - 10", "0 - 4, 6 - 8, " * 40, "0 - 4, cut. " * 40):
        assert span_set_f1(said(text), TWO).value < 0.5
        assert event_captions(said(text), STEPS).value < 0.5
