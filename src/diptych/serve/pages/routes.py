"""The routes of the page: search, thumbnails, marks and exports. Every page works without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import DictLoader, Environment

from diptych import __version__
from diptych.core import DataError, DiptychError, UnreadableItem
from diptych.serve.inputs import Input
from diptych.serve.names import Recent
from diptych.serve.pages.exports import as_coco, as_csv, zipped
from diptych.serve.pages.finding import Finding, text_of
from diptych.serve.pages.looking import SIDE, entry_picture, jpeg, looked_at
from diptych.serve.pages.map import PhotoMap
from diptych.serve.pages.state import MOST, State, entry_numbers, entry_versions, packed
from diptych.serve.pages.tiles import Contents
from diptych.serve.refusals import Refusal, of_error
from diptych.serve.service import Service
from diptych.serve.verbs.search import Search, ServedIndex
from diptych.tasks.pages.overlay import png
from diptych.tasks.search.ask import Answer

SIDES = (320, 1024)
"""Largest sides of thumbnails and of pictures that are looked at."""
KEPT = {320: 2000, 1024: 200}
"""Side -> pictures in memory, some 20 and 200 kB each."""
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
SHORT = "max-age=3600, private"


def _asset(name: str) -> str:
    return files("diptych").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


class Page:
    """The page of a server.

    Args:
        reports: name -> a page that a verb wrote.
    """

    def __init__(self, service: Service, search: Search, reports: Mapping[str, Path]) -> None:
        self.service, self.search, self.finding, self.reports = service, search, Finding(search), reports
        loader = DictLoader({name: _asset(f"serve/{name}") for name in ("head.html", "search.html", "map.html")})
        pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._template = pages.get_template("search.html")
        self._style = _asset("report.css") + _asset("serve/page.css")
        self._scripts = {name: _asset(f"serve/{name}") for name in ("page.js", "map.js")}
        every = self._style + "".join(self._scripts.values())
        self._tag = sha256(every.encode()).hexdigest()[:8]  # of another version, another address
        self._map = PhotoMap(search, pages.get_template("map.html"), self._tag)
        self._pictures: dict[int, Recent[bytes]] = {side: Recent(most) for side, most in KEPT.items()}

    def html(self, state: State, contents: Contents, error: str = "", status: int = 200) -> HTMLResponse:
        """Return a page."""
        names = list(self.search.indexes)
        text = self._template.render(
            state=state, contents=contents, error=error, indexes=names,
            current=state.index or (names[0] if names else ""), version=__version__,
            backbone=self.search.index(state.index).backbone if names else "",
            models=list(self.service.models), reports=list(self.reports), tag=self._tag,
        )  # fmt: skip
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    async def show(self, request: Request) -> HTMLResponse:
        """Show a search, or what can be asked."""
        if not self.search.indexes:
            return self.html(State(), Contents())
        try:
            state = State.read(request.query_params)
            self.search.index(state.index)
        except Refusal as refusal:
            return self.html(State(), Contents(), refusal.message, refusal.status)
        try:
            return self.html(state, await self.finding.answers(request, state))
        except (Refusal, DiptychError) as failure:
            shown = failure if isinstance(failure, Refusal) else of_error(failure)
            return self.html(state, Contents(), shown.message, shown.status)

    async def query(self, request: Request) -> Response:
        """Embed a picture that was chosen, and go to the address that holds its vector."""
        async with request.form(max_files=1, max_fields=20, max_part_size=self.service.settings.max_bytes) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            file = form.get("file")
            sent = None if file is None or isinstance(file, str) or not file.filename else file
            data = b"" if sent is None else await sent.read()
        state = State.read(fields)
        if sent is None:  # a form without a picture; an empty file is one, and refused
            return RedirectResponse(state.address(), 303)
        model = self.search.index(state.index).model
        try:
            embedded = await self.service.embed(request, model, [Input("image", data, "The picture")])
        except (Refusal, DiptychError) as failure:
            shown = failure if isinstance(failure, Refusal) else of_error(failure)
            return self.html(state, await self.finding.answers(request, state), shown.message, shown.status)
        return RedirectResponse(state.address(picture=packed(embedded.vectors[0]), like=None), 303)

    async def mark(self, request: Request) -> Response:
        """Mark answers, and go back to the search, or tell a script the number of marks; where the index is too small
        for marks, its page says so.
        """
        async with request.form(max_files=0, max_fields=MOST + 20) as form:
            texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        fields, script = dict(texts), "application/json" in request.headers.get("accept", "")
        state = State.read(dict(parse_qsl(fields.get("state", ""))))
        verdict, chosen = fields.get("right", ""), entry_versions([value for name, value in texts if name == "entry"])
        if verdict not in ("1", "0", "") or not chosen:
            raise Refusal(400, "A mark has one entry or several, and right, which is 1, 0 or empty.")
        try:
            right, wrong = await self.finding.mark(request, state, chosen, None if verdict == "" else verdict == "1")
        except DataError as error:
            if script:
                raise
            shown = of_error(error)
            return self.html(state, await self.finding.answers(request, state), shown.message, shown.status)
        if script:
            return JSONResponse({"right": right, "wrong": wrong})
        return RedirectResponse(state.address() + f"#e{next(iter(chosen))}", 303)

    async def _exported(self, request: Request) -> tuple[Contents, Answer]:
        """Return the answers of an address; those that are chosen, where it names entries.

        Raises:
            Refusal: nothing is looked for, or an entry is no number.
        """
        given = request.query_params
        state = State.read(dict(parse_qsl(given["state"])) if "state" in given else given)
        if chosen := entry_numbers(given.getlist("entry")):
            answers = await self.finding.chosen(request, state, chosen)
        else:
            answers = await self.finding.answers(request, state)
        if answers.answer is None:
            raise Refusal(400, "Nothing to look for: give words, a picture, or both.")
        return answers, answers.answer

    async def thumbnail(self, request: Request, index: str, number: int, side: int = SIDES[0], v: str = "") -> Response:
        """Return the picture of an entry, small; only entries of served indexes have one. It is kept, here and by the
        browser, under the version of the entry alone: in an index that is made anew a number is another picture's.
        """
        side = SIDES[0] if side <= SIDES[0] else SIDES[1]
        served = self.search.index(index)
        key, pictures = (index, number, v), self._pictures[side]
        data = pictures.get(key) if v else None
        if data is None:
            try:
                data = await self.service.thread(_small, served, number, side, v)
            except UnreadableItem:
                raise Refusal(404, f"The index {index} has no readable picture {number}.", "entry_not_found") from None
            if v:
                pictures.put(key, data)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": SHORT if v else "no-store"})

    async def look(
        self, request: Request, index: str, number: int, q: str = "", alone: bool = False, v: str = ""
    ) -> Response:
        """Return the picture of an entry with a map of where the words look, or the map alone, to lay over it."""
        words, served = (
            "; ".join(text for text, weight in State(q=q).words() if weight > 0)[:200],
            self.search.index(index),
        )
        if not words:
            raise Refusal(400, "Nothing to look for: give words as q.")
        try:
            photo = await self.service.thread(entry_picture, served, number, SIDE, v)
        except UnreadableItem:
            raise Refusal(404, f"The index {index} has no readable picture {number}.", "entry_not_found") from None
        model = served.model
        shown = await self.service.call(
            request, "look", lambda: looked_at(photo, words, model, model.calls, alone=alone)
        )
        data, kind = await self.service.thread(png if alone else jpeg, shown), "png" if alone else "jpeg"
        return Response(data, media_type=f"image/{kind}", headers={"Cache-Control": SHORT if v else "no-store"})

    async def table(self, request: Request) -> Response:
        """Return the answers of a search as CSV."""
        answers, _ = await self._exported(request)
        return Response(
            as_csv(answers), media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": "attachment; filename=answers.csv"},
        )  # fmt: skip

    async def data(self, request: Request) -> JSONResponse:
        """Return the answers of a search as ``diptych search --json`` prints them."""
        _, answer = await self._exported(request)
        return _download(answer.as_dict(), "answers")

    async def coco(self, request: Request) -> JSONResponse:
        """Return the answers of a search in the form of COCO's instances."""
        answers, answer = await self._exported(request)
        return _download(await self.service.thread(as_coco, answers, text_of(answer.terms)), "answers.coco")

    async def head(self, request: Request) -> Response:
        """Return the head that is fitted to the marks of a search, as a zip of a model folder."""
        files = await self.finding.head(request, State.read(request.query_params))
        return Response(
            zipped(files), media_type="application/zip",
            headers={"Content-Disposition": "attachment; filename=head.zip"},
        )  # fmt: skip

    async def report(self, name: str) -> Response:
        """Return a page of the project, in a sandbox: whatever it holds, it runs nothing and asks for nothing."""
        if name not in self.reports:
            raise Refusal(404, f"There is no report {name[:80]!r}.", "report_not_found")
        text = await self.service.thread(self.reports[name].read_bytes)
        return Response(text, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": SANDBOX})

    def router(self) -> APIRouter:
        """Return the routes; they are no part of the interface for programs."""
        routes = APIRouter(include_in_schema=False)
        routes.add_api_route("/", self.show, methods=["GET"])
        routes.add_api_route("/query", self.query, methods=["POST"])
        routes.add_api_route("/marks", self.mark, methods=["POST"])
        routes.add_api_route("/answers.csv", self.table, methods=["GET"])
        routes.add_api_route("/answers.json", self.data, methods=["GET"])
        routes.add_api_route("/answers.coco.json", self.coco, methods=["GET"])
        routes.add_api_route("/head.zip", self.head, methods=["GET"])
        routes.add_api_route("/photo/{index}/{number}", self.thumbnail, methods=["GET"])
        routes.add_api_route("/look/{index}/{number}", self.look, methods=["GET"])
        routes.add_api_route("/reports/{name:path}", self.report, methods=["GET"])
        routes.add_api_route("/page.css", self.style, methods=["GET"])
        for name in self._scripts:
            routes.add_api_route(f"/{name}", partial(self.script, name), methods=["GET"])
        routes.include_router(self._map.router())
        routes.add_api_route("/icon.svg", self.icon, methods=["GET"])
        return routes

    async def style(self) -> Response:
        """Return the style sheet."""
        return Response(self._style, media_type="text/css", headers={"Cache-Control": SHORT})

    async def icon(self) -> Response:
        """Return the icon of a tab."""
        return Response(_asset("serve/icon.svg"), media_type="image/svg+xml", headers={"Cache-Control": SHORT})

    async def script(self, name: str) -> Response:
        """Return a script, which only makes things quicker."""
        return Response(self._scripts[name], media_type="text/javascript", headers={"Cache-Control": SHORT})


def _download(data: Any, name: str) -> JSONResponse:
    return JSONResponse(data, headers={"Content-Disposition": f"attachment; filename={name}.json"})


def _small(index: ServedIndex, number: int, side: int, version: str) -> bytes:
    return jpeg(entry_picture(index, number, side, version))
