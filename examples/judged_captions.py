"""Captions judged by a language model: a recipe's settings, the notes, and what it cost.

python examples/judged_captions.py

A stand-in for the model listens on this machine; for a real one give its address, such as a vLLM server's.
"""

import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rewards import REWARDS
from rewards.reply_cache import ReplyCache
from rewards.targets.caption import CaptionTarget


class StandIn(BaseHTTPRequestHandler):
    """Says yes to an event where the caption holds its last word."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        material = json.loads(asked["messages"][-1]["content"])
        yes = {n: event.split()[-1] in material["caption"] for n, event in material["events"].items()}
        reply = "\n".join(f"{n}: {'yes' if stated else 'no'}" for n, stated in yes.items())
        usage = {"prompt_tokens": len(str(asked)) // 4, "completion_tokens": len(reply) // 2}
        body = json.dumps({"choices": [{"message": {"content": reply}}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the screen clean."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    target = CaptionTarget("", ("a boy crosses the grass", "he falls", "a woman helps"))
    with tempfile.TemporaryDirectory() as folder:
        args = {"judge": "model", "judge_url": url, "judge_model": "stand-in", "judge_cache": f"{folder}/judge.sqlite"}
        args |= {"judge_prices": [0.4, 1.2]}
        for caption in ("On the grass a boy falls.", "A woman helps.", "A dog.", "A dog."):
            score = REWARDS["event_recall"](f"<answer>{caption}</answer>", target, **args)
            print(f"{score.value:.3f}  {caption}  ({score.note})")
        print(ReplyCache(Path(folder, "judge.sqlite")).usage()["stand-in"])
    server.shutdown()


if __name__ == "__main__":
    main()
