"""A mask as one integer, a bit per pixel, and COCO's run-length code of it. Standard library only."""

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_PIXELS = 1 << 26
"""Upper limit of a mask's height times width."""

_RUNS = re.compile("0++|1++")


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of an object in a frame, column by column as in COCO: the first pixel is the highest bit."""

    height: int
    width: int
    bits: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.bits.bit_count()

    def runs(self) -> list[tuple[int, int]]:
        """(start, end) of each run of pixels in COCO's order, the end excluded."""
        text = format(self.bits, f"0{self.height * self.width}b")
        return [run.span() for run in _RUNS.finditer(text) if text[run.start()] == "1"]

    def has(self, row: int, column: int) -> bool:
        """Whether a pixel of the frame belongs to the mask."""
        return bool(self.bits >> (self.height * self.width - 1 - column * self.height - row) & 1)


def mask_of_runs(height: int, width: int, runs: Iterable[tuple[int, int]]) -> Mask:
    """Mask of (start, end) runs in COCO's order, which must ascend and not overlap; empty runs are allowed."""
    parts, at = [], 0
    for start, end in runs:
        parts += ["0" * (start - at), "1" * (end - start)]
        at = end
    parts.append("0" * (height * width - at))
    return Mask(height, width, int("".join(parts), 2))


def empty_mask(height: int, width: int) -> Mask:
    return Mask(height, width, 0)


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as rows store it: run lengths in COCO's compressed text, the first of zeros."""

    height: int
    width: int
    counts: str

    def to_json(self) -> dict[str, object]:
        return {"size": [self.height, self.width], "counts": self.counts}


def rle_of(mask: Mask) -> Rle:
    edges = [0, *itertools.chain.from_iterable(mask.runs()), mask.height * mask.width]
    counts = [later - edge for edge, later in itertools.pairwise(edges)]
    # A mask that ends in its last pixel has no run of zeros after it.
    return Rle(mask.height, mask.width, compressed(counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts))


@functools.lru_cache(maxsize=256)
def mask_of(rle: Rle) -> Mask:
    """The mask of a run-length code; codes are read from outside by `read_rle`, which checks them."""
    edges = [0, *itertools.accumulate(decompressed(rle.counts))]
    return mask_of_runs(rle.height, rle.width, zip(edges[1::2], edges[2::2], strict=False))


def read_rle(data: object) -> Rle:
    """Run-length code from COCO's JSON form {"size": [height, width], "counts": text or list}. ValueError: no such."""
    if not isinstance(data, dict) or not {"size", "counts"} <= data.keys():
        raise ValueError('is not {"size": [height, width], "counts": ...}')
    size, counts = data["size"], data["counts"]
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        raise ValueError("size is not [height, width]")
    pixels = size[0] * size[1]
    if pixels > MOST_PIXELS:
        raise ValueError(f"{size[0]} x {size[1]} pixels are more than {MOST_PIXELS:,}")
    if isinstance(counts, str):
        lengths = decompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        lengths = counts
    else:
        raise ValueError("counts is neither COCO's text nor a list of run lengths")
    if min(lengths, default=0) < 0 or sum(lengths) != pixels:
        raise ValueError(f"counts add up to {sum(lengths):,} pixels, size to {pixels:,}")
    return Rle(size[0], size[1], counts if isinstance(counts, str) else compressed(lengths))


def compressed(counts: Sequence[int]) -> str:
    """COCO's text of run lengths.

    From the fourth on, the difference to the count two before. Five bits of a number a character, the lowest first;
    the sixth says that more follow.
    """
    characters = []
    for i, count in enumerate(counts):
        left = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            five, left = left & 31, left >> 5
            more = left != (-1 if five & 16 else 0)
            characters.append(chr(48 + (five | 32 if more else five)))
    return "".join(characters)


def decompressed(text: str) -> list[int]:
    """Run lengths of COCO's text. ValueError: no such text."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        six = ord(character) - 48
        if not 0 <= six < 64 or shift > 60:
            raise ValueError(f"counts hold {character!r}, which no COCO text does" if shift <= 60 else "endless count")
        value |= (six & 31) << shift
        shift += 5
        if not six & 32:
            value -= (six & 16) << shift - 4
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("counts end in the middle of a number")
    return counts
