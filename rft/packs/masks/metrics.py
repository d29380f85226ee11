"""Two masks -> numbers: region overlap J and boundary agreement F of DAVIS, each in [0, 1].

Source: Perazzi et al., CVPR 2016, and the released evaluation of DAVIS 2017, which MeViS, ReVOS and ReasonVOS use.
"""

import functools
import math

from rft.packs.masks.mask import Mask

TOLERANCE = 0.008
"""Distance at which boundary pixels still agree, as a share of the frame's diagonal; rounded up to whole pixels."""


def region_overlap(answered: Mask, true: Mask) -> float:
    """J: intersection over union of the pixels; 1 if both masks are empty."""
    union = (answered.bits | true.bits).bit_count()
    return (answered.bits & true.bits).bit_count() / union if union else 1.0


def boundary_agreement(answered: Mask, true: Mask, *, as_published: bool = False) -> float:
    """F: harmonic mean of the shares of each boundary that lies near the other one; 1 if neither has a boundary.

    A mask that fills the frame has no boundary. The released code gives it F 1 where nothing is to be seen: 0 here,
    unless `as_published`.
    """
    if not as_published and (answered.area == 0) != (true.area == 0):
        return 0.0
    height, width = true.size
    radius = math.ceil(TOLERANCE * math.hypot(height, width))
    answered_edge, true_edge = boundary(answered), boundary(true)
    if not answered_edge or not true_edge:
        return float(answered_edge == true_edge)
    near_true = (answered_edge & dilated(true_edge, height, width, radius)).bit_count()
    near_answered = (true_edge & dilated(answered_edge, height, width, radius)).bit_count()
    precision, recall = near_true / answered_edge.bit_count(), near_answered / true_edge.bit_count()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Mask) -> int:
    """Bits of the pixels that differ from their right, lower or lower right neighbour.

    In the last row only the right one counts, in the last column only the lower one, in the last pixel none.
    """
    height, width = mask.size
    bits, every = mask.bits, (1 << height * width) - 1
    inner_rows, inner_columns = but_last_rows(height, width, 1), every ^ ((1 << height) - 1)
    right, lower = bits << height & every, bits << 1 & inner_rows
    lower_right = right << 1 & inner_rows
    corner_free = inner_rows & inner_columns
    inner = (bits ^ right | bits ^ lower | bits ^ lower_right) & corner_free
    return inner | (bits ^ right) & inner_columns & ~inner_rows | (bits ^ lower) & inner_rows & ~inner_columns


def dilated(bits: int, height: int, width: int, radius: int) -> int:
    """Bits of the pixels with a pixel of `bits` at a distance of at most `radius`."""
    every = (1 << height * width) - 1
    reach = [bits]
    for k in range(1, radius + 1):
        up, down = bits << k & but_last_rows(height, width, k), bits >> k & but_first_rows(height, width, k)
        reach.append(reach[-1] | up | down)
    result = reach[radius]
    for k in range(1, radius + 1):
        column = reach[math.isqrt(radius * radius - k * k)]
        result |= column << k * height & every | column >> k * height
    return result


def eroded(bits: int, height: int, width: int) -> int:
    """Bits of the pixels whose four neighbours belong to `bits` too; none has neighbours beyond the frame."""
    lower, upper = bits << 1 & but_last_rows(height, width, 1), bits >> 1 & but_first_rows(height, width, 1)
    return bits & lower & upper & bits << height & bits >> height


@functools.lru_cache(maxsize=64)
def but_last_rows(height: int, width: int, k: int) -> int:
    """Bits of all pixels but those of the last `k` rows."""
    k = min(k, height)
    return int(("1" * (height - k) + "0" * k) * width, 2)


@functools.lru_cache(maxsize=64)
def but_first_rows(height: int, width: int, k: int) -> int:
    """Bits of all pixels but those of the first `k` rows."""
    k = min(k, height)
    return int(("0" * k + "1" * (height - k)) * width, 2)
