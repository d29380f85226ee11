"""A language model as judge, behind an OpenAI-compatible chat endpoint: time limit, retries, cache, counts.

Raises JudgeError if the judge cannot be reached or its replies cannot be parsed: a missing verdict is never a score.
The transport is the client of the package openai, without its own retries: each failed request is counted here.
"""

import base64
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rewards.reply_cache import ReplyCache, Usage

if TYPE_CHECKING:  # loaded when a judge is asked: no other reward needs it
    from openai import OpenAI

TIMEOUT_S = 30.0
"""Default time limit of one request, in seconds."""

NOT_STARTED = "http://not-started.invalid/v1"
"""Stands for the address of a judge that the run starts, before it does."""

NO_KEY = "none"
"""Of a client that sends no key: it is not built without one, and takes OPENAI_API_KEY."""

_MOST_BYTES = 1_000_000
"""Most bytes of a reply; a longer one is an error."""

_FIRST_WAIT_S = 0.5
"""Seconds before the first retry; doubled for each further one."""


Answer = TypeVar("Answer")


class JudgeError(RuntimeError):
    """The judge gave no usable reply."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address, model, limits and prices of a judge."""

    url: str
    """Base URL with the version, such as http://127.0.0.1:8000/v1."""
    model: str
    key_env: str | None = None
    """Environment variable that holds the key; None: no key is sent."""
    timeout_s: float = TIMEOUT_S
    """Time limit of one request, in seconds."""
    retries: int = 3
    """Most further requests after a failed one."""
    cache: str | None = None
    """SQLite file of replies and usage; None: both are kept in memory."""
    prices: tuple[float, ...] = (0.0, 0.0)
    """Prices of a million prompt tokens and of a million completion tokens."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"judge_url {self.url!r} is no http address; write it like http://127.0.0.1:8000/v1, or leave it out "
                "and give the recipe a section judge"
            )
        if not self.model:
            raise ValueError("judge_model is missing; name the model that the endpoint serves")
        if self.timeout_s <= 0 or self.retries < 0:
            raise ValueError("judge_timeout_s must be above 0, and judge_retries at least 0")
        if len(self.prices) != 2:
            raise ValueError("judge_prices are two numbers: of a million prompt tokens, of a million completion tokens")


class ChatJudge:
    """Client of one endpoint. Threads may share it; equal requests at the same time are sent once."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises JudgeError if the cache file cannot be used."""
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._in_flight: dict[str, threading.Lock] = {}
        try:
            self.cache = ReplyCache(Path(endpoint.cache) if endpoint.cache else None)
        except (sqlite3.Error, OSError) as error:
            raise JudgeError(f"judge_cache {endpoint.cache}: {error}") from error

    def ask(
        self, instruction: str, material: str, read: Callable[[str], Answer], images: Sequence[bytes] = ()
    ) -> tuple[Answer, Usage]:
        """(parsed reply, usage). `read` parses the reply, and raises ValueError if it cannot. `images`: JPEG files.

        Raises JudgeError after the last retry, and at once if a retry would not help.
        """
        if self.endpoint.url == NOT_STARTED:
            raise JudgeError(f"judge {self.endpoint.model} is not started: it runs as long as a run")
        body = {
            "model": self.endpoint.model,
            "messages": [
                {"role": "system", "content": instruction},
                {"role": "user", "content": _content(material, images)},
            ],
            "temperature": 0,
        }
        # Without the address: the same model at another address gives the same verdicts.
        key = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        with self._lock:
            in_flight = self._in_flight.setdefault(key, threading.Lock())
        try:
            with in_flight:
                stored = self.cache.get(key)
                if stored is not None:
                    usage = Usage(cache_hits=1)
                    self.cache.count(self.endpoint.model, usage)
                    return read(stored), usage
                return self._ask_endpoint(key, body, read)
        except sqlite3.Error as error:
            raise JudgeError(f"judge_cache {self.endpoint.cache}: {error}") from error
        finally:
            with self._lock:
                self._in_flight.pop(key, None)

    def _ask_endpoint(self, key: str, body: dict[str, Any], read: Callable[[str], Answer]) -> tuple[Answer, Usage]:
        endpoint, spent = self.endpoint, Usage()
        for tries in range(endpoint.retries + 1):
            text, used, failed = "", Usage(requests=1, failures=1), None
            try:
                text, used = self._send(body)
                answer = read(text)
            except _Failed as error:
                failed = error
            except ValueError as error:
                failed, used = _Failed(f"replied what cannot be read: {error}"), replace(used, failures=1)
            self.cache.count(endpoint.model, used)
            spent = spent + used
            if failed is None:
                self.cache.put(key, text)
                return answer, spent
            if not failed.retry:
                break
            if tries < endpoint.retries:
                # The wait depends on the content, so that threads refused together do not retry together.
                wait = _FIRST_WAIT_S * 2**tries * (0.5 + int(key[:4], 16) / 0xFFFF)
                time.sleep(min(max(wait, failed.wait_s), endpoint.timeout_s))
        raise JudgeError(
            f"judge {endpoint.model} at {endpoint.url} {failed} (after {spent.requests} requests). "
            "Start it, or correct judge_url and judge_model."
        )

    @cached_property
    def _client(self) -> "OpenAI":
        """Raises JudgeError: no key, or no package openai."""
        try:
            from openai import DefaultHttpxClient, OpenAI
        except ImportError as error:
            raise JudgeError("the package openai is not installed, which asks the judge: pip install openai") from error

        endpoint = self.endpoint
        key = os.environ.get(endpoint.key_env) if endpoint.key_env else NO_KEY
        if not key:
            raise JudgeError(f"judge_key_env: the environment variable {endpoint.key_env} is not set")
        # A proxy of the machine does not lead back to it. A redirect would send the key to an address that the recipe
        # does not name.
        is_here = urlsplit(endpoint.url).hostname in ("127.0.0.1", "localhost")
        http = DefaultHttpxClient(trust_env=not is_here, follow_redirects=False)
        return OpenAI(base_url=endpoint.url, api_key=key, timeout=endpoint.timeout_s, max_retries=0, http_client=http)

    def _send(self, body: dict[str, Any]) -> tuple[str, Usage]:
        """(text of the reply, what it cost). Raises _Failed without a chat completion."""
        create = self._client.chat.completions.with_streaming_response.create
        from httpx import HTTPError
        from openai import APIConnectionError, APIStatusError, omit

        deadline = time.monotonic() + self.endpoint.timeout_s
        no_key = {} if self.endpoint.key_env else {"Authorization": omit}
        try:
            with create(**body, extra_headers=no_key) as response:
                text, prompt_tokens, completion_tokens = _reply(_read_until(response.iter_bytes(), deadline))
        except APIStatusError as error:
            busy = error.status_code in (408, 409, 425, 429) or error.status_code >= 500
            after = error.response.headers.get("Retry-After", "")
            wait_s = float(after) if after.isascii() and after.isdigit() else 0.0
            raise _Failed(f"answered {error.status_code}: {error.response.text[:300].strip()}", busy, wait_s) from error
        except (APIConnectionError, HTTPError, TimeoutError) as error:
            raise _Failed(f"gave no answer: {error.__cause__ or error!r}") from error
        except ValueError as error:
            raise _Failed(f"sent no chat completion: {error}") from error
        prices = self.endpoint.prices
        cost = (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6
        return text, Usage(1, 0, 0, prompt_tokens, completion_tokens, cost)


def _content(material: str, images: Sequence[bytes]) -> str | list[dict[str, Any]]:
    if not images:
        return material
    urls = [f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" for image in images]
    shown: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*shown, {"type": "text", "text": material}]


class _Failed(Exception):
    """A request without a usable reply."""

    def __init__(self, problem: str, retry: bool = True, wait_s: float = 0.0) -> None:
        """`retry`: whether a retry may help. `wait_s`: seconds of the endpoint's Retry-After header; 0: none."""
        super().__init__(problem)
        self.retry, self.wait_s = retry, wait_s


def _read_until(pieces: Iterable[bytes], deadline: float) -> bytes:
    """The whole body. Raises TimeoutError past the deadline, a limit for the body as a whole, not for each piece."""
    body = b""
    for piece in pieces:
        body += piece
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
        if len(body) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return body


def _reply(body: bytes) -> tuple[str, int, int]:
    """(text, prompt tokens, completion tokens) of a chat completion. Raises ValueError if the body is none."""
    try:
        data = json.loads(body)
        text = data["choices"][0]["message"]["content"]
        usage = data.get("usage") or {}
        if isinstance(text, str):
            return text, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error
    raise ValueError("its content is no text")
