"""How the embedded generator ``small`` was made: StyleGAN2's own network, trained to draw what the factor generator
draws.

python -m recipes.small_generator --out OUT     resumes where it stopped; writes OUT/small.safetensors

The first numbers of z, normalised as StyleGAN2 normalises it, are the factors of the picture that is to be drawn: so
every z has one right picture, and no adversary is needed. The loss is the squared difference plus the absolute one of
three levels of a Laplacian pyramid. Beside it an encoder learns to find w again.

Which shape is the strongest is hard to learn through pictures: two trainings from fresh weights drew colours without
shapes. So the mapping network is first shown, without any picture, a w in which the factors lie apart:

w*(z) = frame code(z),  code(z) = (tanh place, 2 softmax(shape / T), 2 softmax(colour / T), tanh ground),
                              T = 0.1 as the factors are drawn
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, mse_loss

from diptych.backbones.generators.factors import PLACE, TEMPERATURE, FactorGenerator
from diptych.backbones.generators.load import (
    MEAN_OF,
    SMALL_DRAWS,
    SMALL_PLACED,
    ConvInverter,
    load_small,
)
from diptych.backbones.generators.stylegan2 import LR_MULTIPLIER, StyleGAN2, normalised
from diptych.core import Clock, ParamGroup, Row, Run, Styles, Trainee
from diptych.tasks.record import now, versions
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from recipes.fresh_generators import fresh_encoder, fresh_weights
from recipes.number_stream import Numbers

STYLE_DIM, DEPTH = 64, 6
FRAME_SCALE = 3.0
WIDTHS: Mapping[int, int] = {4: 64, 8: 64, 16: 32, 32: 16}
FILE = "small.safetensors"


class Held(nn.Module):
    """Named tensors as parameters, whatever dots their names have."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.held = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(t) for name, t in tensors.items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return them under their own names."""
        return {name.replace("/", "."): t for name, t in self.held.items()}


def pyramid_loss(x: Tensor, y: Tensor, levels: int = 3) -> Tensor:
    """Return the mean absolute difference of Laplacian pyramids: ``levels`` bands, then what is left, each averaged,
    summed.
    """
    total, difference = x.new_zeros(()), x - y
    for _ in range(levels):
        small = avg_pool2d(difference, 2)
        total = total + (difference - interpolate(small, scale_factor=2.0, mode="nearest")).abs().mean()
        difference = small
    return total + difference.abs().mean()


