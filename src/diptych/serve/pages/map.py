"""The map of an index: photos that look alike lie near each other, and a lasso chooses some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Template
from numpy.typing import NDArray

from diptych.search_index.layout import laid_out
from diptych.search_index.opening import AnyIndex
from diptych.serve.names import Recent
from diptych.serve.pages.browsing import spread
from diptych.serve.pages.state import State, entry_numbers, packed
from diptych.serve.pages.tiles import Tile
from diptych.serve.refusals import Refusal
from diptych.serve.verbs.search import Search, ServedIndex

MOST = 2000
"""Photos on a map; of a larger index as many, from all over it."""
SIZE = (1020, 660)
"""Width and height of a map, in its own units."""
CELL = 60
"""A square of these sides, of which ``SIZE`` holds whole ones, shows one photo at most; the others are dots."""
COLOURED = ("label", "folder")
"""Columns by whose values dots are coloured, the first one that has few."""
COLOURS, FEW = 7, 40
"""Values that have a colour, the most frequent ones, and values of a column that has few."""
KEPT = 8
"""Maps that are remembered."""


@dataclass(frozen=True)
class Place:
    """A photo on the map.

    Args:
        tile: what is known of it.
        x: from the left, in units of ``SIZE``; a picture stands in the middle of its square.
        y: from the top.
        kind: number of its value among those that have a colour; None: it has none.
        shown: whether it is drawn as a picture.
    """

    tile: Tile
    x: float
    y: float
    kind: int | None
    shown: bool


@dataclass(frozen=True)
class Drawn:
    """A map.

    Args:
        places: photos.
        entries: pictures of the index, of which these are all or some.
        column: by which dots are coloured; "": none.
        kinds: its values that have a colour, the most frequent first; all others share one.
    """

    places: tuple[Place, ...]
    entries: int
    column: str
    kinds: tuple[str, ...]


def drawn(index: AnyIndex) -> Drawn:
    """Lay out the pictures of an open index."""
    rows = spread(index, MOST)
    entries = index.entries(rows[:, 0].tolist())
    rows = rows[[number in entries for number in rows[:, 0].tolist()]]
    x = laid_out(np.asarray(index.vectors("image")[rows[:, 1]], dtype=np.float32))
    points = CELL / 2 + x * (np.array(SIZE, dtype=np.float64) - CELL)
    tiles = [Tile.of(number, entries[number]) for number in rows[:, 0].tolist()]
    facts = [entries[number].facts for number in rows[:, 0].tolist()]
    column, kinds = _kinds([{k: str(v) for k, v in row.items()} for row in facts])
    numbers, shown = {value: k for k, value in enumerate(kinds)}, pictured(points)
    there, middle = set(shown), CELL * (np.floor(points / CELL) + 0.5)
    points[shown] = middle[shown]
    places = [
        Place(tile, round(px, 1), round(py, 1), numbers.get(str(row.get(column, ""))), i in there)
        for i, (tile, row, (px, py)) in enumerate(zip(tiles, facts, points.tolist(), strict=True))
    ]
    return Drawn(tuple(places), len(index), column, kinds)


def pictured(points: NDArray[np.float64]) -> list[int]:
    """Return the points that have room for a picture: in each square cell the one that is nearest to its centre.

    Args:
        points: (n, 2).

    Example:
        >>> pictured(np.array([[31.0, 29.0], [5.0, 5.0], [90.0, 30.0]]))
        [0, 2]
    """
    cells = np.floor(points / CELL)
    off = np.abs(points - CELL * (cells + 0.5)).max(1) if len(points) else np.zeros(0)
    nearest: dict[tuple[float, ...], int] = {}
    for i in np.argsort(off, kind="stable").tolist():
        nearest.setdefault(tuple(cells[i].tolist()), i)
    return sorted(nearest.values())


def _kinds(facts: Sequence[dict[str, str]]) -> tuple[str, tuple[str, ...]]:
    """Return the column of the colours, and the values that have one; ("", ()) where no column has few."""
    for column in COLOURED:
        values = [row[column] for row in facts if row.get(column)]
        counts = sorted({v: values.count(v) for v in set(values)}.items(), key=lambda pair: (-pair[1], pair[0]))
        if 2 <= len(counts) <= FEW:
            return column, tuple(value for value, _ in counts[:COLOURS])
    return "", ()


class PhotoMap:
    """The routes of the map. It is drawn beside the requests, and the page asks again until it is there.

    Args:
        search: of the indexes.
        template: of the page.
        tag: of the assets, see ``Page``.
    """

    def __init__(self, search: Search, template: Template, tag: str) -> None:
        self.search, self._template, self._tag = search, template, tag
        self._kept: Recent[asyncio.Task[Drawn]] = Recent(KEPT)
        self._drawing = asyncio.Lock()  # one at a time: it takes seconds of all cores

    async def show(self, request: Request, index: str = "") -> HTMLResponse:
        """Show the map of an index, or that it is being drawn."""
        served = self.search.index(index[:200])
        key = await self.search.service.thread(_state_of, served)
        task = self._kept.get(key)
        if task is None or (task.done() and task.exception() is not None):
            task = self._kept.put(key, asyncio.create_task(self._draw(served)))
        await asyncio.wait([task], timeout=1.0)
        drawing = task.result() if task.done() else None  # raises what ended the drawing
        text = self._template.render(
            map=drawing, size=SIZE, cell=CELL, current=served.name, indexes=list(self.search.indexes), tag=self._tag
        )
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    async def _draw(self, index: ServedIndex) -> Drawn:
        async with self._drawing:
            return await asyncio.to_thread(_drawn, index)

    async def like(self, request: Request) -> Response:
        """Go to the photos that are most like several ones together: like the mean of their vectors."""
        given = request.query_params
        numbers = entry_numbers(given.getlist("entry"), MOST)
        if not numbers:
            raise Refusal(400, "No photos are chosen: give the number of each as entry.")
        index = self.search.index(given.get("index", "")[:200])
        vector = await self.search.service.thread(_mean, index, numbers)
        return RedirectResponse(State(index=index.name).address(picture=packed(vector)), 303)

    def router(self) -> APIRouter:
        """Return the routes; they are no part of the interface for programs."""
        routes = APIRouter(include_in_schema=False)
        routes.add_api_route("/map", self.show, methods=["GET"])
        routes.add_api_route("/alike", self.like, methods=["GET"])
        return routes


def _state_of(index: ServedIndex) -> tuple[str, int, int, int, int]:
    """Return what changes where entries are added or removed, or the index is made anew with as many."""
    with index.opened() as opened:
        try:
            file = (index.folder / "rows.sqlite").stat()
        except OSError:  # of a database
            return index.name, len(opened), len(opened.vectors("image")), 0, 0
        return index.name, len(opened), len(opened.vectors("image")), file.st_ino, file.st_mtime_ns


def _drawn(index: ServedIndex) -> Drawn:
    with index.opened() as opened:
        return drawn(opened)


def _mean(index: ServedIndex, numbers: list[int]) -> NDArray[np.float32]:
    """Return the unit mean of pictures.

    Raises:
        Refusal: one of them is not there.
    """
    with index.opened() as opened:
        slots = opened.slots(numbers)
        if (slots < 0).any():
            lacking = numbers[int(np.argmax(slots < 0))]
            raise Refusal(404, f"The index {index.name} has no picture {lacking}.", "entry_not_found")
        mean = np.asarray(opened.vectors("image")[slots], dtype=np.float64).mean(0)
    norm = float(np.linalg.norm(mean))
    if norm < 1e-6:
        raise Refusal(400, "These pictures have nothing in common: choose fewer.")
    return np.asarray(mean / norm, dtype=np.float32)
