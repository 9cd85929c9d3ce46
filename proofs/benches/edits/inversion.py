"""Proof of editors that invert pictures and edit them by a text: pictures whose colour and shape are known.

The pictures are those of the factor renderer that the generator ``small`` was taught to draw: rendered, no photographs.
An edit is clean when the picture then shows the named factor (colour or shape) as asked, and the other as before. What
a picture shows is what the nearest of all colours and shapes at the same place on the same ground shows.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from diptych.backbones.generators.load import SMALL_DRAWS, SMALL_PLACED
from diptych.core import Backbone, Column, Evidence, Kit, NotAvailable, Run, Styles, Table, Texts
from diptych.data.edits import edit_table
from diptych.data.memory import InMemory
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm, Floats
from diptych.features.embed import embed
from diptych.features.visual import early, unlike
from diptych.methods.audit.augclip import AugCLIP
from diptych.methods.edit.clipinverter import CLIPInverter, FittedCLIPInverter
from diptych.nn.style_space import direction_loss, seen
from diptych.tasks.edit_parts import kit_for
from proofs.benches.edits.asks import Asks, Factors
from proofs.trial import Claim, Tabled, Trial

METRIC = "clean_edits"
SIMILARITY = "source_similarity"
RATE = 0.1
"""Of Adam for the optimisation of latents: the best of 0.02, 0.05 and 0.1 on 100 pictures that are not the proof's."""
Edit = Callable[["Known", Tensor], Tensor]
"""From pictures with asks and the (N, 2) names that are told to (N, 3, H, W) edited pictures."""


@dataclass(frozen=True)
class Known:
    """N pictures with known factors, and what is asked of each.

    Args:
        asks: styles of the renderer, what they show, and what shall change.
        x: (N, 3, H, W) the pictures.
    """

    asks: Asks
    x: Tensor

    @classmethod
    def draw(cls, count: int, g: torch.Generator) -> Known:
        """Draw pictures with asks."""
        styles = placed(SMALL_DRAWS.sample(count, g))
        start = Factors(SMALL_DRAWS).read(styles)
        asks = Asks.draw(styles, start, (len(SMALL_DRAWS.colours), len(SMALL_DRAWS.shapes)), g)
        known = cls(asks, torch.empty(0))
        return replace(known, x=known.rendered(start))  # drawn factors mix near ties, and a mixture shows nothing named

    def shows(self, pictures: Tensor) -> Tensor:
        """Return (N, 2) colours and shapes that edited pictures show."""
        colours, shapes = len(SMALL_DRAWS.colours), len(SMALL_DRAWS.shapes)
        pairs = torch.cartesian_prod(torch.arange(colours), torch.arange(shapes))
        errors = [(self.rendered(pair.expand(len(pictures), 2)) - pictures).square().mean((1, 2, 3)) for pair in pairs]
        return pairs[torch.stack(errors).argmin(0)]

    def rendered(self, names: Tensor) -> Tensor:
        """Return the pictures of (N, 2) colours and shapes at the same places on the same grounds."""
        f = SMALL_DRAWS.factors(self.asks.styles)
        one = {"colour": torch.zeros_like(f["colour"]), "shape": torch.zeros_like(f["shape"])}
        for i, kind in enumerate(one):
            one[kind].scatter_(1, names[:, i : i + 1], 1.0)
        return SMALL_DRAWS.synthesise(SMALL_DRAWS.styles({**f, **one}))

    def clean(self, pictures: Tensor) -> Floats:
        """Return (N,) 1.0 where an edit did what was asked and kept the other name."""
        return (self.shows(pictures) == self.asks.wanted()).all(1).numpy().astype(np.float64)

    def beside(self, pictures: Tensor) -> dict[str, float]:
        """Return the change (shares that reach the target), and what was kept: the other name, and the background,
        whose peak signal-to-noise ratio in dB is measured outside the object before and the object that was asked for.
        "changed" is the mean over pictures of the root mean squared difference from the picture before, of 1.
        """
        now, kind = self.shows(pictures), self.asks.kind
        hit = now.gather(1, kind[:, None])[:, 0] == self.asks.target
        other = (now == self.asks.start).gather(1, 1 - kind[:, None])[:, 0]
        empty = self.x[:, :, :1, :1]  # a corner, where no object reaches
        outside = ((self.x - empty).abs().amax(1) < 0.02) & ((self.right() - empty).abs().amax(1) < 0.02)
        error = float((pictures - self.x).square().mean(1)[outside].mean())
        out = {f"on_target_{n}": float(hit[kind == k].float().mean()) for k, n in enumerate(("colour", "shape"))}
        return {
            **out,
            "other_kept": float(other.float().mean()),
            "background_psnr_db": -10 * math.log10(error),
            "changed": float((pictures - self.x).square().mean((1, 2, 3)).sqrt().mean()),
        }

    def right(self) -> Tensor:
        """Return the pictures that were asked for."""
        return self.rendered(self.asks.wanted())


