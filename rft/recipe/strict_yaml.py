"""Strict YAML: scalars by the YAML 1.2 core schema; a key written twice is an error.

PyYAML alone reads `1e-6` as text, `1:30` as 90 and `no` as false, and keeps the last of two equal keys silently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from rft.errors import Problem
from rft.recipe.section import KeyPath

_INT = re.compile(r"[-+]?[0-9]+$")
_BASED_INT = re.compile(r"0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_CONSTANTS: Mapping[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True)
class Document:
    """Parsed YAML text: its data, the line of each key, and the problems."""

    data: object = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Line of each key, from 1."""
    problems: list[Problem] = field(default_factory=list)


class _Composer(yaml.SafeLoader):
    """Loader that refuses aliases and tags: an alias repeats a value, a tag changes the type of a scalar."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            mark: Any = event.start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        if event.tag not in (None, "!"):
            raise yaml.composer.ComposerError(None, None, "tags (!name) are not supported", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def parse_scalar(text: str) -> object:
    """The value of an unquoted scalar: None, bool, int, float or the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.match(text):
        return int(text)
    if _BASED_INT.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITE.match(text):
        return float(text.replace(".", "", 1))
    return text


def parse_yaml(text: str) -> Document:
    """Document of a YAML text. Never raises on bad YAML: `problems` says what is wrong and where."""
    document = Document()
    try:
        node = yaml.compose(text, _Composer)
        document.data = None if node is None else _value(node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append(Problem("", f"not YAML: {error.problem}.", f"line {mark.line + 1}" if mark else ""))
    except yaml.YAMLError as error:
        document.problems.append(Problem("", f"not YAML: {' '.join(str(error).split())}."))
    except RecursionError:
        document.problems.append(Problem("", "nested too deep to be read."))
    return document


def _value(node: yaml.Node, path: KeyPath, document: Document) -> object:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, str(index)), document) for index, item in enumerate(node.value)]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return parse_scalar(node.value) if plain else node.value


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document) -> dict[str, object]:
    values: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(".".join(path), "a key must be plain text.", f"line {line}"))
            continue
        key_path = (*path, str(key_node.value))
        if key_node.value in values:
            message = f"written twice, on lines {document.lines[key_path]} and {line}. Keep one."
            document.problems.append(Problem(".".join(key_path), message))
            continue
        document.lines[key_path] = line
        values[key_node.value] = _value(value_node, key_path, document)
    return values
