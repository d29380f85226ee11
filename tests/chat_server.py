"""A chat endpoint of the test's own, on 127.0.0.1."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Respond = Callable[[int, dict[str, Any]], tuple[int, object] | str]
"""(number of the request from 0, its body) -> the content of a reply, or (status, whole body)."""


class ChatServer:
    """Replies as configured, and keeps the requests."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.url = ""
        self.drip_s = 0.0
        """Between the bytes of a body."""

    def answer(self, handler: BaseHTTPRequestHandler) -> tuple[int, object]:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            sent = {name.lower(): value for name, value in handler.headers.items()}
            self.headers.append({"path": handler.path, **sent})
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            outcome = self.respond(number, body)
        finally:
            with self.lock:
                self.at_once -= 1
        if isinstance(outcome, tuple):
            return outcome
        message = {"role": "assistant", "content": outcome}
        return 200, {"choices": [{"message": message}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


@contextmanager
def chat_server(respond: Respond) -> Iterator[ChatServer]:
    """Listens while the block runs."""
    chat = ChatServer(respond)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def do_POST(self) -> None:
            status, body = chat.answer(self)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", chat.url + "/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            for piece in [text[i : i + 1] for i in range(len(text))] if chat.drip_s else [text]:
                self.wfile.write(piece)
                time.sleep(chat.drip_s)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # a judge that is given up is hung up on
                super().handle()

        def log_message(self, *_: object) -> None:
            """Nothing on the test's screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def verdicts(stated: Callable[[str, str], bool], delay_s: float = 0.0) -> Respond:
    """A judge that decides with a function (caption, event) -> bool."""

    def respond(_: int, body: dict[str, Any]) -> str:
        time.sleep(delay_s)
        material = json.loads(body["messages"][1]["content"])
        pairs = material["events"].items()
        return "\n".join(
            f"{number}: {'yes' if stated(material['caption'], event) else 'no'}" for number, event in pairs
        )

    return respond