def placed(styles: Styles) -> Styles:
    """Return styles whose places and sizes vary as little as the generator was taught."""
    f = SMALL_DRAWS.factors(styles)
    return SMALL_DRAWS.styles({**f, "place": SMALL_PLACED * f["place"]})


def phrases(names: Tensor) -> list[str]:
    """Return "a red circle" of each of (N, 2) colours and shapes."""
    return [article(f"{SMALL_DRAWS.colours[c]} {SMALL_DRAWS.shapes[s]}") for c, s in names.tolist()]


def weighed(known: Known, pictures: Tensor, backbone: Backbone, run: Run) -> dict[str, float]:
    """Return two means of edited pictures, by a backbone that must know colours and shapes: AugCLIP, which wants what
    was asked for and what was there before, and the cosine of a picture before and after.
    """
    before, wanted = known.asks.start, known.asks.wanted()
    table = edit_table(photographed(known.x), photographed(pictures), phrases(wanted), named(before), named(wanted))
    scores = AugCLIP().fit(Kit({"main": backbone}), Evidence(), run).score(table, run)
    return {"augclip": float(scores.values.mean()), SIMILARITY: float(scores.columns[SIMILARITY].mean())}


def named(names: Tensor) -> list[tuple[str, str]]:
    """Return ("red", "circle") of each of (N, 2) colours and shapes."""
    return [(SMALL_DRAWS.colours[c], SMALL_DRAWS.shapes[s]) for c, s in names.tolist()]


def photographed(x: Tensor) -> InMemory:
    """Return (N, 3, H, W) pictures in [0, 1] as bytes."""
    return InMemory(list((x * 255).round().byte().permute(0, 2, 3, 1).numpy()))


def captioned(count: int, g: torch.Generator) -> Table[Any]:
    """Return ``count`` rendered pictures with their captions."""
    known = Known.draw(count, g)
    return Table(photographed(known.x), {"captions": Column("captions", [(t,) for t in phrases(known.asks.start)])})


def optimised(fitted: FittedCLIPInverter, known: Known, names: Tensor, run: Run, steps: int) -> Tensor:
    """Edit each picture by Adam on its w+, with the losses of the first training; it starts at the inversion."""
    m, b, generator = fitted.method, fitted.backbone, fitted.generator
    old, new = (embed(b.text, Texts(tuple(phrases(n))), run) for n in (known.asks.start, names))
    d = normalize(new, dim=1) - normalize(old, dim=1)
    out = []
    for start in range(0, len(known.x), 32):
        x, toward = known.x[start : start + 32], d[start : start + 32]
        with torch.no_grad():
            w = fitted.maps.mean + fitted.maps.codes(fitted.maps.maps(x))
            layer, origin = early(b, x), seen(b.image, x, run)
        w = w.clone().requires_grad_()
        optimizer = torch.optim.Adam([w], lr=RATE)
        for _ in range(steps):
            with torch.enable_grad():
                y = generator.synthesise(generator.styles(w))
                local, whole = unlike(layer, early(b, y))
                terms = torch.stack(
                    [
                        whole.sum(),
                        mse_loss(2 * y, 2 * x) * len(x),
                        local.sum(),
                        (w - fitted.maps.mean).flatten(1).norm(dim=1).sum(),
                        direction_loss(seen(b.image, y, run), origin, toward).sum(),
                    ]
                )
                (w.grad,) = torch.autograd.grad((torch.tensor(m.weights) * terms).sum(), [w])
            optimizer.step()
        with torch.no_grad():
            out.append(generator.synthesise(generator.styles(w)))
    return torch.cat(out)


def editing(fitted: FittedCLIPInverter, run: Run) -> Edit:
    """Return the edit of a fitted editor."""

    def edit(known: Known, names: Tensor) -> Tensor:
        vectors = embed(fitted.backbone.text, Texts(tuple(phrases(names))), run)
        edited = fitted.edited(known.x, vectors, run).after
        assert isinstance(edited, Tensor)
        return edited

    return edit


