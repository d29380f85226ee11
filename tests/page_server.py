"""`rft view` in a thread of the test's own process, on a port that is free."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rft.commands.view.server import HOST, server
from rft.runs.run_dir import RunDir


@contextmanager
def served(runs: Sequence[RunDir]) -> Iterator[str]:
    """The address of the page of `runs`, for as long as the block lasts."""
    serving = server(runs)
    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=serving.run, args=([listening],))
        thread.start()
        while not serving.started:
            time.sleep(0.01)
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            serving.should_exit = True
            thread.join()
