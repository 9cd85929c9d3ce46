"""What the routes share: the models, the queue, and the way from a request to its answer."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, TypeVar

import numpy as np
from PIL import Image

from diptych.core import Samples, UnreadableItem, UsageError
from diptych.data.modalities import CLIPS, Modality
from diptych.features.unit_rows import unit_rows
from diptych.serve.batcher import Batcher
from diptych.serve.metrics import Metrics
from diptych.serve.model import Prepared, ServedModel, Vectors
from diptych.serve.refusals import ClosingError, GoneError, Refusal, TimedOutError
from diptych.serve.settings import Settings
from diptych.serve.uploads import decoded

T = TypeVar("T")
PIXELS = 8
"""Decoded pictures that may be in memory at once, in multiples of the largest one."""
LONGEST = 50_000
"""Characters of a text: far more than any tower reads, and few enough that their tokens hold up nobody."""
LONG = 1000
"""Characters of a text above which its tokens are made in a thread: other requests must not wait for them."""


@dataclass(frozen=True)
class Input:
    """A text or a picture of a request.

    Args:
        kind: "text" or "image".
        value: the text, or the bytes of the picture's file.
        name: of the picture, for errors.

    Raises:
        Refusal: a text that is too long, or no Unicode.
    """

    kind: Literal["text", "image"]
    value: Any = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind == "text":
            check_text(self.value)


def check_text(text: str) -> None:
    """Raise Refusal where a text is too long; UnicodeEncodeError where it holds half a surrogate pair."""
    if len(text) > LONGEST:
        raise Refusal(413, f"A text has at most {LONGEST:,} characters, not {len(text):,}: send the part that counts.")
    text.encode()


@dataclass(frozen=True)
class Embedded:
    """Vectors of a request.

    Args:
        values: (N, D) float32 in the order of the inputs, as the towers give them.
        sizes: (width, height) of each input; None for texts.
    """

    values: Vectors
    sizes: tuple[tuple[int, int] | None, ...]

    @property
    def vectors(self) -> Vectors:
        """The same as rows of length 1."""
        return unit_rows(self.values)


@dataclass(frozen=True)
class Received:
    """Decoded inputs of a request as samples.

    Args:
        items: N pictures, or what a fitted space takes.
        names: for errors and answers.
        keys: hashes of their files.
    """

    items: Sequence[Any] = field(repr=False)
    names: Sequence[str]
    keys: Sequence[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> Any:
        return self.items[index]

    def key(self, index: int, /) -> str:
        """Return the hash of the file."""
        return self.keys[index]

    def name(self, index: int, /) -> str:
        """Return the name."""
        return self.names[index]


class Service:
    """The models and the queue of a server.

    Args:
        models: at least one; the first answers where a client names none.

    Raises:
        UsageError: there is no model.
    """

    def __init__(self, settings: Settings, models: Sequence[ServedModel]) -> None:
        if not models:
            raise UsageError("There is no model to serve: name one in {backbone}.")
        self.settings = settings
        self.models: Mapping[str, ServedModel] = {model.name: model for model in models}
        self.batcher = Batcher(
            settings.largest_batch, settings.longest_wait, settings.capacity, settings.timeout
        )  # fmt: skip
        self.metrics = Metrics(self.batcher)
        self.ready = True
        self._pixels, self._lock = 0, threading.Lock()
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="request")

    @property
    def first(self) -> ServedModel:
        """The model that answers where a client names none."""
        return next(iter(self.models.values()))

    def model(self, name: str | None) -> ServedModel:
        """Return a model by its name or an alias; None or "": the first.

        Raises:
            Refusal: it is not served; requests never load one.
        """
        if not name:
            return self.first
        found = self.models.get(self.settings.aliases.get(name, name))
        if found is None:
            names = ", ".join((*self.models, *self.settings.aliases))
            raise Refusal(404, f"The model {name[:80]!r} is not served: use {names}.", "model_not_found")
        return found

    async def embed(self, request: Any, model: ServedModel, inputs: Sequence[Input]) -> Embedded:
        """Return the vectors of texts and pictures.

        Args:
            request: of Starlette; the work is dropped where its client goes away.
            model: encodes.
            inputs: N texts and pictures.

        Raises:
            Refusal: too many, an unreadable picture, a full queue, no answer in time, or the client is gone.
        """
        self.check_count(len(inputs))
        ready = await asyncio.gather(*(self._ready(model, item) for item in inputs))
        places = {kind: [i for i, item in enumerate(inputs) if item.kind == kind] for kind in ("image", "text")}
        jobs = [
            (rows, self.batcher.submit(model.lane(kind, items), items))
            for kind, rows in places.items()
            if (items := [ready[i][0] for i in rows])
        ]
        values = np.zeros((len(inputs), model.dim), dtype=np.float32)
        for (rows, _), found in zip(jobs, await self.results(request, [job for _, job in jobs]), strict=True):
            values[rows] = found
        return Embedded(values, tuple(size for _, size in ready))

    def check_count(self, count: int) -> None:
        """Raise Refusal where a request has no inputs, or too many."""
        if not 1 <= count <= self.settings.max_inputs:
            raise Refusal(400, f"A request has 1 to {self.settings.max_inputs} inputs, not {count}: send several.")

    async def pictures(self, inputs: Sequence[Input]) -> list[Image.Image]:
        """Return the decoded pictures of a request.

        Raises:
            Refusal: too many, or one cannot be read.
        """
        self.check_count(len(inputs))
        return list(await asyncio.gather(*(self.thread(self.open, item) for item in inputs)))

    def open(self, item: Input) -> Image.Image:
        """Return a decoded picture, which counts among those in memory until nobody refers to it.

        Raises:
            Refusal: it cannot be read, or there is no room beside the others.
        """
        picture, most = decoded(item.value, item.name, self.settings.max_pixels), PIXELS * self.settings.max_pixels
        pixels = picture.width * picture.height
        weakref.finalize(picture, self._count, -pixels)
        if self._count(pixels) > most:
            said = f"Pictures of more than {most:,} pixels would be in memory: send fewer or smaller ones, or wait."
            raise Refusal(429, said, "busy", {"Retry-After": "1"})
        return picture

    def _count(self, pixels: int) -> int:
        with self._lock:
            self._pixels += pixels
            return self._pixels

    async def call(self, request: Any, name: str, function: Callable[[], T]) -> T:
        """Run work on the models in the batcher's thread, and return its result.

        Raises:
            Refusal: a full queue, no answer in time, or the client is gone.
            DiptychError: what the work raises.
        """
        result: T
        ((result,),) = await self.results(request, [self.batcher.call(name, function)])
        return result

    async def thread(self, function: Callable[..., T], *given: Any) -> T:
        """Run work that touches no model in a thread of requests.

        Raises:
            ClosingError: the server is stopping.
            TimedOutError: no thread was done with it in time.
        """
        if not self.ready:
            raise ClosingError
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await asyncio.get_running_loop().run_in_executor(self._threads, function, *given)
        except TimeoutError:
            raise TimedOutError(self.settings.timeout) from None

    async def results(self, request: Any, jobs: Sequence[Future[list[Any]]]) -> list[list[Any]]:
        """Wait for jobs, for their client to go, or for the time to be over."""
        futures = [asyncio.wrap_future(job) for job in jobs]
        every: asyncio.Future[Any] = asyncio.gather(*futures)
        every.add_done_callback(_seen)  # a cancelled one has nobody who reads its error
        gone: asyncio.Future[Any] = asyncio.ensure_future(_gone(request))
        try:
            done, _ = await asyncio.wait(
                {every, gone}, timeout=self.settings.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if every in done:
                return list(every.result())
            raise GoneError if gone in done else TimedOutError(self.settings.timeout)
        finally:
            gone.cancel()
            if not every.done():
                every.cancel()
                for job in jobs:
                    job.cancel()

    async def _ready(self, model: ServedModel, item: Input) -> tuple[Prepared, tuple[int, int] | None]:
        if item.kind == "text":
            if len(item.value) <= LONG:
                return model.text(item.value), None
            return await self.thread(model.text, item.value), None
        return await self.thread(self._prepared, model, item)

    async def samples(self, inputs: Sequence[Input], modality: Modality | None) -> Samples[Any]:
        """Return the decoded pictures of a request, or what a fitted space takes in their place, as samples.

        Raises:
            Refusal: too many, or one cannot be read.
        """
        self.check_count(len(inputs))
        items = await asyncio.gather(*(self.thread(self.sample, item, modality) for item in inputs))
        return Received(items, [item.name for item in inputs], [sha256(item.value).hexdigest() for item in inputs])

    def sample(self, item: Input, modality: Modality | None) -> Any:
        """Return a decoded picture; of another modality its sample, where a picture is a clip of one frame.

        Raises:
            Refusal: it cannot be read.
        """
        if modality is None:
            return self.open(item)
        if modality is CLIPS and not CLIPS.suffix(item.value):  # type: ignore[misc]
            return (self.open(item),)
        try:
            return modality.of_bytes(item.value)
        except UnreadableItem as error:
            raise Refusal(422, f"{item.name} cannot be read: {error.reason}.", "unreadable_sample") from None

    def _prepared(self, model: ServedModel, item: Input) -> tuple[Prepared, tuple[int, int] | None]:
        sample = self.sample(item, model.modality)
        size = sample.size if model.modality is None else None
        return model.image(sample, sha256(item.value).hexdigest()), size

    def close(self) -> None:
        """Answer what was accepted, and stop."""
        self.ready = False
        self.batcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _seen(future: asyncio.Future[Any]) -> None:
    """Read the error of a future, which asyncio otherwise logs as never retrieved."""
    if not future.cancelled():
        future.exception()


async def _gone(request: Any) -> None:
    """Return when the client has hung up; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
