"""The server of `rft view`: reads run folders, writes nothing, and is reached from this machine alone."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from rft.commands.report.chosen import groups_in
from rft.commands.report.clips import run_clips
from rft.commands.report.groups import group_form
from rft.commands.report.page import finite, run_page
from rft.commands.report.report import name_clips, require_run, run_data
from rft.commands.view.comparison import recipe_diff, same_answers
from rft.errors import RecipeError, RftError
from rft.runs.run_dir import RunDir

HOST = "127.0.0.1"


def view(paths: Sequence[Path], port: int) -> None:
    """Serve the page of these runs until interrupted.

    Raises CheckpointError where a folder holds no run, RecipeError where the port is taken.
    """
    runs = [RunDir(path) for path in paths]
    for run in runs:
        require_run(run)
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise RecipeError(f"port {port}: {error.strerror}. Give another with --port.") from error
    print(f"http://{HOST}:{listening.getsockname()[1]}   (Ctrl-C ends it)", flush=True)
    server(runs).run([listening])


def server(runs: Sequence[RunDir]) -> uvicorn.Server:
    """A server of these runs; `run([socket])` serves."""
    return uvicorn.Server(uvicorn.Config(application(runs), log_level="warning", server_header=False))


def application(runs: Sequence[RunDir]) -> Starlette:
    """What is served: the page, and what it asks for, by the number of the run."""
    names = distinct_names([run.path for run in runs])

    def numbered(request: Request) -> RunDir:
        number: int = request.path_params["number"]
        if number >= len(runs):
            raise HTTPException(404)
        return runs[number]

    def page(request: Request) -> Response:
        return HTMLResponse(run_page([{"name": name} for name in names], is_live=True))

    def run(request: Request) -> Response:
        shown, state = numbered(request), state_of(numbered(request))
        if request.query_params.get("seen") == state:
            return JSONResponse({"state": state})
        return JSONResponse({"state": state, "run": run_data(shown) | {"name": names[request.path_params["number"]]}})

    def step(request: Request) -> Response:
        return JSONResponse(step_groups(numbered(request), request.path_params["step"]))

    def clip(request: Request) -> Response:
        clips = run_clips(numbered(request))
        return JSONResponse({"missing": clips} if isinstance(clips, str) else clips.frames(request.path_params["key"]))

    def compare(request: Request) -> Response:
        answers, num_shared = same_answers(runs)
        return JSONResponse(finite({"recipe": recipe_diff(runs), "answers": answers, "num_shared": num_shared}))

    routes = [
        Route("/", page),
        Route("/run/{number:int}", run),
        Route("/step/{number:int}/{step:int}", step),
        Route("/clip/{number:int}/{key}", clip),
        Route("/compare", compare),
    ]
    # A page of elsewhere, whose name was made to lead to this machine, does not name it as its host.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[hosts], exception_handlers={RftError: unreadable})


def unreadable(request: Request, error: Exception) -> Response:
    """What cannot be read now, and why."""
    return JSONResponse({"problem": str(error)}, 503)


def step_groups(run: RunDir, step: int) -> list[dict[str, Any]]:
    """All groups of a step, as the page shows them. HTTPException: there is no record of the step."""
    path = run.rollouts_file(step)
    if not path.exists():
        raise HTTPException(404)
    groups = [group_form(records) | {"kinds": [], "place": place} for place, records in enumerate(groups_in(path))]
    name_clips(run, groups)
    shown: list[dict[str, Any]] = finite(groups)
    return shown


def state_of(run: RunDir) -> str:
    """Changes with the record of the run."""
    stamps = []
    for path in (run.metrics, run.summary, run.timeline, run.recipe, run.rollouts, run.evals):
        stat = path.stat() if path.exists() else None
        stamps.append(f"{stat.st_mtime_ns:x}-{stat.st_size:x}" if stat else "")
    return ".".join(stamps)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell them apart."""
    whole = [path.resolve() for path in paths]
    for number in range(1, max(len(path.parts) for path in whole)):
        names = ["/".join(path.parts[-number:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in whole]
