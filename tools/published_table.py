"""Write docs/published.md, the authors' configurations, by the cards: ``python tools/published_table.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.cli.declared import flag_of
from diptych.core.wording import number_of
from diptych.verbs.train.finetune import Finetune
from diptych.verbs.train.pretrain import Pretrain

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "published.md"
HEAD = """# Published configurations

Run a system as its authors did. `--set published` takes the authors' settings in place of ours, which are for minutes
on a processor; further `--set NAME=VALUE` are laid over them. The flags of `finetune` and `pretrain` are typed as they
stand here. On boards it is `--set SLUG.published=true`.

Before a long training, `--dry-run` takes three steps at full size, prints time and memory, writes nothing and ends:

```
$ diptych segment photos/ --names "sky, grass, sheep" -m fc-clip --train labelled/ --set published --dry-run
```

What the authors did and nothing here does stands under *not here*. Numbers are those of the authors; none of these
trainings was run here at full length. A number that was not found is not given.

*A step here* is the median of three optimiser steps on this project's machine (two cores, no GPU), of a tower in the
authors' shape with random weights and the authors' settings, with a batch that fits; `python -m tools.published_steps`
takes them. Of a system that trains several times in a row it is a step of the first training, as with `--dry-run`. It
says what a step needs, and nothing of the result. `{data}` is the folder of data sets, and `{work}` that
of small files which the tool writes.

| system | trains from | number in the paper |
|---|---|---|
"""
STEPS = json.loads((ROOT / "results" / "published_steps.json").read_text(encoding="utf-8"))
VERBS = {"finetune": "diptych finetune DATA -m {slug}", "pretrain": "diptych pretrain TABLE -m {slug}"}
FACES = {
    "segment": "diptych segment PHOTOS -m {slug} --set published",
    "classify": "diptych board classify DATA --methods {slug} --set {slug}.published=true",
    "detect": "diptych detect PHOTOS -m {slug} --set published",
    "caption": "diptych caption PHOTOS -m {slug} --set published",
    "edit": "diptych edit PHOTOS -m {slug} --set published",
    "rewrite": "diptych rewrite PROMPTS -m {slug} --set published",
    "retrieve": "diptych link A B -m {slug} --set published",
    "extend": "diptych board extend DATA --methods {slug} --set {slug}.published=true",
}

HEADLINES = """
## The papers' numbers of segmentation {#headlines}

With the data set and the weights at hand, one command measures what the paper prints: mIoU over the whole set, at the
photos' own size. What still differs from the authors' run stands beside it, so that a gap has a name. None of these
numbers was reproduced here: no weights and no such data are at hand.

`ade20k/` has `images/validation`, `annotations/validation` and `objectInfo150.txt`; the other folders have `labels.csv`
and `classes.csv` ([formats](formats.md)), with 16-bit maps where there are more than 255 classes (A-847, PC-459).
`fc-clip/` and other folders after `--fitted` are written once by
[`diptych systems SLUG --weights FILE`](cli/systems.md#weights-that-authors-released), and bring their backbone.

| system | number in the paper | command | differs still |
|---|---|---|---|
"""
CLIP, OTHER = " --backbone ViT-B-16-quickgelu/openai", "--names FILE --templates FILE"
PROMPTS = f"the authors' words and templates: give them by `{OTHER}`"
WORDS = "the authors' words: give them by `--names FILE`"
MEAN = (
    "detectron2's later versions average over labelled classes alone; here a class that is only predicted counts as 0"
)
MEASURED = {
    "fc-clip": ("ade20k/ --fitted fc-clip/ --templates vild", ("ADE20K, 150 classes", "mIoU"), [
        WORDS, MEAN,
        "PQ needs COCO's panoptic maps, which Python alone opens",
    ]),
    "maft-plus": ("ade20k/ --fitted maft-plus/ --templates vild", ("ADE20K, 150 classes", "mIoU"), [
        WORDS,
    ]),
    "ovseg": ("ade20k/ --fitted ovseg/ --proposer FOLDER --templates vild", ("ADE20K, 150 classes", "mIoU"), [
        "the authors' MaskFormer is not read: a Mask2Former stands in for its masks, CLIP's patches for its classes",
        WORDS, MEAN,
    ]),
    "clip-dinoiser": ("voc20/ --fitted clip-dinoiser/ --templates imagenet", ("PASCAL VOC, 20 classes", "mIoU"), [
        "photos are resized to bytes that differ from OpenCV's by 1 at most",
    ]),
    "sam-clip": ("voc21/ --fitted sam-clip/ --masks hf:facebook/sam-vit-base", None, [
        "no weights were released, and the number was not read: the folder is one that you trained",
    ]),
    "trident": (f"voc21/ --methods trident{CLIP} --teacher NAME --masks hf:facebook/sam-vit-base --background WORDS "
                "--threshold 0.2", ("PASCAL VOC, 21 classes", "mIoU"), [
        "`--teacher` is DINO ViT-B/16", "80 templates and the authors' words for background",
        "windows are padded and resized by other libraries",
    ]),
    "maskclip": (f"voc20/ --methods maskclip{CLIP} --set maskclip.windows.side=512 --set maskclip.windows.window=4096",
                 ("PASCAL VOC, 20 classes", "mIoU"), ["mean and spread of the pixels are CLIP's", PROMPTS]),
    "sclip": (f"voc21/ --methods sclip{CLIP} --background WORDS", ("PASCAL VOC, 21 classes", "mIoU"), [
        "the scale of the logits is the backbone's, not 40", "the authors' words for background", PROMPTS,
    ]),
    "naclip": (f"voc21/ --methods naclip{CLIP} --background WORDS", ("PASCAL VOC, 21 classes", "mIoU"), [
        "PAMR, which the number has, is not here", "the authors' words for background",
    ]),
}  # fmt: skip
"""Segmenter -> arguments of ``diptych board segment``, the headline that they measure, and what differs still."""

COMPARED = """
## Beside the authors' own modules {#compared}

A file in the released layout, with random weights of the full size, was read by `diptych systems SLUG --weights FILE`,
and the same photos or texts were given to the authors' own module (their repository at the commit of the system's card)
and to ours, in float32 on a processor. No file that authors released was opened. *Largest gap* is the largest
difference of a number, and *of* the largest number of that kind.

