"""The panels of the gallery that train before they show: captioners, and an image tower that a denoiser teaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gallery_sheets import DIM, GREEN, INK, RED, Panel, Studio, sheet, wrapped
from PIL import Image

from diptych.core import Evidence, Kit

Lines = list[list[tuple[str, tuple[int, int, int]]]]


def rewarded_panel(s: Studio) -> Panel:
    """Captions of scenes before and after the reward."""
    from diptych.data.scenes.tables import scene_data
    from proofs.benches.scene_captions import ARMS, SIZES, TWO, stated, terse, truth

    run, method = replace(s.run, seed=1), ARMS["clip-reward"]
    data = scene_data(TWO, SIZES, caption=terse)
    train, val = data.split("train"), data.split("val")
    shown = val.take(range(8)).items
    likely = method.likely(Kit.of(s.tiny), Evidence(train=train), run)
    rewarded = method.rewarded_from(likely, train, run)
    scenes: Any = val.items
    pictures: list[Image.Image] = []
    lines: Lines = []
    captions = (fitted.caption(shown, run) for fitted in (likely, rewarded))
    for i, (before, after) in enumerate(zip(*captions, strict=True)):
        scene = scenes.scenes[i]
        pictures.append(Image.fromarray(scene.image).resize((190, 190), Image.Resampling.NEAREST))
        own: list[tuple[str, tuple[int, int, int]]] = []
        for name, found in (("likelihood", before), ("reward", after)):
            text = found[0].value if found else ""
            right = stated(text, TWO.bank.shapes) == truth(scene)
            own += [(name, DIM), *((line, GREEN if right else RED) for line in wrapped(text, 26)[:3])]
        lines.append(own)
    words = (
        f"The first eight scenes of a split that no training saw, captioned after {method.epochs} epochs of likelihood "
        f"and after {method.rewarded} more steps of reward, seed 1. Green captions state both things with their "
        "colours and nothing else; red ones do not. Most training captions leave something out. With the reward, "
        "captions say more, and not always what is there."
    )
    command = "diptych caption photos/ --like captions.csv --method clip-reward --variant small -b tiny"
    return Panel("rewarded.png", "caption: with a reward", command, words, sheet(pictures, lines, 4, 190))


def users_panel(s: Studio) -> Panel:
    """Captions of shapes, for two users and for nobody."""
    import torch

    from diptych.core import Column, Subset, Table
    from diptych.methods.caption.user_aware_prefix import UserAwarePrefix
    from proofs.benches.edits.inversion import captioned
    from proofs.benches.writers import captions_for

    run, count = replace(s.run, seed=1), 400
    drawn = captioned(count + 8, torch.Generator().manual_seed(0))
    captions = [texts[0] for texts in drawn.columns["captions"].values]
    posts = [(text,) for one in captions[:count] for text in (f"look, {one}", f"{one} as always")]
    rows = Subset(drawn.items, tuple(i for i in range(count) for _ in range(2)))
    columns = {"captions": Column("captions", posts), "user": Column("user", ["anna", "ben"] * count)}
    method = UserAwarePrefix(**UserAwarePrefix.card.variants["small"])
    fitted = method.fit(Kit.of(s.tiny), Evidence(train=Table(rows, columns)), run)
    unseen = Subset(drawn.items, tuple(range(count, count + 8)))
    captions_of = {user: captions_for(fitted, unseen, [user] * len(unseen), run) for user in ("anna", "ben", "")}
    pictures = [unseen[i].resize((190, 190), Image.Resampling.NEAREST) for i in range(len(unseen))]
    lines: Lines = []
    for i, true in enumerate(captions[count:]):
        lines.append(
            [
                line
                for user, texts in captions_of.items()
                for line in ((user or "nobody", DIM), (texts[i], GREEN if true[2:] in texts[i].lower() else RED))
            ]
        )
    words = (
        f"Eight rendered pictures, captioned as two users and as nobody in particular, after {len(posts)} captions: of "
        'each picture Anna says "look, a red star", and Ben "a red star as always". Seed 1; green captions name colour '
        "and shape, red ones do not. Each user's own words are there, but Anna's captions mostly end before they say "
        "more."
    )
    command = "diptych caption unseen --like users.csv --method user-aware-prefix --variant small --user anna -b tiny"
    return Panel("users.png", "caption: as a user writes", command, words, sheet(pictures, lines, 4, 190))


def diva_panel(s: Studio) -> Panel:
    """Pairs that differ in texture, and whether each caption chooses its picture before and after the feedback."""
    from diptych.backbones.diffusion.load import load_small
    from diptych.methods.pretrain.diva import DIFFUSION, DIVA
    from diptych.train.recipe import train_space
    from proofs.benches.training.detail_pairs import (
        FEEDBACK,
        FEEDBACK_SEED,
        OWN,
        POOLINGS,
        blinded,
        pair_hits,
        pairs_of,
        scenes_of,
    )

    run, count = replace(s.run, seed=1, workers=0), 8
    start = blinded(s.tiny, run)
    photos = scenes_of(FEEDBACK_SEED + 1, FEEDBACK.batch * (FEEDBACK.steps or 1)).items
    kit = Kit({"main": start, DIFFUSION: load_small(s.tiny)})
    tuned: Any = train_space(DIVA(**OWN), kit, Evidence(unlabelled=photos), FEEDBACK, run).space
    pairs = pairs_of("texture", 64_000, count)
    hits = [pair_hits(space, pairs)[POOLINGS[1]] for space in (start, tuned)]
    pictures: list[Image.Image] = []
    lines: Lines = []
    for i in range(count):
        for k in (i, i + count):
            pictures.append(pairs.pictures[k].resize((150, 150), Image.Resampling.NEAREST))
            marks = [
                (f"{name}: {'right' if hits_of[i] else 'wrong'}", GREEN if hits_of[i] else RED)
                for name, hits_of in zip(("before", "after"), hits, strict=True)
            ]
            lines.append([*((line, INK) for line in wrapped(pairs.captions[k], 22)), *(marks if k == i else [])])
    words = (
        "Eight pairs of scenes that differ in texture alone, drawn with a seed that the proof does not use. `tiny` was "
        f"made blind to texture first, and then taught by the denoiser's feedback for {FEEDBACK.steps} steps, seed 1. "
        "*Right*: both captions choose their own picture, by the vector that the authors read, the CLS token plus the "
        "mean of the patches. Its proof does not show a gain either."
    )
    command = "diptych pretrain photos -m diva --backbone tiny"
    return Panel("diva.png", "pretrain: taught by a denoiser", command, words, sheet(pictures, lines, 4, 150))
