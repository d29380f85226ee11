import pytest

from rft.__main__ import main
from rft.commands.eval.request import parse_shard
from rft.errors import RecipeError


@pytest.mark.parametrize(
    "arguments",
    [
        ["m", "--baseline", "all"],
        ["--data", "r.jsonl"],
        ["--baseline", "all"],
        ["--predictions", "p", "--shard", "0/2"],
        ["model", "--data", "d", "--also", "coco_scores"],
    ],
)
def test_the_ways_to_evaluate_exclude_each_other(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", *arguments])
    assert "usage: rft eval" in capsys.readouterr().err


def test_shards_are_parsed_and_nonsense_refused() -> None:
    assert parse_shard("7/8") == (7, 8)
    for text in ("8/8", "1", "-1/2", "a/b", "0/0", ""):
        with pytest.raises(RecipeError, match="not I/N"):
            parse_shard(text)
