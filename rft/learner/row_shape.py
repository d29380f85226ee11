"""How groups lie in a packed row of tokens."""

from dataclasses import dataclass

Run = tuple[int, int]
"""Start and stop of tokens in a row."""


@dataclass(frozen=True, slots=True)
class GroupShape:
    """Tokens of a group in its row: `num_prefix` that all its completions see, then each completion's."""

    num_prefix: int
    lengths: tuple[int, ...]
    num_shared: int = 0
    """Tokens at the start of the last group before it that shares none, which all of this group see too."""

    def __len__(self) -> int:
        return self.num_prefix + sum(self.lengths)
