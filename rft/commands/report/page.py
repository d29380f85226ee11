"""The one HTML file that a page is: its style, its scripts, and what they draw as a block of JSON."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rft.tables import LineChart

CHARTS = ("drawing.js", "charts.js", "figures.js")
RUNS = ("drawing.js", "charts.js", "rollouts.js", "compare.js", "runs.js")
"""The scripts of a kind of page, in the order in which they run."""

_ENVIRONMENT = Environment(
    loader=PackageLoader("rft.commands.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# JSON has no word for a number that is not finite, and a browser refuses Python's.
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}


def run_page(runs: Sequence[Mapping[str, Any]], is_live: bool = False) -> str:
    """The page of runs. `is_live`: it asks the server that it came from for all but their names, again and again."""
    verdicts = [f"{run['name']}: {run.get('verdict') or 'no verdict yet'}" for run in runs]
    title = " and ".join(run["name"] for run in runs)
    return page_text(title, RUNS, {"runs": runs, "is_live": is_live}, verdicts, asks="'self'" if is_live else "'none'")


def charts_page(title: str, charts: Sequence[LineChart]) -> str:
    """A page of charts alone."""
    return page_text(title, CHARTS, {"title": title, "charts": [asdict(chart) for chart in charts]}, [title])


def page_text(
    title: str, scripts: Sequence[str], data: Mapping[str, Any], plain: Sequence[str], asks: str = "'none'"
) -> str:
    """A page that draws `data` with `scripts`, files of the folder templates. `plain`: what is told without scripts.

    `asks`: the source that its scripts may fetch from, in the words of a content security policy.
    """
    folder = files("rft.commands.report") / "templates"
    script = "\n".join((folder / name).read_text("utf-8") for name in scripts)
    return _ENVIRONMENT.get_template("page.html").render(
        title=title,
        # Files of this package: nothing of a run is in them.
        style=Markup((folder / "style.css").read_text("utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=finite(data),
        plain=plain,
        asks=asks,
    )


def finite(value: Any) -> Any:
    """JSON with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
