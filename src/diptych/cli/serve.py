"""``diptych serve``: one process that answers words and pictures over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from diptych.cli import options
from diptych.cli.console import say
from diptych.cli.flags import option
from diptych.cli.offers import offers
from diptych.core.errors import EXTRAS, need_extra

if TYPE_CHECKING:
    from diptych.cli.options import RunOptions
    from diptych.serve.assembly import Content
    from diptych.serve.model import ServedModel
    from diptych.serve.settings import Settings

SHARING = {
    "all": "share batches", "equal_lengths": "of equal length share batches", "none": "do not share batches",
}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where the server listens, and who may ask."""

    host: Annotated[str, option("--host", help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, option("--port", help="Port to listen on.", min=1, max=65535)] = 7070
    keys: Annotated[Path | None, option("--keys", help="File of keys, one per line; requests must send one.")] = None
    insecure: Annotated[bool, option("--insecure", help="Let other machines connect without a key (with --host).")] = (
        False
    )
    host_name: Annotated[list[str] | None, option("--host-name", help="A further host name that requests may use.")] = (
        None
    )
    fetch_from: Annotated[
        list[str] | None,
        option("--fetch-from", help="Origin from which pictures may be fetched, such as http://label-studio:8080."),
    ] = None


@dataclass(frozen=True)
class Bounds:
    """What one request, and all of them, may take."""

    largest_batch: Annotated[int, option("--largest-batch", help="Inputs encoded at once.", min=1)] = 32
    wait_ms: Annotated[
        float,
        option("--wait-ms", help="Milliseconds that a request waits for others to share its batch.", min=0.0),
    ] = 4.0
    capacity: Annotated[
        int, option("--capacity", help="Inputs of one client that may wait; four times as many of all.", min=1)
    ] = 256
    timeout: Annotated[float, option("--timeout", help="Seconds after which a request is cancelled.", min=0.1)] = 30.0
    max_mib: Annotated[float, option("--max-mib", help="Largest body, in MiB.", min=0.01)] = 32.0
    max_megapixels: Annotated[
        float, option("--max-megapixels", help="Largest picture, in millions of pixels.", min=0.01)
    ] = 50.0
    max_request_megapixels: Annotated[
        float | None,
        option(
            "--max-request-megapixels",
            help="All pictures of a request together, in millions of pixels; by default 32 of the largest.", min=0.01,
        ),
    ] = None  # fmt: skip
    max_inputs: Annotated[int, option("--max-inputs", help="Texts and pictures of a request.", min=1)] = 2048
    truncate: Annotated[
        bool,
        option("--truncate", help="Cut texts that are longer than a model reads, instead of refusing them."),
    ] = False
    allow_training: Annotated[
        bool, option("--allow-training", help="Let requests use systems that learn from the photos they send.")
    ] = False


@dataclass(frozen=True)
class Offered:
    """What is answered with, beside the model."""

    project: Annotated[
        Path | None, option("--project", help="Folder with indexes, classifiers and reports, all served.")
    ] = None
    index: Annotated[list[Path] | None, option("--index", help="Folder of an index to search; repeat.")] = None
    classifier: Annotated[
        list[Path] | None, option("--classifier", help="Folder of an exported classifier; repeat.")
    ] = None
    fitted: Annotated[
        list[Path] | None,
        option("--fitted", help="Folder of a fitted segmenter, detector or captioner; repeat."),
    ] = None
    normal: Annotated[
        list[str] | None, option("--normal", help="NAME=FOLDER of normal photos, for /v1/detect; repeat.")
    ] = None
    sentences: Annotated[Path | None, option("--sentences", help="File of sentences, for /v1/caption.")] = None
    more: Annotated[list[str] | None, option("--also", help="A further backbone to serve; repeat.")] = None
    alias: Annotated[
        list[str] | None,
        option("--alias", help="NAME=BACKBONE: another name of a model, for clients that expect it; repeat."),
    ] = None
    quiet: Annotated[bool, option("--quiet", "-q", help="Do not write a line for each request.")] = False


@offers("backbone", "device", "precision", "engine", "batch", "cache")
def serve(
    *,
    address: Address,
    bounds: Bounds,
    offered: Offered,
    shared: options.RunOptions,
) -> None:
    """Serve embeddings, labels and search over HTTP, to clients of OpenAI, Cohere, Label Studio, Immich and Weaviate.

    Clients take turns, and so do the requests of one client: a client is an address, with the key that it shows.
    Fixed limits: a text has 50,000 characters, a request 1,000 labels and 128 pictures to segment, a search 1,000
    answers; a client's decoded pictures and open requests have bounds that follow --max-megapixels and --capacity.
    """
    for package in EXTRAS["serve"]:
        need_extra("serve", "diptych serve", package)
    from diptych.serve.run import log_requests, refuse_taken, run

    settings = _settings(address, bounds, offered, shared)  # before anything is loaded
    refuse_taken(settings)
    say("diptych starts: it loads torch and what is served, which takes longer on a busy machine.")
    from diptych.serve.assembly import server

    app = server(settings, _content(offered, shared))
    if not offered.quiet:
        log_requests()
    where = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    say(f"diptych serves {where} (Ctrl-C stops it).")
    run(app, settings, say)


def _settings(address: Address, bounds: Bounds, offered: Offered, shared: RunOptions) -> Settings:
    from diptych.serve.settings import MEBIBYTE, Settings, read_aliases, read_keys

    return Settings(
        host=address.host, port=address.port, insecure=address.insecure,
        keys=() if address.keys is None else read_keys(address.keys),
        hosts=tuple(address.host_name or ()), fetch_from=tuple(address.fetch_from or ()),
        aliases=read_aliases(offered.alias or (), [shared.backbone, *(offered.more or ())]),
        largest_batch=bounds.largest_batch, longest_wait=bounds.wait_ms / 1000, capacity=bounds.capacity,
        timeout=bounds.timeout, max_bytes=int(bounds.max_mib * MEBIBYTE),
        max_pixels=int(bounds.max_megapixels * 1e6), max_inputs=bounds.max_inputs,
        max_request_pixels=(
            None if bounds.max_request_megapixels is None else int(bounds.max_request_megapixels * 1e6)
        ),
        truncate=bounds.truncate, training=bounds.allow_training,
    )  # fmt: skip


def _content(offered: Offered, shared: RunOptions) -> Content:
    """Load everything that is answered with."""
    from diptych.serve.assembly import Content
    from diptych.serve.opening import (
        check_fitted,
        check_folders,
        open_captions,
        open_classifier,
        open_detector,
        open_fitted,
        open_index,
        open_model,
        open_normal,
    )
    from diptych.serve.project import Project, by_name

    project = Project() if offered.project is None else Project.of(offered.project)
    indexes = by_name([*(offered.index or ()), *project.indexes])
    classifiers = by_name([*(offered.classifier or ()), *project.classifiers])
    names = list(dict.fromkeys([shared.backbone, *(offered.more or ())]))
    check_folders(indexes.values(), classifiers.values(), names)
    folders = by_name(offered.fitted or ())
    kinds = {name: check_fitted(folder) for name, folder in folders.items()}
    sentences = () if offered.sentences is None else open_captions(offered.sentences)
    normal = dict(open_normal(line) for line in offered.normal or ())
    models: dict[str, ServedModel] = {}
    for name in names:
        with replace(shared, backbone=name).open() as opened:
            backbone = opened.backbone(spaces=True)
            say(f"{name}: loaded; now it is tried which of its requests may share batches.")
            models[name] = open_model(name, backbone, opened.run)
    for name, model in models.items():
        lines = [f"{modality} requests {SHARING[sharing]}" for modality, sharing in model.sharing.items()]
        say(f"{name}: {model.dim} dimensions; {', '.join(lines)}.")
    first = models[names[0]]
    every = {name: open_fitted(folder, list(models.values())) for name, folder in folders.items()}
    fitted = {k: {n: every[n] for n in kinds if kinds[n] == k} for k in ("segmenter", "detector", "captioner")}
    return Content(
        models=tuple(models.values()),
        indexes={name: open_index(folder, list(models.values())) for name, folder in indexes.items()},
        classifiers={name: open_classifier(folder, list(models.values())) for name, folder in classifiers.items()},
        detectors={
            **{name: open_detector(name, good, first) for name, good in normal.items()},
            **{name: read.fitted for name, read in fitted["detector"].items()},
        },
        segmenters=fitted["segmenter"],
        captioners=fitted["captioner"],
        sentences=sentences,
        reports=project.reports,
    )
