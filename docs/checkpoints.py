"""Write one small random checkpoint of each published format, load it, and put what was said on a page.

``python docs/checkpoints.py`` writes docs/checkpoints.md; ``--check`` exits with 1 where the page is not what would be written.

The files are written by the libraries that publish such files (tests/support/checkpoints.py), not by diptych. Hashes are shortened to
"...", since the last bits of random weights differ from machine to machine.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Loading a checkpoint of every format

| you have | you type; on the command line, the same after `--backbone` |
|---|---|
| a name of open_clip, weights on disk or a network | `diptych.load("ViT-B-32", pretrained="laion2b_s34b_b79k")` |
| a folder from open_clip, transformers or diptych | `diptych.load("local:FOLDER")` |
| a repository of a hub, downloaded before | `diptych.load("hf-hub:org/name", offline=True)` |
| a weight file and nothing else | `diptych.load("ARCHITECTURE,FILE?activation=gelu&pixels=pixels.json")` |
| a file that the authors of a system released | `diptych.load("local:longclip-L.pt?released=long-clip-l")`; names: `diptych systems long-clip` |
| a TorchScript archive that you trust | the same, and `allow_pickle=True` |
| a folder in which facts are missing | what the error asks for, as `?activation=...` or `?pixels=...` |

Below, each format is made (small, random weights) with the library that publishes it, loaded from disk and offline, and the vectors of a
picture and a sentence are compared with that library's own. `docs/checkpoints.py` writes this page, and `tests/docs/test_checkpoints.py`
fails where it is out of date. Hashes are shortened to `...`.

"""
SENTENCE = "a photo of a cat"
PIXELS = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize": "shortest"}
STATED = "activation=gelu&pixels=pixels.json"


@dataclass(frozen=True)
class Format:
    """One published format.

    Args:
        title: heading.
        about: who publishes it.
        write: makes the files below the given folder.
        shown: folder or file that is listed.
        lines: Python that a reader would type, after ``import diptych``; an expression is shown.
        oracle: returns the library's own image and text vectors; None where an earlier format has it.
    """

    title: str
    about: str
    write: Callable[[Path], object]
    shown: str
    lines: tuple[str, ...]
    oracle: Callable[[Path], tuple[object, object]] | None = None


def openclip_folder(root: Path, family: str, *, name: str = "", kind: str = "safetensors") -> Path:
    """Write a folder as open_clip's push to the hub lays it out."""
    import torch
    from safetensors.torch import save_file

    from tests.support.checkpoints import FAMILIES, openclip_model, small_tokenizer

    config, pixels = FAMILIES[family]
    folder = root / (name or family)
    folder.mkdir()
    state = openclip_model(config).state_dict()
    if kind == "safetensors":
        save_file(state, folder / "open_clip_model.safetensors")
    else:
        torch.save(
            {"epoch": 32, "state_dict": {f"module.{k}": v for k, v in state.items()}},
            folder / "open_clip_pytorch_model.bin",
        )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pixels}))
    if "hf_tokenizer_name" in config["text_cfg"]:
        small_tokenizer(folder)
    return folder


def transformers_files(family: str) -> Callable[[Path], object]:
    """Return what writes a folder with transformers' own ``save_pretrained``."""
    from tests.support.checkpoints import transformers_folder

    return lambda root: transformers_folder(root / family, family)


def hub_files(repository: str) -> Callable[[Path], object]:
    """Return what lays a repository down in the hub's cache, as a download does."""
    from tests.support.checkpoints import into_hub_cache

    def write(root: Path) -> None:
        folder = openclip_folder(root, "vit", name="pushed")
        (root / "hub").mkdir(exist_ok=True)
        into_hub_cache(root / "hub", repository, folder)

    return write


def bare_file(root: Path) -> None:
    """Write the weights of an architecture that open_clip knows by name (added to its list for this page)."""
    import open_clip
    import torch

    from tests.support.checkpoints import openclip_model, vit

    with tempfile.TemporaryDirectory() as configs:
        (Path(configs) / "ViT-XS-16.json").write_text(json.dumps(vit()))
        open_clip.add_model_config(Path(configs))
    (root / "pixels.json").write_text(json.dumps(PIXELS))
    torch.save(openclip_model(vit()).state_dict(), root / "epoch_32.pt")


