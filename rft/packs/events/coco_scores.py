"""SODA_c, METEOR and CIDEr of events with captions, as papers report them: by pycocoevalcap, whose jars need Java.

Java starts once for the words of all captions and once for METEOR, so all answers are measured together.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rewards.geometry import interval_iou
from rewards.parsing import answer_text, parse_timed_texts
from rft.errors import DataError
from rft.packs.events.matching import DENSE_THRESHOLDS, Event, caption_pairs, iou_times, ordered_f1
from rft.packs.events.reading import MOST_EVENTS
from rft.packs.events.targets import TimedCaptionsTarget

MOST_WORDS = 200
"""Words of a caption that count: METEOR takes a minute for one word said a thousand times."""

UNMATCHED = "qxzvkjwpyqxzvkjw"
"""Stands for a true caption where there is none; released code draws letters, which no caption has either."""

Pairs = Sequence[tuple[str, str]]
"""(caption, caption that it is held against), as words with blanks between them."""
Meteor = Callable[[Pairs], tuple[float, Sequence[float]]]
"""METEOR of the pairs taken as one text, and of each, in [0, 1]."""
Cider = Callable[[Pairs], float]
"""CIDEr of the pairs, in [0, 10]; how rare a word is follows from these pairs alone."""


def coco_scores(judged: Sequence[tuple[str, TimedCaptionsTarget]]) -> list[dict[str, float]]:
    """SODA_c, METEOR and CIDEr of each (completion, target); see `dense_scores`.

    DataError: pycocoevalcap or Java is missing, or Java ended.
    """
    tokenizer, meteor, cider = _scorers()
    answers = [(parse_timed_texts(answer_text(completion) or "") or ())[:MOST_EVENTS] for completion, _ in judged]
    targets = [target.events for _, target in judged]
    words = _words(tokenizer, (text for events in (*answers, *targets) for _, text in events))
    scores = []
    for answered, true in zip(answers, targets, strict=True):
        said = [(span, words[text]) for span, text in answered]
        scores.append(dense_scores(said, [(span, words[text] or UNMATCHED) for span, text in true], meteor, cider))
    return scores


def dense_scores(answered: Sequence[Event], true: Sequence[Event], meteor: Meteor, cider: Cider) -> dict[str, float]:
    """SODA_c and METEOR in [0, 1] and CIDEr in [0, 10] of one video, a hundredth of what papers print.

    SODA_c matches in order of time by IoU times METEOR, which gets the true caption as the one to judge, as released
    code has it. METEOR and CIDEr: of the `caption_pairs` at each of `DENSE_THRESHOLDS`, the mean. No answer: 0.
    Source: VidChapters and TimeChat, whose figures these are.
    """
    near = {(text, words) for span, text in answered for other, words in true if interval_iou(span, other) > 0}
    held = sorted(near)
    likeness = dict(zip(held, meteor([(words, text) for text, words in held])[1], strict=True)) if held else {}
    paired = [
        [(text, UNMATCHED if words is None else words) for text, words in caption_pairs(answered, true, threshold)]
        for threshold in DENSE_THRESHOLDS
    ]
    return {
        "SODA_c": ordered_f1(answered, true, iou_times(lambda text, words: likeness[text, words])),
        "METEOR": sum(meteor(pairs)[0] for pairs in paired if pairs) / len(paired),
        "CIDEr": sum(cider(pairs) for pairs in paired if pairs) / len(paired),
    }


def _scorers() -> tuple[Any, Meteor, Cider]:
    """The library's tokenizer, its METEOR with a Java process that ends with it, and its CIDEr."""
    try:
        from pycocoevalcap.cider.cider import Cider as CocoCider
        from pycocoevalcap.meteor.meteor import Meteor as CocoMeteor
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError as error:
        raise DataError("pycocoevalcap is not installed. Install rft with its extra `coco-scores`.") from error
    if shutil.which("java") is None:
        raise DataError("METEOR needs `java` on the PATH, and there is none. Install a Java runtime.")
    process, rarity = CocoMeteor(), CocoCider()

    def meteor(pairs: Pairs) -> tuple[float, Sequence[float]]:
        try:
            score, scores = process.compute_score(*_by_number(pairs))
        except (OSError, ValueError) as error:
            raise DataError("METEOR's Java process ended. It takes 1.4 GB of memory.") from error
        finally:
            # The library keeps its lock where it raises, and waits for it for ever when it closes the process.
            if process.lock.locked():
                process.lock.release()
        return float(score), scores

    return PTBTokenizer(), meteor, lambda pairs: float(rarity.compute_score(*_by_number(pairs))[0])


def _by_number(pairs: Pairs) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """What the captions are held against, and the captions, in the library's form."""
    return {i: [other] for i, (_, other) in enumerate(pairs)}, {i: [text] for i, (text, _) in enumerate(pairs)}


def _words(tokenizer: Any, captions: Iterable[str]) -> Mapping[str, str]:
    """Caption -> its words in small letters, without punctuation, at most `MOST_WORDS` of them."""
    texts = list(dict.fromkeys(captions))
    # The tokenizer reads a caption a line of UTF-8, and Java has more ends of a line than one.
    plain = [" ".join(text.split()).encode(errors="replace").decode() for text in texts]
    lines = {i: [{"caption": caption}] for i, caption in enumerate(plain)}
    try:
        tokenized = tokenizer.tokenize(lines)
    except OSError as error:
        raise DataError(f"pycocoevalcap's tokenizer: {error}. It writes into the folder that it lies in.") from error
    if len(tokenized) != len(texts):
        raise DataError("pycocoevalcap's tokenizer: Java ended early.")
    return {text: " ".join(tokenized[i][0].split()[:MOST_WORDS]) for i, text in enumerate(texts)}
