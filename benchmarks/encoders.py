"""Images and texts a second through the towers: the libraries' models, plain runtimes on one graph, our engine."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Row, Target, gain, optional, say
from benchmarks.peers import (
    clip_tokenizer,
    features,
    onnxruntime_plain,
    openvino_plain,
    sentence_transformer,
    transformers_clip,
    write_graph,
)  # fmt: skip
from benchmarks.pictures import captions, pictures
from diptych.backbones.engines.engine import Engines
from diptych.backbones.engines.parity import rows
from diptych.backbones.sources.load import load
from diptych.core import Backbone, DiptychError, Encoder, Run

PRECISIONS = {"exact": "fp32", "fast": "bf16", "int8": "int8"}
BOUNDS = {"diptych exact": 0.99999, "diptych fast": 0.9999}
FLOORS = {"diptych int8": 0.9, "ONNX Runtime fp32": 0.9999, "OpenVINO fp32": 0.9999}
RUNTIMES = ("ONNX Runtime fp32", "OpenVINO fp32", "OpenVINO bf16")
Contenders = dict[str, Callable[[], object]]


@cache
def engines() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of our exports, one for all rows of a run."""
    return tempfile.TemporaryDirectory(prefix="bench-engines-")


@cache
def backbone_of(name: str) -> Backbone:
    """Return a backbone; open_clip's architectures have random weights."""
    return load(name) if name in ("lite", "tiny") else load(f"openclip:{name}", weights="random")


