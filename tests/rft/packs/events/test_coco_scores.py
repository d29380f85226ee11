"""SODA_c, METEOR and CIDEr: what is held against what, by hand-written scorers; and by the library where it is."""

import json
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from rft.__main__ import main
from rft.errors import DataError
from rft.packs.events.coco_scores import UNMATCHED, Pairs, coco_scores, dense_scores
from rft.packs.events.matching import Event
from rft.packs.events.targets import TimedCaptionsTarget
from rft.packs.events.tasks import TimedCaptions

STEPS = TimedCaptionsTarget((((0.0, 4.0), "cut the onion"), ((4.0, 8.0), "fry it")), duration_s=8.0)
TRUE: list[Event] = list(STEPS.events)


def said(text: str) -> str:
    return f"<answer>{text}</answer>"


def first_in_second(pairs: Pairs) -> tuple[float, Sequence[float]]:
    """Share of the first caption's words that the second has: not the same the other way round."""
    each = [sum(word in other.split() for word in text.split()) / len(text.split()) for text, other in pairs]
    return sum(each) / len(each), each


def number_of_pairs(pairs: Pairs) -> float:
    return float(len(pairs))


@pytest.mark.parametrize(
    ("answered", "soda", "meteor", "cider"),
    [
        (TRUE, 1.0, 1.0, 2.0),
        ([], 0.0, 0.0, 0.0),
        # SODA_c: 2 of the true caption's 3 words are answered; METEOR: all of the answered words are true.
        ([((0.0, 4.0), "the onion")], 2 * (2 / 3) / 3, 1.0, 1.0),
        # Half of its time is each true event's: two pairs at .3 and .5, none from .7 on. SODA_c takes one of them.
        ([((0.0, 8.0), "fry it now")], 2 * 0.5 / 3, (1 / 3 + 1 / 3 + 0 + 0) / 4, (2 + 2 + 1 + 1) / 4),
        ([((9.0, 10.0), "fry it")], 0.0, 0.0, 1.0),
        # Matched in order of time, whatever the order of the answer.
        (TRUE[::-1], 1.0, 1.0, 2.0),
    ],
)
def test_what_is_held_against_what(answered: list[Event], soda: float, meteor: float, cider: float) -> None:
    scores = dense_scores(answered, TRUE, first_in_second, number_of_pairs)
    assert scores == pytest.approx({"SODA_c": soda, "METEOR": meteor, "CIDEr": cider})


def test_an_event_that_fits_none_is_held_against_words_of_no_caption() -> None:
    seen: list[Pairs] = []

    def cider(pairs: Pairs) -> float:
        seen.append(pairs)
        return 0.0

    dense_scores([((9.0, 10.0), "fry it")], TRUE, first_in_second, cider)
    assert seen == [[("fry it", UNMATCHED)]] * 4


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)
    with pytest.raises(DataError, match="extra `coco-scores`"):
        coco_scores([(said("0 - 4, cut"), STEPS)])


def test_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra coco-scores")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="`java` on the PATH"):
        coco_scores([(said("0 - 4, cut"), STEPS)])


class DeadMeteor:
    """The library's METEOR whose Java has ended: it keeps its lock where it raises."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def compute_score(self, true: object, answered: object) -> None:
        self.lock.acquire()
        raise BrokenPipeError


class Words:
    """The library's tokenizer; of captions of one letter it knows none, as if Java had ended."""

    def tokenize(self, captions: dict[int, list[dict[str, str]]]) -> dict[int, list[str]]:
        return {i: [one["caption"]] for i, (one,) in captions.items() if len(one["caption"]) > 1}


@pytest.mark.parametrize(("text", "says"), [("0 - 4, cut", "METEOR's Java"), ("0 - 4, x", "tokenizer: Java ended")])
def test_java_that_ends_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, says: str) -> None:
    dead = DeadMeteor()
    fakes = {"cider.cider": ("Cider", object), "meteor.meteor": ("Meteor", lambda: dead)}
    for name, (scorer, fake) in (fakes | {"tokenizer.ptbtokenizer": ("PTBTokenizer", Words)}).items():
        module = ModuleType(name)
        setattr(module, scorer, fake)
        monkeypatch.setitem(sys.modules, f"pycocoevalcap.{name}", module)
    (tmp_path / "java").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=says):
        coco_scores([(said(text), STEPS)])
    assert not dead.lock.locked()


def test_scores_of_the_library() -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra coco-scores")
    if shutil.which("java") is None:
        pytest.skip("no java")
    # Ends of a line that Java knows, the sign that divides METEOR's input, half a character,
    # an event without words.
    odd = "0 - 4, Cut\u2028the ||| onion \x85\ud800! 4 - 8, ."
    texts = ["0 - 4, Cut the onion. 4 - 8, fry it", "0 - 4, fry it. 4 - 8, cut the onion.", "soon", odd]
    right, crossed, unread, strange = coco_scores([(said(text), STEPS) for text in texts])
    # Two captions with words of their own: the first has n-grams of up to three words, the second of up to two.
    assert right["CIDEr"] == pytest.approx(10 * (3 / 4 + 2 / 4) / 2)
    assert right["SODA_c"] == pytest.approx(1.0)
    assert 0.9 < right["METEOR"] <= 1
    assert set(crossed.values()) == set(unread.values()) == {0.0}
    assert 0 < strange["SODA_c"] < right["SODA_c"]


def test_further_metrics_are_printed_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lengths(judged: Sequence[tuple[str, object]]) -> list[dict[str, float]]:
        return [{"length": float(len(completion))} for completion, _ in judged]

    monkeypatch.setattr(TimedCaptions, "more_metrics", {"lengths": lengths})
    lines = [{"id": "a", "completion": "four"}, {"id": "b", "completion": "never said", "finish_reason": "error"}]
    path = tmp_path / "answers.jsonl"
    of_task = {"task": "timed_captions", "target": STEPS.to_json()}
    path.write_text("".join(json.dumps(line | of_task) + "\n" for line in lines))
    assert main(["eval", "--predictions", str(path), "--also", "lengths", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["eval"]["timed_captions"]["greedy"]
    assert (figures["length"], figures["SODA_d"]) == (2.0, 0.0)
    assert main(["eval", "--predictions", str(path), "--also", "widths"]) == 2
    assert "'widths' is not measured for timed_captions; there is lengths" in capsys.readouterr().err
