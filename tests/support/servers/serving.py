"""A server of the backbone that knows colours, in this process and on a port of 127.0.0.1."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from diptych.api.model import Model
from diptych.core import ClassNames, Evidence, Kit, Run
from diptych.data.load import open_data, open_records
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_index
from diptych.serve.run import configured
from diptych.serve.settings import Settings
from diptych.tasks.calibrate import Calibration
from diptych.tasks.model import Predictor
from diptych.tasks.search.index import index
from tests.support.colours import COLOURS, ColourBackbone


def colour_bytes(colour: str, size: tuple[int, int] = (12, 9)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(file, "PNG")
    return file.getvalue()


def colour_uri(colour: str) -> str:
    return "data:image/png;base64," + base64.b64encode(colour_bytes(colour)).decode()


@pytest.fixture(scope="session")
def model() -> ServedModel:
    return ServedModel("colours", Model(ColourBackbone(), Run()))


@pytest.fixture(scope="session")
def index_folder(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "photos"
    index(open_records(str(colours / "test")), ColourBackbone(), Run(), folder)
    return folder


@pytest.fixture(scope="session")
def predictor(colours: Path, model: ServedModel) -> Predictor:
    """A calibrated classifier of the five colours."""
    table, classes = open_data(colours).split("train"), ClassNames(tuple(COLOURS), ("a {} thing.",))
    fitted = ZeroShot().fit(Kit.of(model.model), classes, Evidence(), model.calls)
    names = open_data(colours).classes
    labels = table.labels()
    order = [list(COLOURS).index(names[k]) for k in labels]
    calibration = Calibration.of(fitted.scores(table.items, model.calls), model.model, np.array(order))
    return Predictor(fitted, calibration, model.model, {"method": "zero-shot"}, model.calls)


@pytest.fixture(scope="session")
def content(model: ServedModel, index_folder: Path, predictor: Predictor) -> Content:
    return Content(
        (model,), {"photos": open_index(index_folder, [model])}, {"colour-classes": predictor},
        sentences=("something red", "something green"),
    )  # fmt: skip


@pytest.fixture
def serve(content: Content) -> Iterator[Callable[..., Any]]:
    """Return what starts a server with these settings, in this process."""
    opened: list[TestClient] = []

    def start(**settings: Any) -> TestClient:
        client = TestClient(server(Settings(**settings), content), base_url="http://127.0.0.1")
        opened.append(client.__enter__())
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def client(content: Content) -> Iterator[TestClient]:
    """One server for the tests that change nothing."""
    aliases = {"embed-v4.0": "colours", "ViT-B-32__openai": "colours"}
    with TestClient(server(Settings(aliases=aliases, max_inputs=8), content), base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture(scope="session")
def address(content: Content) -> Iterator[str]:
    """The address of a server that listens on a port of this machine."""
    settings = Settings(port=0, aliases={"embed-v4.0": "colours"})
    running = uvicorn.Server(configured(server(settings, content), settings))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    for _ in range(500):
        if running.started:
            break
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(10)