def ours(encoder: Encoder[Any], missing: dict[str, str], facts: dict[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """Return our engine at each precision; one that runs as the precision before it is named as missing, and why."""
    results: dict[str, Callable[[Any], Any]] = {}
    for name, precision in PRECISIONS.items():
        who, lines = f"diptych {name}", list[str]()
        try:
            runner = Engines(Path(engines().name), "auto", lines.append).runner(encoder, Run(precision=precision))
        except DiptychError as error:
            missing[who] = str(error)
            continue
        for line in lines:
            say(line)
        engine, _, reasons = (lines[-1].partition(": ")[2] if lines else "torch, fp32").partition("; ")
        if engine in facts.values():
            missing[who] = (
                f"runs as {next(w for w, other in facts.items() if other == engine)}: "
                f"{reasons or 'the engine offers no more'}"
            )
            continue
        facts[who] = engine
        results[who] = runner or partial(rows, encoder)
    return results


def plain_runtimes(
    graph: Callable[[], Path], missing: dict[str, str]
) -> dict[str, Callable[[Mapping[str, Tensor]], Any]]:
    """Return the runtimes with their own defaults, on one graph."""
    results = {}
    with optional(missing, *RUNTIMES):
        path = graph()
        with optional(missing, RUNTIMES[0]):
            results[RUNTIMES[0]] = onnxruntime_plain(path)
        for name, precision in zip(RUNTIMES[1:], ("f32", "bf16"), strict=True):
            with optional(missing, name):
                results[name] = openvino_plain(path, precision)
    return results


def targets(base: str, *, int8_too: bool) -> tuple[Target, ...]:
    """Return what the engine should reach beside the library's own forward and the best plain runtime; texts are
    not quantised.
    """

    def beside_best(rates: Mapping[str, float]) -> float:
        return rates["diptych exact"] / max(rates[name] for name in RUNTIMES[:2] if name in rates)

    def fastest(*names: str) -> Callable[[Mapping[str, float]], float]:
        """Return what a user gets: the first of these that is offered, as the others run as the next one."""
        return lambda rates: next(rates[name] for name in names if name in rates) / rates[base]

    exact, fast, int8 = (f"diptych {name}" for name in PRECISIONS)
    return (
        Target(f"exact / {base}", gain(exact, base), 1.3),
        Target("exact / best plain fp32 runtime", beside_best, 0.95),
        Target(f"fast / {base}", fastest(fast, exact), 2.2),
    ) + ((Target(f"int8 / {base}", fastest(int8, fast, exact), 4.0),) if int8_too else ())


def no_grad(forward: Callable[..., Tensor], autocast: bool = False) -> Callable[..., Any]:
    """Return a forward without gradients, as NumPy rows."""

    def call(*parts: Any, **named: Any) -> Any:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return forward(*parts, **named).float().numpy()

    return call


def product_limit(forward: Callable[[Tensor], Any], x: Tensor, side: int = 1536, turns: int = 7) -> float:
    """Return the items a second of a tower whose float32 products ran as fast as large square ones, and all else
    took no time.
    """
    with (
        torch.enable_grad(),
        FlopCounterMode(display=False) as counted,
    ):  # without gradients torch fuses attention and counts none of it
        forward(x[:1].clone().requires_grad_())
    a, least = torch.randn(side, side), math.inf
    for _ in range(turns):
        start = time.perf_counter()
        a @ a
        least = min(least, time.perf_counter() - start)
    return 2 * side**3 / least / counted.get_total_flops()


@contextlib.contextmanager
def images(name: str, batch: int) -> Iterator[Row]:
    """A batch of prepared images through the image tower."""
    backbone = backbone_of(name)
    model: Any = backbone.module()
    x: Any = backbone.image.inputs(list(pictures(batch, (256, 256))))
    missing: dict[str, str] = {}
    facts: dict[str, Any] = {"batch": batch}
    if name == "lite":
        library, forward = "timm", lambda pixels: model.image_head(model.image(pixels))
    else:
        library, forward = "open_clip", model.encode_image
    base = f"{library} eager fp32"
    facts["images/s if float32 products were all"] = round(product_limit(forward, x), 1)
    results: Contenders = {
        base: lambda: no_grad(forward)(x),
        f"{library} bf16 autocast": lambda: no_grad(forward, autocast=True)(x),
    }
    if library == "open_clip":
        with optional(missing, "transformers fp32"):
            theirs = transformers_clip(model, backbone.config)  # type: ignore[attr-defined]
            results["transformers fp32"] = lambda: no_grad(
                lambda pixels: features(theirs.get_image_features(pixel_values=pixels))
            )(x)
    with tempfile.TemporaryDirectory(prefix="bench-graphs-") as folder:
        for who, run in plain_runtimes(
            lambda: write_graph(model, forward, {"x": x[:2]}, Path(folder) / "plain.onnx", any_length=False), missing
        ).items():
            results[who] = lambda run=run: run({"x": x})
        for who, run in ours(backbone.image, missing, facts).items():
            results[who] = lambda run=run: run(x)
        floors = FLOORS | {f"{library} bf16 autocast": 0.95, "OpenVINO bf16": 0.95}
        yield Row(
            results,
            batch,
            "images",
            floors=floors,
            bounds=BOUNDS,
            facts=facts,
            missing=missing,
            targets=targets(base, int8_too=True),
        )


@contextlib.contextmanager
def texts(name: str, batch: int) -> Iterator[Row]:
    """A batch of captions, from strings to vectors: tokenizer and text tower."""
    backbone = backbone_of(name)
    model: Any = backbone.module()
    given = captions(batch)
    missing: dict[str, str] = {}
    facts: dict[str, Any] = {"batch": batch, "words": sum(len(t.split()) for t in given) / batch}
    result, base, tokens, forward = (_minilm if name == "lite" else _clip_text)(model, backbone, given, missing)
    with tempfile.TemporaryDirectory(prefix="bench-graphs-") as folder:
        sample = {k: v[:2] for k, v in tokens(given).items()}
        for who, run in plain_runtimes(
            lambda: write_graph(model, forward, sample, Path(folder) / "plain.onnx", any_length=name == "lite"), missing
        ).items():
            result[who] = lambda run=run: run(tokens(given))
        for who, run in ours(backbone.text, missing, facts).items():
            result[who] = lambda run=run: run(backbone.text.inputs(given))
        floors = FLOORS | {"open_clip bf16 autocast": 0.95, "OpenVINO bf16": 0.95}
        yield Row(
            result,
            batch,
            "texts",
            floors=floors,
            bounds=BOUNDS,
            facts=facts,
            missing=missing,
            targets=targets(base, int8_too=False),
        )


Parts = tuple[Contenders, str, Callable[[Sequence[str]], dict[str, Tensor]], Callable[..., Tensor]]


def _clip_text(model: Any, backbone: Any, given: Sequence[str], missing: dict[str, str]) -> Parts:
    """Return open_clip's and transformers' forwards; open_clip pads to 77 tokens, transformers to the longest text."""
    import open_clip

    tokenize = open_clip.get_tokenizer("ViT-B-32")
    base = "open_clip eager fp32"
    results: Contenders = {
        base: lambda: no_grad(model.encode_text)(tokenize(list(given))),
        "open_clip bf16 autocast": lambda: no_grad(model.encode_text, autocast=True)(tokenize(list(given))),
    }
    with optional(missing, "transformers fp32"):
        theirs, words = transformers_clip(model, backbone.config), clip_tokenizer()
        results["transformers fp32"] = lambda: no_grad(lambda **x: features(theirs.get_text_features(**x)))(
            **words(list(given), padding=True, return_tensors="pt")
        )
    return results, base, lambda some: {"ids": tokenize(list(some))}, model.encode_text


def _minilm(model: Any, backbone: Any, given: Sequence[str], missing: dict[str, str]) -> Parts:
    """Return sentence-transformers' and transformers' forwards of MiniLM, both with lite's small head, so that
    vectors compare.
    """
    from diptych.backbones.lite_files import TEXT, packaged

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        h = model.text(input_ids=ids, attention_mask=mask).last_hidden_state
        out: Tensor = model.text_head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        return out

    results: Contenders = {}
    base = "sentence-transformers"
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(str(packaged(*TEXT).parent), local_files_only=True)

    def tokens(some: Sequence[str]) -> dict[str, Tensor]:
        ids = words(list(some), padding=True, return_tensors="pt")
        return {"ids": ids["input_ids"], "mask": ids["attention_mask"]}

    with optional(missing, base):
        theirs = sentence_transformer()
        results[base] = lambda: no_grad(lambda some: model.text_head(theirs(some)))(given)
    results["transformers fp32"] = lambda: no_grad(forward)(**tokens(given))
    return results, next(iter(results)), tokens, forward