def torchscript(root: Path) -> None:
    """Write an archive with the tensors that OpenAI's own hold: the weights, and three facts as tensors beside them."""
    import torch

    from tests.support.checkpoints import openclip_model, vit

    bare_file(root)
    (root / "epoch_32.pt").unlink()
    facts = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    archive = torch.nn.Module()
    for name, tensor in {**openclip_model(vit()).state_dict(), **facts}.items():
        *parents, last = name.split(".")
        place = archive
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, torch.nn.Module())
            place = getattr(place, parent)
        place.register_buffer(last, tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(archive).save(str(root / "ViT-XS-16.pt"))


def saved(root: Path) -> None:
    """Save a loaded backbone with diptych: the one format here that diptych itself publishes."""
    from diptych.backbones.sources.load import load
    from diptych.backbones.sources.save import save

    save(load(f"local:{openclip_folder(root, 'siglip', name='source')}", offline=True), root / "mine")


def picture() -> object:
    """Return one smooth picture."""
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(0).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((320, 160), Image.Resampling.BICUBIC)


def openclip_vectors(name: str) -> Callable[[Path], tuple[object, object]]:
    """Return open_clip's own reading of a folder."""

    def vectors(root: Path) -> tuple[object, object]:
        import open_clip

        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{root / name}", require_pretrained=True)
        tokens = open_clip.get_tokenizer(f"local-dir:{root / name}")([SENTENCE])
        model.eval()
        return model.encode_image(transform(picture())[None], normalize=False), model.encode_text(
            tokens, normalize=False
        )

    return vectors


def transformers_vectors(family: str) -> Callable[[Path], tuple[object, object]]:
    """Return transformers' own reading of a folder."""

    def vectors(root: Path) -> tuple[object, object]:
        import transformers

        folder = str(root / family)
        model = transformers.AutoModel.from_pretrained(folder).eval()
        kind = transformers.SiglipImageProcessorPil if family == "siglip" else transformers.CLIPImageProcessorPil
        pixels = kind.from_pretrained(folder)([picture()], return_tensors="pt").pixel_values
        padding = {"padding": "max_length", "max_length": 64} if family == "siglip" else {}
        ids = transformers.AutoTokenizer.from_pretrained(folder)([SENTENCE], return_tensors="pt", **padding)
        wanted = {k: v for k, v in ids.items() if k == "input_ids" or (k == "attention_mask" and family != "siglip")}
        images, texts = model.get_image_features(pixel_values=pixels), model.get_text_features(**wanted)
        return getattr(images, "pooler_output", images), getattr(texts, "pooler_output", texts)

    return vectors


def formats() -> list[Format]:
    """Return the formats in the order of the page."""
    named = {
        "siglip": "SigLIP",
        "eva": "EVA",
        "mobileclip": "MobileCLIP",
        "coca": "CoCa",
        "resnet": "CLIP's ResNet",
        "convnext": "ConvNeXt",
    }
    found = [
        Format(
            "open_clip folder",
            "`open_clip_config.json` beside safetensors: what open_clip pushes to the hub.",
            lambda root: openclip_folder(root, "vit", name="clip"),
            "clip",
            ('diptych.load("local:clip").spec',),
            openclip_vectors("clip"),
        )
    ]
    for family, name in named.items():
        found.append(
            Format(
                f"open_clip folder, {name}",
                f"The same layout with the towers of {name}.",
                lambda root, family=family: openclip_folder(root, family),  # type: ignore[misc]
                family,
                (f'diptych.load("local:{family}").spec',),
                openclip_vectors(family),
            )
        )
    found += [
        Format(
            "open_clip folder, torch file",
            "A training checkpoint with `module.` before every name: read as tensors only, no pickle runs.",
            lambda root: openclip_folder(root, "vit", name="trained", kind="torch"),
            "trained",
            ('diptych.load("local:trained").spec',),
            None,
        ),
        *(
            Format(
                f"transformers folder, {name}",
                f"`config.json`, weights, tokenizer and processor, as `save_pretrained` writes them for {name}.",
                transformers_files(family),
                family,
                (f'diptych.load("local:{family}").spec',),
                transformers_vectors(family),
            )
            for family, name in (
                ("clip", "CLIP"),
                ("siglip", "SigLIP"),
                ("metaclip_2", "MetaCLIP 2"),
                ("chinese_clip", "Chinese-CLIP"),
            )
        ),
        Format(
            "hub repository",
            "Downloaded before, and read from the hub's cache without the network.",
            hub_files("org/clip"),
            "hub/models--org--clip/snapshots/" + 40 * "0",
            ('diptych.load("hf-hub:org/clip", offline=True).spec',),
        ),
        Format(
            "bare weight file",
            "It states nothing but tensors, so you do: wrong facts would give plausible vectors. `pixels.json` says how photos become pixels.",
            bare_file,
            "",
            (
                'diptych.load("local:epoch_32.pt")',
                f'diptych.load("ViT-XS-16,./epoch_32.pt?{STATED}").spec',
            ),
        ),
        Format(
            "TorchScript archive",
            "OpenAI's own files. They can run code, so they are refused unless you say that you trust them.",
            torchscript,
            "",
            (
                f'name = "ViT-XS-16,./ViT-XS-16.pt?{STATED}"',
                "diptych.load(name)",
                "diptych.load(name, allow_pickle=True).spec",
            ),
        ),
        Format(
            "what diptych saves",
            "The `model` folder of `diptych finetune` and `pretrain`: open_clip reads it as `local-dir:`, and the self-test beside it is run on loading.",
            saved,
            "mine",
            ('diptych.load("local:mine").spec',),
            openclip_vectors("mine"),
        ),
    ]
    return found


def typed(lines: tuple[str, ...]) -> tuple[list[str], object]:
    """Run lines as a reader would type them; return the transcript and the last backbone that was loaded."""
    import diptych
    from diptych.core.errors import DiptychError

    backbone = None

    def remembered(*given: object, **more: object) -> object:
        nonlocal backbone
        backbone = diptych.load(*given, **more)  # type: ignore[arg-type]
        return backbone

    names: dict[str, object] = {"diptych": SimpleNamespace(load=remembered)}
    out = []
    for line in lines:
        out.append(f">>> {line}")
        try:
            try:
                value = eval(line, names)
            except SyntaxError:  # an import or an assignment
                exec(line, names)
                continue
            out += [f"{name}: {fact}" for name, fact in value.as_dict().items() if fact not in ("", None)]
        except DiptychError as error:
            out.append(f"{type(error).__name__}: {error}")
    return out, backbone


def gap(backbone: object, theirs: tuple[object, object]) -> float:
    """Return the largest max |difference| / max |value| of the picture's and the sentence's vectors."""
    ours = [
        encoder.encode(encoder.inputs([item]))
        for encoder, item in ((backbone.image, picture()), (backbone.text, SENTENCE))
    ]  # type: ignore[attr-defined]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))  # type: ignore[operator]


def section(entry: Format, root: Path) -> str:
    """Make, load and compare one checkpoint in an empty folder, and return its part of the page."""
    import torch

    entry.write(root)
    os.chdir(root)
    os.environ["HF_HUB_CACHE"] = str(root / "hub")
    place = root / entry.shown
    files = sorted(p.name for p in place.iterdir()) if place.is_dir() else [place.name]
    with torch.no_grad():
        said, backbone = typed(entry.lines)
        compared = ""
        if entry.oracle is not None:
            found = gap(backbone, entry.oracle(root))
            if not found <= 1e-5:
                raise SystemExit(f"{entry.title}: the vectors differ by {found:.1e}")
            compared = (
                "\n\nThe vectors equal those of the library that wrote it (max difference over max value <= 1e-5)."
            )
    lines = [
        f"$ ls {entry.shown if place.is_dir() else ''}".rstrip(),
        *files,
        "$ python",
        ">>> import diptych",
        *said,
    ]
    text = re.sub(r"[0-9a-f]{32,}", "...", "\n".join(lines).replace(f"{root}/", ""))
    return f"## {entry.title}\n\n{entry.about}\n\n```console\n{text}\n```{compared}\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    sys.path.insert(0, str(PAGE.parents[1]))
    os.environ["HF_HUB_OFFLINE"] = "1"
    home, parts = Path.cwd(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, entry in enumerate(formats()):
            root = Path(folder).resolve() / str(number)
            root.mkdir()
            parts.append(section(entry, root))
        os.chdir(home)
    text = HEAD + "\n".join(parts)
    if arguments == ["--check"]:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            sys.stderr.write("docs/checkpoints.md is out of date: run python docs/checkpoints.py.\n")
        return int(not same)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