| system | seen by both | what | largest gap | of |
|---|---|---|---|---|
"""
SEEN = (
    ("anomalyclip", "ViT-L/14 at 336, square of 518 pixels, 3 photos", ("score", "6e-8", "0.60"),
     ("blurred map", "3.6e-7", "0.69"), ("text vectors", "1.1e-7", "0.12")),
    ("fc-clip", "ConvNeXt-L, 250 queries, side 320, padded; 2 photos, 4 classes",
     ("class probabilities of masks", "2.4e-4, median 5e-7", "0.54"), ("semantic map, 1 photo", "1.2e-3", "83"),
     ("text vectors", "3e-7", "0.16")),
    ("maft-plus", "ConvNeXt-L, 100 queries, side 320, padded; semantic form, 2 photos, 4 classes",
     ("class probabilities of masks", "2.3e-5", "0.58"), ("semantic map", "6.4e-4", "45"),
     ("text vectors", "2.6e-7", "0.13")),
    ("maft-plus", "the same in the panoptic form, 1 photo", ("class probabilities of masks", "1.3e-5", "0.31"),
     ("semantic map", "3.7e-4", "24"), ("scores of 94 instances", "1.1e-5", "0.31")),
    ("clip-dinoiser", "ViT-B/16, windows of 448, 2 photos, 4 classes, with and without background",
     ("map of probabilities, same pixels", "6.8e-5", "1"), ("text vectors", "9e-8", "0.14")),
    ("pathgen", "ViT-B/16 and ViT-L/14, 3 photos, 3 texts; open_clip 2.24 with QuickGELU",
     ("image vectors", "2.6e-6", "3.8"), ("text vectors", "3.3e-6", "3.7")),
    ("trident", "its SAM alone, ViT-B, 1 photo at 1,024 pixels, resized once for both",
     ("image embeddings", "9.8e-6", "4.2"), ("masks of a point in a box", "3.7e-7", "0.24")),
)  # fmt: skip
"""Slug, what was given to both modules, and of each kind of number the largest gap and the largest number."""
AFTER_SEEN = """
- FC-CLIP's largest gaps are those of a few masks of which one pixel lies on the threshold of the mask: it is inside by
  one sum and outside by the other.
- FC-CLIP's merging of masks into segments and instances was also compared on 20 drawn sets of masks: all pixels have
  the same segment, and scores differ by 5e-7 at most.
- Of a photo with more pixels than the network saw, FC-CLIP and the panoptic MAFT+ differ from the authors, since
  probabilities are resized here and logits there: of a random network 0.3 % of the labels changed.
- CLIP-DINOiser resizes photos to bytes that differ from OpenCV's by 1 at most; of a random network up to 0.6 % of the
  labels changed.
- Not compared: FC-CLIP on ResNets, MetaCLIP 2, and OVSeg's MaskFormer, which is not read; the class probabilities of
  its masked crops were, and differ by 1e-6.
