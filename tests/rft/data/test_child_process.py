"""A child process: what ends it, and what does not."""

import os
import signal
from multiprocessing.connection import Connection

from rft.data.child_process import ChildProcess, requests


def serve(fd: int, parent_pid: int) -> None:
    """Main function of the child: says each request back."""
    connection = Connection(fd)
    for request in requests(connection, parent_pid):
        connection.send(request)


def test_a_sigterm_to_all_processes_of_a_run_leaves_it_to_the_run() -> None:
    child = ChildProcess(__name__)
    try:
        for request in (1, 2):
            with child.connected() as connection:
                connection.send(request)
                assert connection.recv() == request
            assert child.pid is not None
            os.kill(child.pid, signal.SIGTERM)
        assert child.num_starts == 1
    finally:
        child.close()
    assert child.pid is None
