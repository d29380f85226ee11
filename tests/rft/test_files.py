"""Reading of JSON lines: what is refused, and how it is named."""

import json
from pathlib import Path

import pytest

from rft.files import parse_json, read_jsonl, write_records


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" : 1, "a"\t: 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": "x: y", "a": "z"}',
        '{"a": "z", "a": "x: y"}',
        '{"a": {"c": 1}, "a": 2}',
        '{"a": 1, "a": 2, "b": "\\u003a"}',
        '{"a": 1, "a": 2, "b": ["\\u003a"]}',
        '[{"a": 1, "a": 2}]',
    ],
)
def test_a_key_written_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^key '[ab]' is written twice$"):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}',
        '{"a:b": "c: d", "e": [":", "f"], "g": "\\u003a \\":"}',
        '{"a": "\\ud800", "b": 1e400, "c": -0.0, "d": 123456789012345678901234567890}',
        "[]",
        '""',
        "{}",
    ],
)
def test_all_else_is_read_as_by_the_standard_library(text: str) -> None:
    assert repr(parse_json(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is not a number JSON allows"),
        ('{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
        ('{"a":\n1', "not JSON: Expecting ',' delimiter at line 2, column 2"),
    ],
)
def test_what_is_not_json_is_reported_with_its_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_json(text)


def test_lines_are_reported_by_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "x\xe2\x80\xa8y"} \r\n\n[1]\n{"a": 1, "a": 1}\n{"b": 2}\n\xff\n{"c": 3}')
    problems: list[str] = []
    lines = list(read_jsonl(path, problems))
    assert [(line.where, line.value) for line in lines] == [(f"{path}:1", {"a": "x\u2028y"}), (f"{path}:5", {"b": 2})]
    assert lines[0].text == '{"a": "x\u2028y"}'
    assert problems == [
        f"{path}:3: a row is a JSON object, not list",
        f"{path}:4: key 'a' is written twice",
        f"{path}:6: not UTF-8 text, at byte 0 of the line",
    ]


def test_compressed_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.zst"
    write_records(path, [{"a": 1}, {"b": "\u2028"}])
    problems: list[str] = []
    assert [line.value for line in read_jsonl(path, problems)] == [{"a": 1}, {"b": "\u2028"}]
    path.write_bytes(path.read_bytes()[:-3])
    assert not list(read_jsonl(path, problems))
    assert not list(read_jsonl(tmp_path / "gone.jsonl", problems))
    assert problems == [
        f"{path}: cannot be read: the file is cut short",
        f"{tmp_path / 'gone.jsonl'}: cannot be read: No such file or directory",
    ]
