"""The panels of the gallery whose pictures a generator or a denoiser makes: inputs and outputs of fixed seeds, none
chosen.
"""

from __future__ import annotations

from dataclasses import replace

from gallery_sheets import DIM, INK, One, Panel, Studio, sheet
from PIL import Image

from diptych.core import Evidence

Lines = list[list[tuple[str, tuple[int, int, int]]]]


def clipinverter_panel(s: Studio) -> Panel:
    """Rendered pictures, their inversions, and what became of them."""
    import torch

    from diptych.methods.edit.clipinverter import CLIPInverter
    from diptych.tasks.edit_parts import kit_for
    from diptych.tasks.pages.sheets import shown
    from proofs.benches.edits.inversion import Known, captioned, editing, phrases

    run = replace(s.run, seed=1)
    kit = kit_for(CLIPInverter.card, s.tiny, generator="small")
    train = Evidence(train=captioned(1024, run.generator("inversion/train")))
    fitted = CLIPInverter(**CLIPInverter.card.variants["small"]).fit(kit, train, run)
    known = Known.draw(8, run.generator("gallery"))
    with torch.no_grad():
        inversion = fitted.generator.synthesise(fitted.maps.invert(known.x))
    after = editing(fitted, run)(known, known.asks.wanted())
    pictures: list[Image.Image] = []
    lines: Lines = []
    right = known.clean(after)
    for i in range(len(known.x)):
        pictures += [shown(t[i], 150) for t in (known.x, inversion, after)]
        wanted = phrases(known.asks.wanted())[i]
        lines += [[(phrases(known.asks.start)[i], INK)], [("inversion", DIM)]]
        lines.append([(f"{wanted}{'' if right[i] else ': missed'}", INK)])
    words = (
        "Eight rendered pictures of seed 1, what the encoder of the generator `small` makes of them, and what a text "
        "makes of that, in one pass each. *Missed* means that another colour or shape is read from the picture."
    )
    command = 'diptych edit photos --target "a blue star" -m clipinverter --variant small --like captions.csv'
    return Panel("clipinverter.png", "edit: a picture of your own", command, words, sheet(pictures, lines, 6, 150))


def cut_and_paste_panel(s: Studio) -> Panel:
    """Composed clips whose object becomes the subject of a picture."""
    from diptych.core import EditAsk
    from diptych.methods.edit.cut_and_paste import CutAndPaste
    from diptych.tasks.edit_parts import kit_for
    from diptych.tasks.pages.sheets import picture_of
    from proofs.benches.edits.clips import clips

    run = replace(s.run, seed=1)
    method = CutAndPaste(**CutAndPaste.card.variants["small"])
    fitted = method.fit(kit_for(CutAndPaste.card, s.tiny), Evidence(), run)
    pictures: list[Image.Image] = []
    lines: Lines = []
    for one in clips(4, seed=7):
        ask = EditAsk(one.source, one.target, reference=one.subject, clips=One(one.frames))
        edited = fitted.edit(ask, run)
        shown = [picture_of(frame).resize((128, 128), Image.Resampling.NEAREST) for frame in edited.after[0][::2]]
        before = [f.resize((128, 128), Image.Resampling.NEAREST) for f in one.frames[::2]]
        pictures += [one.subject.resize((128, 128), Image.Resampling.NEAREST), *before, *shown]
        area = f"{100 * edited.facts[0]['area']:.0f} % may change"
        lines += [[("subject", DIM)], [(f"{one.colour} {one.shape}", INK)], *[[("", DIM)]] * 2]
        lines += [[(area, DIM)], *[[("", DIM)]] * 2]
    words = (
        "Four composed clips of another seed than the proof's, none chosen: the picture of the subject, every second "
        "frame before, and the same after. If attention finds the object, it mostly takes the subject's colour, seldom "
        "its shape. If attention misses it, the object stays and its surroundings change."
    )
    command = (
        'diptych edit clips --frames 6 --source "a pink circle on a dark background" --target "a new thing on a dark '
        'background" --subject subject.png -m cut-and-paste --variant small'
    )
    return Panel("cut-and-paste.png", "edit: a subject in a clip", command, words, sheet(pictures, lines, 7, 128))


def rewrite_panel(s: Studio) -> Panel:
    """What the denoiser makes of a short prompt, and of its rewrites."""
    from diptych.backbones.diffusion.load import load_diffusion
    from diptych.core import Kit
    from diptych.methods.rewrite.uf_fgtg import UFFGTG
    from diptych.tasks.generate import generate
    from diptych.tasks.pages.sheets import shown
    from diptych.tasks.rewrite import rewrite
    from proofs.rewrite import TAUGHT, table

    run = replace(s.run, seed=1)
    method = UFFGTG(**UFFGTG.card.variants["text"])
    writer = method.fit(Kit({"main": s.tiny}), Evidence(train=table(TAUGHT, 1, 384)), run)
    diffusion = load_diffusion("small", s.tiny)
    pictures: list[Image.Image] = []
    lines: Lines = []
    for prompt in ("a red circle", "a blue star", "a green dog"):
        texts = (prompt, *(t.value for t in rewrite(writer, (prompt,)).rewrites[0]))[:6]
        for text, pair in zip(texts, generate(texts, diffusion, run).pairs, strict=True):
            pictures.append(shown(pair.after, 150))
            short = text.removeprefix("a picture of ").split(" there is")[0]
            lines.append([(short, INK if text == prompt else DIM)])
        while len(pictures) % 6:
            pictures.append(Image.new("RGB", (150, 150), "white"))
            lines.append([("", DIM)])
    words = (
        "Pictures of seed 1 that the denoiser makes of a short prompt (left) and of its rewrites, of which the first "
        "words are shown. Rewrites add texture and background. The rewriter knows only coloured shapes: *a green dog* "
        "becomes another thing."
    )
    command = "diptych rewrite prompts.txt --like scenes --variant text"
    return Panel("rewrite.png", "rewrite", command, words, sheet(pictures, lines, 6, 150))


def galip_panel(s: Studio) -> Panel:
    """What a generator draws after a short training, and what it was asked for."""
    from diptych.core import EditAsk, Kit
    from diptych.tasks.pages.sheets import shown
    from proofs.benches.edits.words_to_pictures import SMALL, open_words

    run = replace(s.run, seed=1)
    bench = open_words("scenes", s.tiny, run, (1,))
    texts = ("a red circle", "a blue star", "a yellow heart", "a green square", "a purple triangle", "a pink cross")
    drawn = SMALL.fit(Kit({"main": s.tiny}), Evidence(train=bench.train), run).edit(EditAsk("", texts), run).after
    pictures = [shown(picture, 150) for picture in drawn]
    lines: Lines = [[(text, INK)] for text in texts]
    words = (
        f"The first picture of each text by the row `small`, which saw {len(bench.train)} scenes in {SMALL.steps} "
        "steps, none chosen; the paper's sizes take days of GPUs. Each takes one pass; the denoiser takes many."
    )
    command = 'diptych generate "a red circle" -m galip --variant small --like scenes.csv --seed 1'
    return Panel("galip.png", "generate: in one pass", command, words, sheet(pictures, lines, 6, 150))
