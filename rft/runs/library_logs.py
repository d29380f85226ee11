"""Keeps the noise of libraries out of the terminal: it goes to the run's log, where it can be read."""

import logging
import os
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path

from rft.files import writing

ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""Read by libraries as they load, here and in the processes started from here; what a person has set stays."""

LIBRARIES = ("transformers", "vllm", "ray", "trl", "datasets", "accelerate", "peft", "torch", "qwen_vl_utils")


def quiet_libraries(log_path: Path) -> ExitStack:
    """Sends warnings, logging and what native code writes to standard error into `log_path`, until closed.

    Python's own sys.stderr still reaches the terminal, so error messages and tracebacks are seen.
    Call before the libraries load. Raises CheckpointError where the log cannot be written.
    """
    undo = ExitStack()
    with writing(log_path, "set run_dir to a folder that can be written"):
        log_path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log_path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    undo.callback(handler.close)
    set_environment(undo)
    divert_logging(handler, undo)
    divert_native_stderr(log_path, undo)
    return undo


def set_environment(undo: ExitStack) -> None:
    for name, value in ENVIRONMENT.items():
        if name not in os.environ:
            os.environ[name] = value
            undo.callback(os.environ.pop, name, None)


def divert_logging(handler: logging.Handler, undo: ExitStack) -> None:
    """Everything that reaches the root logger goes to `handler` alone, and libraries' loggers reach the root."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)

    def restore() -> None:
        root.handlers[:] = before
        root.setLevel(level)

    undo.callback(restore)
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        undo.callback(restore_logger, logger, logger.handlers[:], logger.propagate)
        logger.handlers.clear()
        logger.propagate = True
    show = warnings.showwarning
    logging.captureWarnings(True)

    def show_again() -> None:
        logging.captureWarnings(False)
        warnings.showwarning = show

    undo.callback(show_again)


def restore_logger(logger: logging.Logger, handlers: list[logging.Handler], propagate: bool) -> None:
    logger.handlers[:] = handlers
    logger.propagate = propagate


def divert_native_stderr(log_path: Path, undo: ExitStack) -> None:
    """Point file descriptor 2 at the log, and sys.stderr at where descriptor 2 led before."""
    log = undo.enter_context(log_path.open("ab"))
    sys.stderr.flush()
    terminal = os.dup(2)
    before = sys.stderr
    try:
        leads_to_2 = before.fileno() == 2
    except (OSError, ValueError):  # a stand-in without a file, as notebooks and tests use
        leads_to_2 = False
    if leads_to_2:
        sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, encoding=before.encoding, errors="backslashreplace")
    os.dup2(log.fileno(), 2)

    def restore() -> None:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        if leads_to_2:
            sys.stderr.close()
            sys.stderr = before

    undo.callback(restore)
