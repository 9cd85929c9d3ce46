"""What the routes share: the models, the queue, and the way from a request to its answer."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from diptych.core import Samples, UnreadableItem, UsageError
from diptych.data.images import header_pixels
from diptych.data.modalities import CLIPS, Modality
from diptych.serve.batcher import Batcher
from diptych.serve.inputs import Embedded, Input, Received, parts_of
from diptych.serve.metrics import Metrics
from diptych.serve.model import Cut, Prepared, ServedModel
from diptych.serve.refusals import ClosingError, Refusal, TimedOutError
from diptych.serve.settings import Settings
from diptych.serve.turns import ASKER, Workers
from diptych.serve.uploads import decoded
from diptych.serve.waiting import awaited

T = TypeVar("T")
PIXELS = 8
"""Decoded pictures that may be in memory at once, in multiples of the largest one."""
WHOLE = 128
"""Pictures of a request that are decoded and worked on as a whole, such as by a segmenter: others wait meanwhile."""
LONG = 1000
"""Characters of a text above which its tokens are made in a thread: other requests must not wait for them."""


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
        self.batcher = Batcher(settings.largest_batch, settings.longest_wait, settings.capacity, settings.timeout)
        self.metrics = Metrics(self.batcher)
        self.ready = True
        self._pixels, self._lock = 0, threading.Lock()
        self._workers = Workers(max(2, os.cpu_count() or 1))

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
        model = self.models.get(self.settings.aliases.get(name, name))
        if model is None:
            names = ", ".join((*self.models, *self.settings.aliases))
            remedy = f"use {names}, or start the server with --alias {name[:80]}={self.first.name}"
            raise Refusal(404, f"The model {name[:80]!r} is not served: {remedy}.", "model_not_found")
        return model

    async def embed(
        self, request: Any, model: ServedModel, inputs: Sequence[Input], *, cut: Cut | None = None
    ) -> Embedded:
        """Return the vectors of texts and pictures.

        A request of more inputs than a batch holds is prepared and encoded in parts, of which at most two are in
        memory, and others' work comes between them.

        Args:
            request: of Starlette; the work is dropped where its client goes away.
            model: encodes.
            inputs: N texts and pictures.
            cut: which end of a text that is too long is left out; "": it is refused; None: as the server is set.

        Raises:
            Refusal: too many, an unreadable picture, a full queue, no answer in time, or the client is gone.
            UsageError: a text is too long.
        """
        self.check_count(len(inputs))
        await self.check_pixels(inputs)
        if cut is None:
            cut = "end" if self.settings.truncate else ""
        return await awaited(request, self._embedded(model, inputs, cut), self.settings.timeout)

    async def _embedded(self, model: ServedModel, inputs: Sequence[Input], cut: Cut) -> Embedded:
        values = np.zeros((len(inputs), model.dim), dtype=np.float32)
        sizes: list[tuple[int, int] | None] = [None] * len(inputs)
        running: deque[tuple[list[list[int]], Future[list[Any]]]] = deque()

        async def collect() -> None:
            places, job = running[0]
            vectors: list[Any] = await asyncio.wrap_future(job)
            for rows, vector in zip(places, vectors, strict=True):
                values[rows] = vector
            running.popleft()

        try:
            for number, (kind, places) in enumerate(parts_of(inputs, model.run.batch)):
                ready = await asyncio.gather(*(self._ready(model, inputs[rows[0]], cut) for rows in places))
                for rows, (_, size) in zip(places, ready, strict=True):
                    for i in rows:
                        sizes[i] = size
                items = [item for item, _ in ready]
                job = self.batcher.submit(model.lane(kind, items), items, ASKER.get(), accepted=number > 0)
                running.append((places, job))
                if len(running) > 1:
                    await collect()
            while running:
                await collect()
        finally:
            for _, job in running:
                job.cancel()
        return Embedded(values, tuple(sizes))

    async def check_pixels(self, inputs: Sequence[Input]) -> None:
        """Raise Refusal where the pictures of a request have too many pixels together; their headers are read."""
        files = [item.value for item in inputs if item.kind == "image"]
        if len(files) < 2:  # one alone is bounded by max_pixels
            return
        pixels, most = await self.thread(lambda: sum(map(header_pixels, files))), self.settings.pixel_budget
        if pixels > most:
            raise Refusal(
                413,
                f"The pictures of a request have at most {most / 1e6:g} million pixels together, and these "
                f"{pixels / 1e6:g}: send fewer at once, or raise --max-request-megapixels.",
            )

    def check_count(self, count: int, most: int | None = None) -> None:
        """Raise Refusal where a request has no inputs, or too many; ``most``: fewer than the server is set to."""
        most = min(self.settings.max_inputs, most or self.settings.max_inputs)
        if not 1 <= count <= most:
            remedy = "send several requests" if count else "send one at least"
            raise Refusal(400, f"A request has 1 to {most} inputs, not {count}: {remedy}.")

    async def pictures(self, inputs: Sequence[Input]) -> list[Image.Image]:
        """Return the decoded pictures of a request.

        Raises:
            Refusal: too many, or one cannot be read.
        """
        self.check_count(len(inputs), WHOLE)
        await self.check_pixels(inputs)
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
            busy = f"Pictures of more than {most:,} pixels would be in memory: send fewer or smaller ones, or wait."
            raise Refusal(429, busy, "busy", {"Retry-After": "1"})
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
        ((result,),) = await self.results(request, [self.batcher.call(name, function, ASKER.get())])
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
                return await asyncio.wrap_future(self._workers.submit(lambda: function(*given)))
        except TimeoutError:
            raise TimedOutError(self.settings.timeout) from None

    async def results(self, request: Any, jobs: Sequence[Future[list[Any]]]) -> list[list[Any]]:
        """Wait for jobs, for their client to go, or for the time to be over."""
        return await awaited(request, asyncio.gather(*map(asyncio.wrap_future, jobs)), self.settings.timeout)

    async def _ready(self, model: ServedModel, item: Input, cut: Cut) -> tuple[Prepared, tuple[int, int] | None]:
        if item.kind == "text":
            if len(item.value) <= LONG:
                try:
                    return model.text(item.value), None
                except UsageError:
                    if not cut:
                        raise
            return await self.thread(model.text, item.value, cut), None
        return await self.thread(self._prepared, model, item)

    async def samples(self, inputs: Sequence[Input], modality: Modality | None) -> Samples[Any]:
        """Return the decoded pictures of a request, or what a fitted space takes in their place, as samples.

        Raises:
            Refusal: too many, or one cannot be read.
        """
        self.check_count(len(inputs), WHOLE)
        await self.check_pixels(inputs)
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
        self._workers.close()
