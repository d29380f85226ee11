"""HTML of the report, as Jinja templates: every value is escaped unless marked `safe`."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader(__name__, "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def rendered(file: str, /, **values: Any) -> str:
    """The template in `file` with its names filled in."""
    return _ENVIRONMENT.get_template(file).render(values)