def open_inversions(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    items: int = 1400,
    train: int = 1024,
    optimise: int = 50,
    **less: Any,
) -> Tabled:
    """Measure edits of rendered pictures through the generator ``small``; pictures and asks are the same for all seeds.

    The latents are optimised for ``optimise`` steps.
    """
    if name != "small":
        raise NotAvailable(f"{name} has no encoder through feature maps: this proof takes small.")
    method = CLIPInverter(**{**CLIPInverter.card.variants["small"], **less})
    kit = kit_for(CLIPInverter.card, backbone, generator="small")
    test = Known.draw(items, Run().generator("inversion/test/second"))
    fixed = method.untrained(kit, Run())
    wanted = test.asks.wanted()
    start = time.perf_counter()
    pictures = {"optimisation": optimised(fixed, test, wanted, run, optimise)}
    seconds = (time.perf_counter() - start) / items
    with torch.no_grad():
        pictures["inversion"] = fixed.generator.synthesise(fixed.maps.invert(test.x))
    results = []
    for seed in seeds:
        seeded = replace(run, seed=seed)
        fitted = method.fit(kit, Evidence(train=captioned(train, seeded.generator("inversion/train"))), seeded)
        arms, took = _seed(fitted, method.untrained(kit, seeded), test, seeded)
        results.append({**arms, **{name: (test, y) for name, y in pictures.items()}})
    hits = {arm: np.stack([one[arm][0].clean(one[arm][1]) for one in results]) for arm in results[0]}
    beside = {
        arm: [{**known.beside(y), **weighed(known, y, backbone, run)} for known, y in (one[arm] for one in results)]
        for arm in results[0]
    }
    facts = {
        "data_hash": hashlib.sha256(test.x.numpy().tobytes() + test.asks.target.numpy().tobytes()).hexdigest(),
        "items": items,
        "train_items": train,
        "measured_seeds": list(seeds),
        "what": "rendered pictures of one coloured shape, 32 pixels; not photographs",
        "seconds_a_picture": {"own": took, "optimisation": seconds},
    }
    others = {arm: {key: float(np.mean([one[key] for one in many])) for key in many[0]} for arm, many in beside.items()}
    return Tabled(backbone, run, seeds, METRIC, facts, hits, others)


def _seed(
    fitted: FittedCLIPInverter, fresh: FittedCLIPInverter, test: Known, run: Run
) -> tuple[dict[str, tuple[Known, Tensor]], float]:
    """Return arm -> what its pictures are read for, and they; and the seconds of an edit."""
    wanted, edit, items = test.asks.wanted(), editing(fitted, run), len(test.x)
    start = time.perf_counter()
    edits = edit(test, wanted)
    took = (time.perf_counter() - start) / items
    other = others(test.asks, run.generator("inversion/others")).wanted()
    first = replace(fitted, method=replace(fitted.method, refine=0))
    untrained = editing(fresh, run)
    return {
        "own": (test, edits),
        "no refinement": (test, editing(first, run)(test, wanted)),
        "own caption": (test, edit(test, test.asks.start)),
        "other words": (test, edit(test, other)),
        "untrained adapters": (test, untrained(test, wanted)),
        "untrained adapters, other words": (test, untrained(test, other)),
    }, took


def others(asked: Asks, g: torch.Generator) -> Asks:
    """Return another ask of each picture: one name changes, as in the first, and the result is never the same."""
    sizes = len(SMALL_DRAWS.colours), len(SMALL_DRAWS.shapes)
    out = Asks.draw(asked.styles, asked.start, sizes, g)
    while (same := (out.wanted() == asked.wanted()).all(1)).any():
        again = Asks.draw(asked.styles, asked.start, sizes, g)
        out = replace(
            out, kind=torch.where(same, again.kind, out.kind), target=torch.where(same, again.target, out.target)
        )
    return out


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "clipinverter": Trial(
            (Claim("optimisation"), Claim("inversion"), Claim("other words")),
            arm=Arm("own"),
            variant="small",
            controls=tuple(
                Claim("untrained adapters, other words", arm=Arm(one), name=one)
                for one in ("other words", "untrained adapters")
            ),
            beside={"no refinement": Arm("no refinement"), "own caption": Arm("own caption")},
            bench=open_inversions,
        )
    }
)
