"""The panels of the gallery whose pictures a generator or a denoiser makes: inputs and outputs of fixed seeds, none
chosen.
"""

from __future__ import annotations

from dataclasses import replace

from gallery_sheets import DIM, INK, Panel, Studio, sheet
from PIL import Image

from diptych.core.data import Evidence

Lines = list[list[tuple[str, tuple[int, int, int]]]]


def clipinverter_panel(s: Studio) -> Panel:
    """Rendered pictures, their inversions, and what became of them."""
    import torch

    from diptych.evaluation.proofs.inversion import Known, captioned, editing, said
    from diptych.methods.edit.clipinverter import CLIPInverter
    from diptych.tasks.edit_parts import kit_for
    from diptych.tasks.pages.sheets import shown

    run = replace(s.run, seed=1)
    kit = kit_for(CLIPInverter.card, s.tiny, generator="small")
    train = Evidence(train=captioned(1024, run.generator("inversion/train")))
    fitted = CLIPInverter(**CLIPInverter.card.variants["small"]).fit(kit, train, run)
    known = Known.draw(8, run.generator("gallery"))
    with torch.no_grad():
        inversion = fitted.generator.synthesise(fitted.maps.invert(known.x))
    after = editing(fitted, run)(known, known.asked.wanted())
    pictures: list[Image.Image] = []
    lines: Lines = []
    right = known.clean(after)
    for i in range(len(known.x)):
        pictures += [shown(t[i], 150) for t in (known.x, inversion, after)]
        wanted = said(known.asked.wanted())[i]
        lines += [[(said(known.asked.start)[i], INK)], [("inversion", DIM)]]
        lines.append([(f"{wanted}{'' if right[i] else ': missed'}", INK)])
    words = (
        "Eight rendered pictures of seed 1, what the encoder of the generator `small` makes of them, and what a text "
        "makes of that, in one pass each. *Missed* is where another colour or shape is read from the picture."
    )
    command = 'diptych edit photos --target "a blue star" -m clipinverter --variant small --like captions.csv'
    return Panel("clipinverter.png", "edit", command, words, sheet(pictures, lines, 6, 150))
