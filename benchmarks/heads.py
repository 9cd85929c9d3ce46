"""Class names to vectors, and a photo against many names: what labels cost, first and later."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.encoders import backbone_of, engines
from benchmarks.measure import Row, Target, gain, optional, say
from benchmarks.peers import clip_tokenizer, transformers_clip
from benchmarks.pictures import photo_folder
from diptych.backbones.engines.engine import Engines
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Run
from diptych.data.folders import ImageFiles
from diptych.features.heads import text_head
from diptych.tasks.classify import classify

TEMPLATE = "This is a photo of {}."
SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
"""An open_clip model so small that a thousand heads of eighty templates pass in a minute."""
PIXELS = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


def things(count: int) -> tuple[str, ...]:
    """Return class names."""
    return tuple(f"thing number {i}" for i in range(count))


def write_openclip(model: nn.Module, config: Mapping[str, Any], folder: Path) -> Path:
    """Write a folder that open_clip calls ``local-dir:`` and we call ``local:``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": dict(config), "preprocess_cfg": PIXELS}))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


@contextlib.contextmanager
def labels(count: int, name: str, photos: int) -> Iterator[Row]:
    """A new photo against ``count`` names that were asked for before, beside transformers' pipeline on the same
    weights.

    Args:
        count: of names.
        name: of a backbone that open_clip can build, "ViT-B-32" or "tiny".
        photos: one more than rounds.
    """
    backbone: Any = backbone_of(name)
    pixels = backbone.spec.pixels
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-labels-") as work, photo_folder(photos, (256, 256)) as folder:
        engine = Engines(Path(engines().name), "auto", say)
        engine.runner(backbone.image, Run())
        paths = sorted(folder.iterdir())
        results: dict[str, Any] = {}
        with optional(missing, "transformers pipeline"):
            import transformers

            pipeline = transformers.pipeline(
                "zero-shot-image-classification",
                model=transformers_clip(backbone.module(), backbone.config),
                tokenizer=clip_tokenizer(),
                image_processor=transformers.CLIPImageProcessorPil(
                    size={"shortest_edge": pixels.size},
                    crop_size=pixels.size,
                    image_mean=pixels.mean,
                    image_std=pixels.std,
                ),
                device="cpu",
            )

            def theirs() -> Any:
                answers = pipeline(str(paths[0]), candidate_labels=list(things(count)), hypothesis_template=TEMPLATE)
                scores = {answer["label"]: answer["score"] for answer in answers}
                return [scores[name] for name in things(count)]

            results["transformers pipeline"] = theirs

        numbers = {n: itertools.count() for n in (1, count)}

        def one(n: int) -> Any:
            """Classify the next photo, which is encoded: only the heads are known."""
            run = Run(cache=Path(work) / "embeddings" / str(n), engine=engine)
            answer = classify(
                ImageFiles([paths[next(numbers[n])]]), ClassNames(things(n), (TEMPLATE,)), backbone, run, top=n
            )
            if answer.encoded != 1:
                raise ValueError("the photo came from the cache")
            scores = dict(answer.predictions[0].top)
            return [scores[name] for name in things(n)] if n == count else None

        for n in (1, count):
            results[f"diptych, {n} label{'s' * (n > 1)}"] = lambda n=n: one(n)
        many = f"diptych, {count} labels"
        yield Row(
            results,
            unit="photos",
            same=lambda p: None if p is None else np.log(p) - np.log(p).mean(),
            missing=missing,
            targets=(Target(f"seconds of {count} labels / 1 label", gain("diptych, 1 label", many), 1.1, least=False),),
            rounds=photos - 1,
        )


@contextlib.contextmanager
def heads(classes: int, name: str) -> Iterator[Row]:
    """Heads of 80 templates a class: open_clip's builder; ours, for the first time and again.

    Args:
        classes: K.
        name: an open_clip architecture with random weights, or "small" for one whose tower costs next to nothing.
    """
    import open_clip

    templates = [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    with tempfile.TemporaryDirectory(prefix="bench-heads-") as work:
        if name == "small":
            backbone: Any = load(f"local:{write_openclip(open_clip.CLIP(**SMALL), SMALL, Path(work) / 'small')}")
        else:
            backbone = backbone_of(name)
        engine = Engines(Path(engines().name), "auto", say)
        runner = engine.runner(backbone.text, Run())
        prompts = ClassNames(things(classes), tuple(templates)).prompts()
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        numbers = itertools.count()

        def theirs() -> Any:
            return open_clip.build_zero_shot_classifier(backbone.module(), tokenizer, things(classes), templates).T

        def first() -> Any:
            return text_head(
                backbone, prompts, Run(cache=Path(work) / f"first{next(numbers)}", engine=engine, batch=64)
            )

        def again() -> Any:
            return text_head(backbone, prompts, Run(cache=Path(work) / "first0", engine=engine, batch=64))

        yield Row(
            {"open_clip build_zero_shot_classifier": theirs, "diptych, first time": first, "diptych, again": again},
            classes * len(templates),
            "prompts",
            facts={
                "classes": classes,
                "templates": len(templates),
                "tower": name,
                "runs": runner.name if runner else "torch, fp32",
            },
            rounds=1,
            warm=False,
        )
