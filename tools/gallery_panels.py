"""The panels of the gallery, one a verb: the task is run as the command line runs it, and what it made is put on a
sheet.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gallery_sheets import DIM, GREEN, INK, RED, One, Panel, Studio, font, refuse_one_name, sheet, wrapped
from PIL import Image, ImageDraw

from diptych.core import ClassNames, Column, Evidence, Kit, Table, Text, TextPool
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.load import open_data
from diptych.data.words.classnames import tidy
from diptych.evaluation.pages import plots

ROOT = Path(__file__).resolve().parent.parent
STYLE = (
    "<style>svg{--s0:#1d5f8a;--s1:#d1701f;--s2:#2c8a5d;--s3:#9a4c95;--s4:#b0891a;--s5:#5b6673;--s6:#c2456b;--page:#fff;--ink:#1b1b1a;"
    "--dim:#63625d;--line:#e2e1dc;background:#fff;font:13px sans-serif}text{fill:var(--dim)}.grid{stroke:var(--line)}"
    ".line{fill:none;stroke-width:1.6}.whisker{stroke-width:1.4}.band{fill:var(--line);opacity:.5}"
    ".reference{stroke:var(--dim);stroke-dasharray:5 4}</style>"
)
Board = dict[str, Any]


def classify_panel(s: Studio) -> Panel:
    """Photos and what they show."""
    from diptych.tasks.classify import classify

    data = s.photos()
    items = next(iter(data.splits.values())).items
    names = tuple((ROOT / "src/diptych/assets/photos/names.txt").read_text(encoding="utf-8").split("\n"))
    classified = classify(items, tuple(n.strip() for n in names if n.strip()), s.lite, s.run, top=2)
    lines = [
        [(f"{label}  {100 * p:.0f} %", INK if k == 0 else DIM) for k, (label, p) in enumerate(prediction.top)]
        for prediction in classified.predictions
    ]
    words = "Names alone, no training: the two most likely of the names that ship with the photos."
    return Panel(
        "classify.jpg",
        "classify",
        "diptych classify demo:photos",
        words,
        sheet([items[i] for i in range(len(items))], lines, 4),
    )


def board_panel(s: Studio) -> Panel:
    """Accuracy against shots, from the board that is committed."""
    board: Board = json.loads((ROOT / "results/boards/clothing_small.json").read_text(encoding="utf-8"))
    points: dict[str, list[plots.Point]] = {}
    reference = None
    for row in board["rows"]:
        low, high = row["ci95"]["acc1"]
        point = plots.Point(row["shots"], row["metrics"]["acc1"], low, high)
        if row["shots"]:
            points.setdefault(row["label"].split(",")[0], []).append(point)
        elif (row["method"], row["variant"]) == ("zero-shot", "ensemble"):
            reference = point
    series = [plots.Series(name, tuple(sorted(points_of, key=lambda p: p.x))) for name, points_of in points.items()]
    title = "Top-1 on clothes against shots"
    svg = plots.curves(series, reference, title=title, x_label="shots per class", y_label="top-1, %")
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("</title>", "</title>" + STYLE, 1)
    key = "".join(
        f'{plots.mark(i, 80, 26 + 20 * i)}<text x="92" y="{30 + 20 * i}">{name.name}</text>'
        for i, name in enumerate(series)
    )
    words = (
        "Four few-shot systems on 138 photos of clothes with `lite:2026-11`, three seeds, 95 % intervals; dashed: "
        "zero-shot, with its own."
    )
    return Panel("board.svg", "board", str(board["command"]), words, svg.replace("</svg>", f"{key}</svg>"))


def segment_panel(s: Studio) -> Panel:
    """What lies where."""
    from diptych.methods.segment.stuff_context import StuffContext
    from diptych.tasks.label_maps.segmented import Segmented, percent
    from diptych.tasks.pages.overlay import overlay, palette

    names = ("cat", "cup of coffee", "spoon", "wooden table", "shoes", "hand", "floor", "rocket", "sky")
    chosen = ImageFiles([str(ROOT / "src/diptych/assets/photos" / f"{n}.jpg") for n in ("cat", "coffee", "rocket")])
    shown, shares = [], []
    for item in s.segmented(chosen, names, StuffContext()):
        assert isinstance(item, Segmented)
        legend = {k: f"{item.classes[k]}  {percent(share)}" for k, share in item.areas().items()}
        shares.append(tuple(item.areas().values()))
        picture = overlay(item.image, item.labels, palette(len(names)), legend)
        picture.thumbnail((620, 360))
        shown.append(picture)
    page = Image.new("RGB", (max(p.width for p in shown), sum(p.height + 8 for p in shown)), "white")
    top = 0
    for p in shown:
        page.paste(p, (0, top))
        top += p.height + 8
    words = (
        "The default segmenter, whose map is coarse. Every pixel gets one of the names. Cup and rocket are found with "
        "much of their surroundings, and the sky by its look. Most of the wooden table is mistaken for spoons, and "
        "the sky behind the girders at the edge for floor."
    )
    refuse_one_name(shares, words)
    command = f'diptych segment cat.jpg coffee.jpg rocket.jpg --names "{", ".join(names)}"'
    return Panel("segment.jpg", "segment", command, words, page)


def detect_panel(s: Studio) -> Panel:
    """Heat maps of textile defects."""
    from diptych.methods.detect.feature_memory import FeatureMemory
    from diptych.nn.dense.label_maps import upsampled
    from diptych.tasks.detect import detections, fit
    from diptych.tasks.pages.overlay import heat

    root = s.data / "textile_sim"
    normal = ImageFiles(image_paths(str(root / "train" / "nominal")))
    paths = [sorted(image_paths(str(root / "test" / kind)))[i] for kind in ("local", "nominal") for i in (0, 1, 2)]
    detector = fit(FeatureMemory(), s.lite, s.run, normal, rate=0.1)
    detected = detections(detector, ImageFiles(paths), s.run)
    low, high = detected.span()
    pictures = []
    for d in detected.results:
        assert d.map is not None
        photo = d.photo[0]
        values = upsampled(d.map[None].float(), photo.height, photo.width, 0, photo.height)[0].numpy()
        line = f"{d.score:.3f} {'anomalous' if d.flagged else 'normal'}"
        pictures.append(heat(photo, values, low, high, line))
    lines = [[(Path(d.name).parent.name, INK)] for d in detected.results]
    words = (
        "Simulated textile (textile_sim, MIT): three with a local defect, three without. The feature memory learnt "
        "from normal photos, and its threshold allows one false alarm in ten. None is flagged: on this set its proof "
        "shows no gain over chance."
    )
    command = "diptych detect textile/test --normal textile/train/nominal --false-alarm-rate 0.1"
    return Panel("detect.jpg", "detect", command, words, sheet(pictures, lines, 3))


def search_panel(s: Studio) -> Panel:
    """Answers to three queries over the clothes."""
    from diptych.data.load import open_records
    from diptych.tasks.search.ask import search
    from diptych.tasks.search.entry_picture import picture
    from diptych.tasks.search.index import index
    from diptych.tasks.search.term import Term

    folder = ROOT / "src/diptych/assets/clothes"
    queries = (("a blue dress",), ("shoes with laces",), ("t-shirt", "-0.4:white"))
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "index"
        index(open_records(str(folder)), s.lite, s.run, out)
        pictures, lines = [], []
        for query in queries:
            terms = [Term.parse(q.removeprefix("-"), -1.0 if q.startswith("-") else 1.0) for q in query]
            answer = search(out, terms, s.lite, s.run, k=5).as_dict()
            for rank, hit in enumerate(answer["results"]):
                pictures.append(picture(hit["path"]))
                lines.append(
                    [
                        (" ".join(query).replace("-0.4:", "minus 0.4 ") if rank == 0 else "", INK),
                        (f"{hit['score']:.3f}", DIM),
                    ]
                )
    words = (
        "The five nearest of 638 photos of clothes (CC0), one row per query; the last one moves away from white. "
        "`lite` finds the kind of a thing, but hardly its colour."
    )
    command = 'diptych index clothes --out shop; diptych search shop "t-shirt" --minus "0.4:white" --html answers.html'
    return Panel("search.jpg", "index and search", command, words, sheet(pictures, lines, 5, 170))


def caption_panel(s: Studio) -> Panel:
    """The nearest of true and false sentences."""
    from diptych.tasks.caption import caption

    items = next(iter(s.photos().splits.values())).items
    sentences = (
        "A man looks through a camera on a tripod.",
        "A cat looks into the camera.",
        "A cup of coffee stands on a wooden table.",
        "Old coins on a cloth.",
        "A spiral galaxy in the night sky.",
        "A rocket rises on a pillar of fire.",
        "A pair of shoes on the floor.",
        "A dog runs on the beach.",
        "A train waits in a station.",
        "A bowl of fruit.",
    )
    pool = TextPool({"": tuple(Text(t) for t in sentences)})
    captioned = caption(items, Evidence(texts=pool), s.lite, s.run)
    lines = [[(line, INK) for line in wrapped(texts[0].value)] for texts in captioned.captions]
    words = (
        'The nearest of ten sentences, three of them about other things. "A pillar of fire" is the '
        "sentence's, not the photo's."
    )
    return Panel(
        "caption.jpg",
        "caption",
        "diptych caption demo:photos --texts sentences.txt",
        words,
        sheet([items[i] for i in captioned.positions], lines, 4),
    )


def audit_panel(s: Studio) -> Panel:
    """Captions with true and false words, marked."""
    from diptych.core import PairScorer
    from diptych.tasks.audit.groups import audit_pairs, right_captions
    from diptych.tasks.defaults import default

    captions = (
        ("cat", "a horse on a sofa"),
        ("galaxies", "three boats in a harbour"),
        ("shoes", "a pair of shoes beside a sailing boat"),
        ("coffee", "a cup of coffee on a wooden table"),
        ("rocket", "a rocket rises from a kitchen"),
    )
    items = ImageFiles([str(ROOT / "src/diptych/assets/photos" / f"{name}.jpg") for name, _ in captions])
    pairs: Table[Any] = Table(items, {"captions": Column("captions", tuple((text,) for _, text in captions))})
    right = right_captions(s.lite, s.run, 0.05)
    audited = audit_pairs(
        pairs, s.lite, s.run, method=default("audit pairs", PairScorer, choice="most-negative")
    ).against(right)
    strongest = max(abs(p.weight) for row in audited.rows for p in row.parts) or 1.0
    page = Image.new("RGB", (760, 112 * len(audited.rows)), "white")
    draw = ImageDraw.Draw(page)
    for k, row in enumerate(audited.rows):
        small = items[row.index].convert("RGB")
        small.thumbnail((150, 104))
        page.paste(small, (0, 112 * k + 4))
        x, at, y = 170, 0, 112 * k + 30
        for p in [*row.parts, None]:
            plain = row.text[at : p.start if p else None]
            draw.text((x, y), plain, fill=INK, font=font(20))
            x += int(font(20).getlength(plain))
            if p is None:
                break
            word, share = row.text[p.start : p.end], 0.6 * min(1.0, abs(p.weight) / strongest) ** 0.5
            ground = tuple(round(255 + share * (c - 255)) for c in (RED if p.weight < 0 else GREEN))
            width = int(font(20).getlength(word))
            draw.rectangle(
                (x - 1, y - 2, x + width + 1, y + 24), fill=ground, outline=RED if p.chosen else None, width=2
            )
            draw.text((x, y), word, fill=INK, font=font(20))
            x, at = x + width, p.end
        share = f"right captions fit as badly in {100 * (row.right_share or 0.0):.0f} %"
        line = f"{'stands out: ' if row.stands_out else ''}cosine {row.cosine:.2f}, {share}"
        draw.text((170, y + 34), line, fill=DIM, font=font(14))
    words = (
        "Red words fit the photo badly, green ones well; the worst caption first, as on the page in HTML. A caption "
        "stands out if at most 5 % of right captions fit as badly; its worst word is then framed. The horse "
        "just misses that; the kitchen and the boat are not found."
    )
    return Panel("audit.png", "audit", "diptych audit pairs pairs.csv --out pairs.html", words, page)


def curate_panel(s: Studio) -> Panel:
    """Cosines of true and of permuted pairs, and what the best 30 % would keep."""
    from torch.nn.functional import normalize

    from diptych.core import Texts
    from diptych.features.embed import embed

    data = open_data("demo:clothes")
    table = data.split("test")
    texts = tuple(f"a photo of a {tidy(data.classes[k])}." for k in table.labels())
    x = normalize(embed(s.lite.image, table.items, s.run), dim=-1)
    y = normalize(embed(s.lite.text, Texts(texts), s.run), dim=-1)
    order = np.random.default_rng(0).permutation(len(texts))
    cosines = {"own caption": (x * y).sum(1).numpy(), "another photo's": (x * y[order]).sum(1).numpy()}
    both = np.concatenate(list(cosines.values()))
    cut = float(np.quantile(both, 0.7))
    edges = np.linspace(both.min(), both.max(), 26)
    page = Image.new("RGB", (760, 300), "white")
    draw = ImageDraw.Draw(page)
    counts = {name: np.histogram(values, edges)[0] for name, values in cosines.items()}
    most = max(int(c.max()) for c in counts.values())
    scale = 690 / (edges[-1] - edges[0])
    for k, (name, colour) in enumerate((("own caption", (29, 95, 138)), ("another photo's", (209, 112, 31)))):
        for i, n in enumerate(counts[name]):
            left = 40 + scale * (edges[i] - edges[0]) + 13 * k
            draw.rectangle((left, 260 - 220 * n / most, left + 11, 260), fill=colour)
        kept = 100 * float((cosines[name] >= cut).mean())
        draw.rectangle((530, 10 + 22 * k, 542, 22 + 22 * k), fill=colour)
        draw.text((550, 8 + 22 * k), f"{name}: {kept:.0f} % kept", fill=INK, font=font(14))
    draw.line((40 + scale * (cut - edges[0]), 30, 40 + scale * (cut - edges[0]), 264), fill=INK, width=2)
    draw.text((46 + scale * (cut - edges[0]), 30), "the best 30 %", fill=INK, font=font(14))
    for tick in np.linspace(edges[0], edges[-1], 6):
        draw.text((40 + scale * (tick - edges[0]), 268), f"{tick:.2f}", fill=DIM, font=font(14), anchor="mt")
    words = (
        "Cosines of 138 photos of clothes with the name of their class and with another photo's; the line is "
        "where `--share 0.3` would cut."
    )
    return Panel(
        "curate.png",
        "curate",
        "diptych curate plan pairs.csv --method clip-score; diptych curate apply pairs.csv --method clip-score "
        "--share 0.3",
        words,
        page,
    )


def extend_panel(s: Studio) -> Panel:
    """Frames of composed clips, named by the mean of their frames."""
    from diptych.data.scenes.compose import SceneRecipe, clip
    from diptych.data.scenes.sprites import COLOURS, SHAPES, SpriteBank
    from diptych.methods.classify.zero_shot import ZeroShot
    from diptych.methods.extend.frame_mean import FrameMean

    recipe = SceneRecipe(SpriteBank(), size=128)
    names = tuple(f"{c} {shape}" for c in COLOURS for shape in SHAPES)
    space = FrameMean(4).fit(Kit({"main": s.tiny}), Evidence(), s.run)
    fitted_names = ZeroShot().fit(Kit({"main": space}), ClassNames(names, ("a {}",)), Evidence(), s.run)
    pictures: list[Image.Image] = []
    lines: list[list[tuple[str, tuple[int, int, int]]]] = []
    for number in (1, 2, 3):
        scenes, captions = clip(recipe, 0, number, 4)
        frames = tuple(Image.fromarray(scene.image) for scene in scenes)
        best = fitted_names.scores(One(frames), s.run).values[0].softmax(-1).topk(1)
        pictures += frames
        lines += [
            [(captions, INK) if k == 0 else (f"named: {names[int(best.indices[0])]}", DIM) if k == 1 else ("", DIM)]
            for k in range(4)
        ]
    words = (
        "Three clips of our own generator, four frames each, with what moves in them; the mean of the frames on "
        "`tiny` names colour and"
        " shape among all 120. The motion is not seen: a mean does not depend on the order of frames."
    )
    return Panel(
        "extend.jpg",
        "extend",
        "diptych classify clips --frames 4 --backbone tiny",
        words,
        sheet(pictures, lines, 4, 190),
    )


def edit_panel(s: Studio) -> Panel:
    """Pictures of a generator before and after, changed by words."""
    from diptych.backbones.generators.load import load_generator
    from diptych.core import EditAsk
    from diptych.tasks.edit import drawn_ask, edit, fitted_editor

    generator, run = load_generator("factors")[0], replace(s.run, seed=1)
    editor = fitted_editor(Kit({"main": s.tiny, "generator": generator}), run)
    pictures: list[Image.Image] = []
    lines: list[list[tuple[str, tuple[int, int, int]]]] = []
    for source, target in (("a red circle", "a blue circle"), ("a circle", "a star")):
        for pair in edit(editor, drawn_ask(EditAsk(source, target), generator, 4, run), run).pairs:
            moved = 0 if pair.change is None else int((pair.change != 0).sum())
            pictures.append(pair.image())
            lines.append(
                [(f"{source} -> {target}", INK), (f"{moved} of {sum(generator.channels)} channels moved", DIM)]
            )
    words = (
        "Four pictures of the factor generator before and after, twice. The mapper was trained on pictures alone and "
        "is told a difference"
        " of words: what was never red turns blue as well, because only the difference counts."
    )
    command = 'diptych edit --source "a red circle" --target "a blue circle" --seed 1'
    return Panel("edit.jpg", "edit", command, words, sheet(pictures, lines, 4))


def mosaic_panel(s: Studio) -> Panel:
    """Scenes whose two objects get a style each: with the masks of the scene, and with those that words find."""
    from diptych.core import EditAsk
    from diptych.data.memory import InMemory
    from diptych.methods.edit.mosaic import Mosaic
    from diptych.methods.segment.maskclip import MaskCLIP
    from diptych.nn.dense.label_maps import Windows
    from diptych.tasks.pages.sheets import picture_of
    from proofs.benches.edits.styles import scenes

    kit = Kit({"main": s.tiny, "segmenter": MaskCLIP(windows=Windows(64, 64, 64))})
    fitted = Mosaic(**Mosaic.card.variants["small"]).fit(kit, Evidence(), s.run)
    pictures: list[Image.Image] = []
    lines: list[list[tuple[str, tuple[int, int, int]]]] = []
    for one in scenes(3):
        ask = EditAsk("", one.prompts, images=InMemory([one.shown.image]))
        given, without_masks = (fitted.edit(replace(ask, masks=m), s.run).after[0] for m in ([one.shown.masks], None))
        pictures += [Image.fromarray(one.shown.image), picture_of(given), picture_of(without_masks)]
        lines += [[("; ".join(one.prompts), INK)], [("masks of the scene", DIM)], [("masks found by words", DIM)]]
    words = (
        "Scenes of two objects, each of which is to become another colour. With the scene's own masks nothing else "
        "moves to the pixel; the masks that MaskCLIP finds on `tiny` are coarse, and the style runs over the border."
    )
    command = 'diptych edit scene.png --target "red circle: blue; pink cross: yellow" -m mosaic --variant small'
    return Panel("mosaic.jpg", "edit: each object its style", command, words, sheet(pictures, lines, 3, 190))


def generate_panel(s: Studio) -> Panel:
    """Pictures that the small denoiser makes from words."""
    from diptych.backbones.diffusion.load import load_diffusion
    from diptych.tasks.generate import generate
    from diptych.tasks.pages.sheets import shown

    texts = (
        "a red circle", "a blue star", "a yellow heart on a dark background", "a green striped square",
        "a purple triangle", "a pink cross on a light background", "an orange star on a gradient background", "a dog",
    )  # fmt: skip
    drawn = generate(texts, load_diffusion("small", s.tiny), replace(s.run, seed=1))
    words = (
        "The first picture of each text with seed 1, none chosen. The denoiser knows coloured shapes and nothing else: "
        "what it makes of a dog means nothing."
    )
    command = "diptych generate " + " ".join(f'"{text}"' for text in texts) + " -n 1 --seed 1"
    return Panel(
        "generate.jpg",
        "generate",
        command,
        words,
        sheet([shown(p.after, 190) for p in drawn.pairs], [[(t, INK)] for t in texts], 4, 190),
    )