class SmallTrainee(Trainee):
    """Trains generator and encoder.

    Args:
        run: seed.
    """

    def __init__(self, run: Run) -> None:
        g = run.generator("small generator")
        self.factors = SMALL_DRAWS
        generator = Held(fresh_weights(SMALL_DRAWS.size, STYLE_DIM, WIDTHS, DEPTH, g))
        self.frame = (
            FRAME_SCALE
            * torch.linalg.qr(torch.randn(STYLE_DIM, STYLE_DIM, generator=g))[0][: sum(self.factors.channels)]
        )
        self.nets = nn.ModuleDict({"generator": generator, "encoder": Held(fresh_encoder(STYLE_DIM, g))})

    def module(self) -> nn.Module:
        """Return both."""
        return self.nets

    def groups(self) -> list[ParamGroup]:
        """Return all, without decay; the mapping network knows w* and goes on at a tenth of the rate (its multiplier is
        undone).
        """
        names = [name for name, _ in self.nets.named_parameters()]
        mapping = tuple(name for name in names if "style/" in name)
        return [
            ParamGroup(mapping, lr=0.1 / LR_MULTIPLIER, decay=0.0),
            ParamGroup(tuple(n for n in names if n not in mapping), decay=0.0),
        ]

    def parts_now(self) -> tuple[StyleGAN2, ConvInverter]:
        """Return generator and encoder as their weights are now."""
        generator = StyleGAN2(self.nets["generator"].tensors())  # type: ignore[operator]
        return generator, ConvInverter(self.nets["encoder"].tensors(), generator)  # type: ignore[operator]

    def told(self, z: Tensor) -> Styles:
        """Return the factors that (B, C) z asks for."""
        s = normalised(z)[:, : sum(self.factors.channels)]
        s = torch.cat([SMALL_PLACED * s[:, : len(PLACE)], s[:, len(PLACE) :]], dim=1)
        return Styles(s, s[:, :0])

    def wanted(self, z: Tensor) -> Tensor:
        """Return (B, C) w* of z."""
        f = self.factors.factors(self.told(z))
        strongest = (2 * torch.softmax(f[name] / TEMPERATURE, dim=1) for name in ("shape", "colour"))
        out: Tensor = torch.cat([torch.tanh(f["place"]), *strongest, torch.tanh(f["ground"])], dim=1) @ self.frame
        return out

    def map_first(self, steps: int, g: torch.Generator, batch: int = 256) -> float:
        """Train the mapping network alone to give w*; return the share of its variance that is left."""
        parameters = [p for name, p in self.nets.named_parameters() if "style/" in name]
        optimizer = torch.optim.Adam(parameters, lr=3e-3 / LR_MULTIPLIER, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        left = math.nan
        # Not the one loop: it is no stage that resumes, has no data, and the shipped weights are these draws.
        for _ in range(steps):
            z = torch.randn(batch, STYLE_DIM, generator=g)
            wanted = self.wanted(z)
            loss = mse_loss(self.parts_now()[0].map(z)[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            left = float(loss.detach() / wanted.var())
        return left

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Draw z."""
        return {"z": torch.randn(STYLE_DIM, generator=g)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return squared and pyramid difference of pictures in [-1, 1], and the squared difference of w and what the
        encoder finds.
        """
        z = batch["z"]
        generator, encoder = self.parts_now()
        with torch.no_grad():
            x = self.factors.synthesise(self.told(z))
        w = generator.map(z)
        y = generator.unclipped(generator.styles(w))
        code = mse_loss(encoder.code(x), w[:, 0].detach())
        return {"squared": mse_loss(2 * y, 2 * x), "pyramid": pyramid_loss(2 * y, 2 * x), "code": code}


def make(out: Path, fit: Fit, seed: int = 0, mapping_steps: int = 12000) -> Path:
    """Train, or go on with a training that stopped, and write the weights, fp16.

    Args:
        out: folder of checkpoints, log and result.
        fit: settings of the loop.
        seed: fixes everything.
        mapping_steps: of the mapping network alone, before the loop.
    """
    from safetensors.torch import save_file

    run = Run(seed=seed, out=out, workers=1)
    trainee = SmallTrainee(run)
    trainee.map_first(
        mapping_steps, run.generator("small mapping")
    )  # seconds, and the same again where a training goes on
    train(trainee, Numbers(), fit, run, resume=True)
    generator, encoder = trainee.parts_now()
    with torch.no_grad():
        mean = generator.map(torch.randn(MEAN_OF, STYLE_DIM, generator=run.generator("mean of w")))[:, 0].mean(0)
    tensors = {**generator.weights, **{f"encoder.{name}": t for name, t in encoder.weights.items()}, "latent_avg": mean}
    save_file({name: t.detach().half().contiguous().clone() for name, t in tensors.items()}, out / FILE)
    return out / FILE


def known_share(pictures: Tensor, styles: Styles, factors: FactorGenerator) -> dict[str, float]:
    """Return the share of pictures whose shape, and whose colour, is the one that was asked for.

    A picture shows what the nearest, in squared difference, of all shapes in all colours shows, drawn at the same place
    on the same ground.

    Args:
        pictures: (B, 3, size, size) in [0, 1].
        styles: that were asked for.
        factors: draws what is right.
    """
    wanted = factors.factors(styles)
    pairs = [(s, c) for s in range(len(factors.shapes)) for c in range(len(factors.colours))]
    distances = []
    for s, c in pairs:
        one = {"shape": torch.zeros_like(wanted["shape"]), "colour": torch.zeros_like(wanted["colour"])}
        one["shape"][:, s] = one["colour"][:, c] = 1.0
        drawn = factors.synthesise(factors.styles({**wanted, **one}))
        distances.append((drawn - pictures).square().mean((1, 2, 3)))
    nearest = torch.tensor(pairs)[torch.stack(distances).argmin(0)]
    return {
        name: float((nearest[:, i] == wanted[name].argmax(1)).float().mean())
        for i, name in enumerate(("shape", "colour"))
    }


def judged(path: Path, draws: int = 1000) -> dict[str, float]:
    """Return ``known_share`` of pictures that a written generator draws of z it has not seen."""
    run = Run(seed=1)
    z = torch.randn(draws, STYLE_DIM, generator=run.generator("small judged"))
    generator, _ = load_small(path)
    with torch.no_grad():
        return known_share(
            generator.synthesise(generator.styles(generator.map(z))), SmallTrainee(run).told(z), SMALL_DRAWS
        )


def main(words: Sequence[str] | None = None) -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.small_generator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--steps", type=int, default=10000)
    options = parser.parse_args(words)
    start = time.perf_counter()
    fit = Fit(
        lr=6e-3,
        batch=32,
        steps=options.steps,
        schedule=Schedule(warmup=100),
        optimizer="adam",
        betas=(0.9, 0.99),
        eps=1e-8,
        decay=0.0,
        clip=1.0,
        ema=0.995,
        save_every=500,
        log_every=50,
    )
    path = make(options.out, fit)
    facts = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "steps": options.steps,
        "seed": 0,
        "right": judged(path),
    }
    sys.stdout.write(json.dumps({**facts, "date": now(), "versions": versions()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
