"""How the three-map encoder of the embedded generator ``small`` was made: from pictures of the generator to their w.

python -m recipes.small_maps --out OUT     resumes where it stopped; writes OUT/small_maps.safetensors

Pictures are drawn by the generator from z, so every picture has a known w. The loss is the squared difference of w+,
plus that of the pictures that the generator draws from it, plus their absolute one on a Laplacian pyramid.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from diptych.backbones.generators.load import SMALL, SMALL_DRAWS, load_small, load_small_maps
from diptych.backbones.generators.maps import ThreeMapInverter
from diptych.core import Clock, Inverter, ParamGroup, Row, Run, Trainee
from diptych.tasks.record import now, versions
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from recipes.fresh_generators import fresh_maps
from recipes.number_stream import Numbers
from recipes.small_generator import Held, SmallTrainee, pyramid_loss

FILE = "small_maps.safetensors"


class MapsTrainee(Trainee):
    """Trains the encoder.

    Args:
        run: seed.
    """

    def __init__(self, run: Run) -> None:
        self.generator, _ = load_small(SMALL)
        self.held = Held(fresh_maps(self.generator, run.generator("small maps")))

    def module(self) -> nn.Module:
        """Return its weights."""
        return self.held

    def groups(self) -> list[ParamGroup]:
        """Return all, without decay."""
        return [ParamGroup(tuple(name for name, _ in self.held.named_parameters()), decay=0.0)]

    def now(self) -> ThreeMapInverter:
        """Return the encoder as its weights are now."""
        return ThreeMapInverter({**self.held.tensors(), "mean": self.generator.weights["latent_avg"]}, self.generator)

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Draw z."""
        return {"z": torch.randn(self.generator.style_dim, generator=g)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the differences of w+ and of pictures in [-1, 1]."""
        encoder = self.now()
        with torch.no_grad():
            w = self.generator.map(batch["z"])
            x = self.generator.synthesise(self.generator.styles(w))
        inverted = encoder.mean + encoder.codes(encoder.maps(x))
        y = self.generator.unclipped(self.generator.styles(inverted))
        return {
            "code": 0.1 * mse_loss(inverted, w),
            "squared": mse_loss(2 * y, 2 * x),
            "pyramid": pyramid_loss(2 * y, 2 * x),
        }


def judged(encoder: Inverter, draws: int = 500) -> dict[str, float]:
    """Return the mean squared difference, in [0, 1]^2, of pictures and what comes back of them: "own" of the generator
    itself, "factors" of the renderer that it was taught to imitate.
    """
    generator, _ = load_small(SMALL)
    z = torch.randn(draws, generator.style_dim, generator=Run(seed=1).generator("small judged"))
    with torch.no_grad():
        pictures = {
            "own": generator.synthesise(generator.styles(generator.map(z))),
            "factors": SMALL_DRAWS.synthesise(SmallTrainee(Run()).told(z)),
        }
        back = {name: generator.synthesise(encoder.invert(x)) for name, x in pictures.items()}
    return {name: float(mse_loss(back[name], x)) for name, x in pictures.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Run the recipe."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(
        prog="python -m recipes.small_maps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args(words)
    start = time.perf_counter()
    run = Run(seed=0, out=options.out, workers=0)
    trainee = MapsTrainee(run)
    fit = Fit(
        lr=2e-3,
        batch=32,
        steps=options.steps,
        schedule=Schedule(warmup=50),
        optimizer="adam",
        betas=(0.9, 0.99),
        eps=1e-8,
        decay=0.0,
        clip=1.0,
        save_every=500,
        log_every=50,
    )
    train(trainee, Numbers(), fit, run, resume=True)
    tensors = trainee.now().weights
    path = options.out / FILE
    save_file({name: t.detach().half().contiguous().clone() for name, t in tensors.items()}, path)
    facts = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "steps": options.steps,
        "seed": 0,
        "squared_difference": judged(load_small_maps(path, trainee.generator)),
        "one_w": judged(load_small(SMALL)[1]),
    }
    sys.stdout.write(json.dumps({**facts, "date": now(), "versions": versions()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
