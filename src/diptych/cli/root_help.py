"""The help of ``diptych`` itself: every command in one line, by what a person wants. It imports no command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

GROUPS: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "look": {
        "demo": "Try everything once on photos that ship; one report.",
        "classify": "Name what photos, clips and point clouds show.",
        "segment": "Mark which pixels show which class.",
        "detect": "Find anomalies, from normal photos or from words.",
        "caption": "Write a caption for each photo.",
        "index": "Make a search index of photos and captions.",
        "search": "Find photos by words, pictures, or both.",
        "link": "Match the records of two tables.",
    },
    "make": {
        "generate": "Draw pictures from words.",
        "edit": "Change pictures and clips with words.",
        "rewrite": "Write longer prompts from short ones.",
    },
    "measure": {
        "recommend": "Say which classifier to try on your photos.",
        "board": "Compare all systems of a task on your data.",
        "audit": "Find where a model fails, and which captions are wrong.",
        "verify": "Compare zero-shot accuracy with the published one.",
        "export": "Export encoders to ONNX or OpenVINO, and measure them.",
    },
    "train": {
        "finetune": "Tune a backbone on your classes or captions.",
        "pretrain": "Train a backbone on captioned photos.",
        "extend": "Teach a backbone clips, point clouds, light curves.",
    },
    "data": {
        "encode": "Write embeddings of photos and captions.",
        "curate": "Choose the pairs that are worth training on.",
        "check": "Find faults of a data set before a run.",
    },
    "serve": {"serve": "Answer over HTTP, in the forms of OpenAI and others."},
    "upkeep": {
        "systems": "List the systems, or show the card of one.",
        "models": "List the backbones, or show one.",
        "cache": "List, check or shrink the cached embeddings.",
        "doctor": "Examine this installation.",
        "config": "Show everyday flags, as diptych.toml sets them.",
        "new-system": "Write the files of a system of your own.",
    },
})  # fmt: skip
"""Group -> command -> its line. A line has at most ``LONGEST`` characters."""
EXAMPLES: Mapping[str, tuple[str, str]] = MappingProxyType({
    "demo": ("demo", "demo --out out/demo"),
    "board": ("board classify birds/", "board classify birds/ --shots 1,4,16 --out out/birds"),
    "audit": ("audit report birds/ --out report.html", "audit pairs pairs.csv --top 50"),
    "verify": ("verify lite --data val/ --dataset imagenet1k", "verify --data r/ --dataset imagenet-r --json"),
    "export": ("export lite --out encoders", "export ViT-B-32/openai --images photos/ --to int8"),
    "finetune": ("finetune birds/", "finetune pairs.csv --epochs 10 --out tuned"),
    "pretrain": ("pretrain pairs.csv", 'pretrain "shards/{000..099}.tar" --steps 10000 --out pretrained'),
    "extend": ("extend clips/", "extend clouds/ --out clouds-model"),
    "curate": ("curate plan pairs.csv --out plan.parquet", "curate apply pairs.csv --t 20000 --out chosen"),
    "check": ("check birds/", "check pairs.csv --json"),
    "serve": ("serve", "serve --index photo-index --port 8080"),
    "systems": ("systems --verb classify", "systems --json"),
    "models": ("models list", "models info lite"),
    "models list": ("models list", "models list ViT-B-32 --json"),
    "models info": ("models info lite", "models info tiny --json"),
    "cache": ("cache list", "cache prune --max-size 20GB"),
    "cache list": ("cache list", "cache list --cache /mnt/cache --json"),
    "cache prune": ("cache prune --dry-run", "cache prune --max-size 20GB"),
    "cache move": ("cache move /mnt/cache --dry-run", "cache move /mnt/cache"),
    "doctor": ("doctor", "doctor --json"),
    "config": ("config", "config --json"),
    "new-system": ("new-system my-probe --verb classify", "new-system my-audit --verb audit"),
})  # fmt: skip
"""Command that is written by hand, or one in such a group -> two calls for its help; declared verbs state their own."""
LONGEST = 57
MORE = "more"
"""Group of the commands that other packages bring."""


def lines(about: str, usage: str, added: Mapping[str, str], flags: str, codes: str) -> Iterator[str]:
    """Yield the lines of the help, each of at most 80 columns.

    Args:
        about: what diptych is, one sentence.
        usage: how it is called.
        added: commands of other packages -> their first sentences; one that is too long ends after a whole word.
        flags: its flags.
        codes: the exit codes.
    """
    from textwrap import shorten, wrap

    yield usage
    yield from wrap(about, 78)
    yield ""
    for group, commands in {**GROUPS, **({MORE: added} if added else {})}.items():
        for i, (name, sentence) in enumerate(commands.items()):
            short = shorten(sentence, LONGEST, placeholder=" ...")
            yield f" {group if i == 0 else '':<8} {name:<12} {short}"
    yield ""
    yield from wrap(f"{flags} COMMAND --help shows a command.", 78)
    yield from wrap(codes, 78)
