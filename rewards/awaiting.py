"""Coroutines of which a bounded number run at the same time."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def bounded(calls: Iterable[Awaitable[T]], most: int) -> list[T]:
    """What the calls return, in their order; begun in order, `most` of them at the same time."""
    places = asyncio.Semaphore(most)

    async def one(call: Awaitable[T]) -> T:
        async with places:
            return await call

    return await asyncio.gather(*map(one, calls))