"""


def _compared() -> str:
    """Return what was measured beside the authors' own modules."""
    names = {c["slug"]: c["name"] for c in catalog.cards()}
    rows = [
        f"| {names[slug]} | {both} | {what} | {gap} | {of} |\n"
        for slug, both, *found in SEEN
        for what, gap, of in found
    ]
    return COMPARED + "".join(rows) + AFTER_SEEN


def page() -> str:
    """Return the page."""
    cards = sorted((c for c in catalog.cards() if c["published"]), key=lambda c: (c["verb"], c["slug"]))
    rows = [f"| [{c['name']}](#{c['slug']}) | {c['published']['weights']} | {_number(c)} |" for c in cards]
    without = [c for c in catalog.cards() if _trains(c) and not c["published"] and not c["baseline"]]
    names = ", ".join(c["name"] for c in sorted(without, key=lambda c: c["slug"]))
    end = f"\n## Not found\n\nOf {names} no configuration was found that could be read.\n" if without else ""
    return HEAD + "\n".join(rows) + "\n" + "".join(map(_section, cards)) + _headlines() + _compared() + end


def _trains(card: dict[str, Any]) -> bool:
    return card["trains"] != "nothing" and card["verb"] not in ("audit", "curate")


def _number(card: dict[str, Any]) -> str:
    if not card["headlines"]:
        return "not found"
    first = card["headlines"][0]
    return f"{first['metric']} {first['value']:g} on {first['dataset']}, {first['backbone']}"


def _headlines() -> str:
    """Return the commands that measure what papers of segmenters print."""
    cards, lines = {c["slug"]: c for c in catalog.cards()}, []
    for slug, (given, headline, differs) in MEASURED.items():
        number = "not found"
        if headline is not None:
            (row,) = (h for h in cards[slug]["headlines"] if (h["dataset"], h["metric"]) == headline)
            number = f"{row['metric']} {row['value']:g} on {row['dataset']}, {row['backbone']} ({row['where']})"
        command = f"diptych board segment {given} --seeds 1"
        lines.append(f"| {cards[slug]['name']} | {number} | `{command}` | {'; '.join(differs)} |\n")
    return HEADLINES + "".join(lines)


BUSY = 3.0
"""Load of the two cores above which seconds are said to be those of a busy machine."""


def _section(card: dict[str, Any]) -> str:
    published, slug = card["published"], card["slug"]
    lines = [f"\n### {card['name']} {{#{slug}}}\n", f"`{_command(card)}`\n"]
    lines.append(f"- starts from: {published['weights']}")
    lines.append(f"- data: {published['data']}")
    for name, value in (("settings", _pairs(published["settings"], "=")), ("hardware", published["hardware"])):
        if value:
            lines.append(f"- {name}: {value}")
    lines += [f"- not here: {line}" for line in published["absent"]]
    lines.append(f"- a step here: {_step(slug)}")
    lines.append(f"- read in: {published['where']}")
    return "\n".join(lines) + "\n"


def _command(card: dict[str, Any]) -> str:
    published, slug, verb = card["published"], card["slug"], card["verb"]
    if slug == "galip":  # an editor that makes pictures from words alone
        return "diptych generate PROMPTS -m galip --like PHOTOS --set published"
    if verb not in VERBS:
        return FACES[verb].format(slug=slug)
    given = " --set published" if published["settings"] else ""
    kind = {"finetune": Finetune, "pretrain": Pretrain}[verb]
    flags = "".join(
        f" {flag_of(kind, name.replace('-', '_'))} {_plain(value)}" for name, value in published["training"].items()
    )
    return VERBS[verb].format(slug=slug) + given + flags


def _step(slug: str) -> str:
    """Return the time and memory of a step, or why none was taken."""
    if slug in STEPS["without"]:
        return f"none; it {STEPS['without'][slug]}"
    step = STEPS["trials"].get(slug, {"why": "not tried yet"})
    if "why" in step:
        return f"none; {step['why']}"
    each = f"{step['seconds']:.3g} seconds and {step['memory_gib']:.1f} GiB for {number_of(step['batch'], 'item')}"
    load = step.get("load", 0.0)  # null: it was not noted
    busy = (
        ""
        if load is not None and load <= BUSY
        else f" (beside other work{f', at a load of {load:.0f}' if load else ''})"
    )
    return f"{each}{busy}, by `diptych {step['command']}`"


def _pairs(settings: dict[str, Any], between: str) -> str:
    return ", ".join(f"`{name}{between}{_plain(value)}`" for name, value in settings.items())


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def main() -> None:
    """Write the page, or check that it is as the cards say."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE.relative_to(ROOT)} is not as the cards say: run python tools/published_table.py.")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
