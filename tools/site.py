"""Hooks of the site: pages of systems, of notebooks and of the reference, from cards, results and docstrings.

``make docs`` builds the site; nothing that is generated here is committed. ``python tools/site.py FOLDER`` writes all
pages there instead, for a generator that runs no hooks (docs/decisions/2026-11-26-site.md).
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from inspect import ismodule
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from diptych import catalog
from diptych.tasks.defaults import DEFAULTS, slug_and_row
from tools.systems_table import acting, verdict

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "diptych"
REPOSITORY = "https://github.com/diptych-ml/diptych/blob/main/"
ROOMS = (
    "core",
    "data",
    "store",
    "search_index",
    "backbones",
    "features",
    "nn",
    "train",
    "metrics",
    "tasks",
    "evaluation",
    "api",
)
"""Rooms with a page in the reference, from the ground up; methods have pages of their own."""
EVIDENCE = {
    "train": "labelled photos to learn from",
    "val": "further labelled photos to choose its parameters on",
    "texts": "descriptions of the classes",
    "unlabelled": "photos without labels",
    "auxiliary": "labelled anomalies of other things, with masks",
    "detect train": "photos of normal things",
    "segment train": "photos with label maps",
    "segment auxiliary": "photos with captions",
    "caption train": "photos with captions",
    "caption texts": "sentences",
    "edit train": "photos with captions",
    "rewrite train": "photos with a short and a long caption each",
    "extend train": "labelled clips",
    "extend unlabelled": "light curves with spectra and metadata",
    "pretrain train": "photos with captions",
    "finetune train": "photos with captions or class names to train on",
}
"""What a system must be given, by its name, and by verb and name where that differs."""
PARTS = {
    "Backbone": "a second backbone that teaches",
    "Space": "a second image encoder that teaches",
    "LanguageModel": "a language model",
    "TokenStates": "a language model that reads the texts",
    "Writer": "texts of a language model or captioner",
    "StyleGenerator": "a picture generator",
    "MapInverter": "an encoder into the latents of the generator",
    "TextDiffusion": "a text-to-image diffusion model",
    "Segmenter": "a segmenter",
    "MaskProposer": "a mask proposer",
    "PromptableMasks": "a SAM or SAM 2",
}
_SEGMENT = 'diptych segment photos/ --names "cat, grass, sky" --method {} '
COMMANDS = {
    "segment": 'diptych segment photos/ --names "cat, grass, sky" --method {}',
    "clip-dinoiser": _SEGMENT + "--unlabelled more-photos/",
    "fc-clip": _SEGMENT + "--train labelled/",
    "maft-plus": _SEGMENT + "--train labelled/",
    "ovseg": _SEGMENT + "--captioned captions.csv",
    "sam-clip": _SEGMENT + "--unlabelled more-photos/ --masks hf:facebook/sam-vit-base",
    "caption": "diptych caption photos/ --texts sentences.txt --method {}",
    "clip-reward": "diptych caption photos/ --like captions.csv --method {} --variant small",
    "user-aware-prefix": "diptych caption photos/ --like posts.csv --user anna --method {} --variant small",
    "pretrain": "diptych pretrain pairs.csv --objective {}",
    "laclip": "diptych pretrain pairs.csv --objective {} --rewrites wordings.json",
    "dc-clip": "diptych pretrain pairs.csv --objective {} --teacher lite --backbone tiny",
    "llm2clip": "diptych pretrain pairs.csv --objective {} --language-model hf:org/name --parts heads",
    "cloc": "diptych pretrain pairs.csv --objective {} --regions boxes.csv",
    "grain": "diptych pretrain pairs.csv --objective {} --regions boxes.csv",
    "diva": "diptych pretrain photos/ --objective {}",
    "finetune": "diptych finetune photos/ --method {} --parts heads --out tuned",
    "lora": "diptych finetune photos/ --method {} --out tuned",
    "extend": "diptych extend clips/ --method {}",
    "frame-mean": 'diptych classify clips/ --frames 8 --names "running, swimming"',
    "clip2point": "diptych extend clouds/",
    "astrom3": "diptych extend stars/ --label class",
    "retrieve": "diptych link left.csv right.csv --method {}",
    "curate": "diptych curate plan pairs.csv --method {} --out plan.parquet",
    "vector-head": "diptych curate plan pairs.csv --method {} --head head.safetensors --out plan.parquet",
    "biomedica": "diptych curate plan articles/ --method {} --out plan.parquet",
    "pathgen": "diptych curate plan slide.tif --method {} --attributes phrases.txt --out plan.parquet",
    "edit": 'diptych edit --source "a red circle" --target "a blue circle" --method {}',
    "clipinverter": 'diptych edit photos/ --target "a blue star" --method {} --variant small --like captions.csv',
    "cut-and-paste": 'diptych edit clip.mp4 --source "a dog runs" --target "a new thing runs" --subject toy.png -m {}',
    "galip": 'diptych generate "a red circle" --method {} --variant small --like captions.csv',
    "mosaic": 'diptych edit photo.jpg --target "cat: a pencil sketch" --method {}',
    "rewrite": "diptych rewrite prompts.txt --like captions.csv --method {}",
    "counteranimal": "diptych audit groups photos.csv --group background",
    "clip4dm": "diptych audit pairs pairs.csv",
    "augclip": "diptych audit edits edits.csv",
    "mmvp": "diptych audit blind photos/",
    "concept-association-bias": "diptych audit association photos.csv --attribute color",
    "quality-not-quantity": "diptych audit sources photos.csv --group domain",
    "audit": "diptych audit report photos/ --only {}",
}
"""Slug or verb -> the command that runs it."""
UNNAMED = {
    "classify": DEFAULTS["classify"],
    "segment": DEFAULTS["segment"],
    "detect": DEFAULTS["detect"],
    "caption": DEFAULTS["caption"],
    "edit": slug_and_row("edit")[0],
    "rewrite": slug_and_row("rewrite")[0],
}
"""Verb -> the system that a command of the gallery runs where it names none."""
METRICS = {
    "acc1": "top-1 accuracy",
    "miou": "the mean IoU",
    "image_auroc": "the image AUROC",
    "recall_at_1": "recall at 1",
    "recall@1": "recall at 1",
    "cider_d": "CIDEr-D",
}
_LINK = re.compile(r"(\]\()((?:\.\./)+)((?!\.\.)[^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, content in pages().items():
        if (plain := files.get_file_from_path(path)) is not None:
            files.remove(plain)
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave the docs folder at the repository."""
    return linked(markdown, page.file.src_uri)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Leave the link to the repository a plain one: the theme's script asks its host for stars and releases."""
    return output.replace(' data-md-component="source"', "")


def pages() -> dict[str, str]:
    """Return path below docs -> text of the generated pages."""
    cards = catalog.cards()
    pages = {f"systems/{card['slug']}.md": system_page(card) for card in cards}
    pages["systems.md"] = systems_index(cards)  # in the place of the plain table, which has no pages to link
    pages |= {f"reference/{room}.md": room_page(room) for room in ROOMS}
    pages["reference/diptych.md"] = public_page()
    pages["reference/index.md"] = reference_index()
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = notebook_page(json.loads(path.read_text(encoding="utf-8")), path.name)
    return pages


def notebook_page(notebook: dict[str, Any], name: str) -> str:
    """Return a notebook as a page: its text, its code, and what the code printed and showed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "text/html" in data:
                parts.append("".join(data["text/html"]).replace("\n", ""))
            elif "image/jpeg" in data:
                parts.append(f'<img src="data:image/jpeg;base64,{data["image/jpeg"].strip()}" alt="">')
            else:
                parts.append("```text\n" + "".join(output.get("text") or data["text/plain"]).rstrip("\n") + "\n```")
    parts.append(f"[The notebook]({REPOSITORY}docs/notebooks/{name}); the suite runs it.")
    return "\n\n".join(parts) + "\n"


def linked(markdown: str, path: str) -> str:
    """Return the text of a page with links to files outside of docs pointed at the repository.

    Args:
        markdown: the page.
        path: of the page, below docs.
    """

    def moved(match: re.Match[str]) -> str:
        parts: list[str] = []
        for part in (Path("docs") / Path(path).parent / (match[2] + match[3])).as_posix().split("/"):
            parts = parts[:-1] if part == ".." else parts if part == "." else [*parts, part]
        target = "/".join(parts)
        return match[0] if target.startswith("docs/") else f"{match[1]}{REPOSITORY}{target}{match[4]}"

    return _LINK.sub(moved, markdown)


def write(folder: Path) -> None:
    """Copy the docs into a folder, with the generated pages and with their links as on the site."""
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path, text in pages().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    for page in folder.rglob("*.md"):
        page.write_text(linked(page.read_text(encoding="utf-8"), page.relative_to(folder).as_posix()), encoding="utf-8")


def system_page(card: dict[str, Any]) -> str:
    """Return the page of a system: claim, formula, use, departures, result and citation."""
    module = card["module"]
    path = SOURCE / "methods" / card["verb"] / f"{card['slug'].replace('-', '_')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    title, _, formula = (ast.get_docstring(tree) or "").partition("\n\n")
    kind = "a baseline" if card["baseline"] else "a system"
    lines = [
        f"# {card['name']}",
        "",
        f"[{card['title']}]({card['url']}), {card['year']}. {kind.capitalize()} of `diptych {card['verb']}`.",
        "",
        card["claim"],
        "",
        *_use(card),
        *_result(card),
        *_pictures(card["slug"]),
        "## The maths",
        "",
        title,
        "",
        *(["```text", formula, "```", ""] if formula else []),
        *(
            ["## Where it differs from paper or released code", "", *(f"- {d}" for d in card["differs"]), ""]
            if card["differs"]
            else []
        ),
        *_published(card),
        *(["## Licences", "", card["licence_note"], ""] if card["licence_note"] else []),
        "## In Python, with an example",
        "",
        f"::: {module}.{card['class']}",
        "    options:",
        "      heading_level: 3",
        "",
        "## Cite",
        "",
        "```bibtex",
        f"@misc{{{card['slug'].replace('-', '')}{card['year']},",
        f"  title = {{{card['title']}}},",
        f"  year = {{{card['year']}}},",
        f"  url = {{{card['url']}}},",
        "}",
        "```",
        "",
    ]
    return "\n".join(lines)


def _use(card: dict[str, Any]) -> list[str]:
    """Return when to use a system, and the command for it."""
    needs = card["needs"]
    asks = [EVIDENCE.get(f"{card['verb']} {e}", EVIDENCE[e]) for e in needs["evidence"]]
    asks += [PARTS.get(part, f"a part `{part}`") for part in needs["parts"]]
    hooks = [f"`{hook}`" for hook in needs["hooks"] if hook not in ("image", "text")]
    trains = "nothing" if card["trains"] == "nothing" else card["trains"]
    drawn = f"; the seed decides {card['draws']}" if card["draws"] else ""
    first = ": measure it beside the baselines first"
    advice = {
        "shown": "Its claim is shown on the data below",
        "not shown": f"Its claim is not shown on our data{first}",
        "not run again": f"Its proof has not been run again since claim or control changed{first}",
        "not run": f"Its proof has not been run{first}",
    }[verdict(card)]
    return [
        "## When to use it",
        "",
        f"- You have {', '.join(asks)}." if asks else "- You have no data to learn from; it needs none.",
        f"- It trains {trains}{drawn}.",
        f"- The backbone must offer {', '.join(hooks)} ([towers and hooks](../towers.md))."
        if hooks
        else "- Any backbone works.",
        *(f"- It needs the extra `{extra}`." for extra in needs["extras"]),
        f"- {advice}.",
        "",
        "```console",
        f"$ {command(card)}",
        "```",
        "",
    ]


def command(card: dict[str, Any]) -> str:
    """Return the command line that runs a system on a user's data."""
    slug, evidence = card["slug"], card["needs"]["evidence"]
    if card["verb"] == "classify":
        learns = "train" in evidence or "unlabelled" in evidence
        texts = " --texts descriptions.json" if "texts" in evidence else ""
        shots = " --shots 4" if "train" in evidence else ""
        return (
            f"diptych board classify photos/ --methods zero-shot,{slug}{shots}{texts}"
            if learns
            else f'diptych classify photos/ --names "cat, dog" --method {slug}{texts}'
        )
    if card["verb"] == "detect":
        described = (
            "--auxiliary other-thing/"
            if "auxiliary" in evidence
            else "--normal good/"
            if evidence
            else "--object hazelnut"
        )
        return f"diptych detect photos/ {described} --method {slug}"
    return COMMANDS.get(slug, COMMANDS[card["verb"]]).format(slug)


def _pictures(slug: str) -> list[str]:
    """Return the panels of the gallery whose command runs a system, one of several or the default of its verb."""
    lines: list[str] = []
    for panel in (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        title, figure, words, _, run, *_ = (line for line in panel.split("\n") if line)
        named = re.search(r"(?:--methods?|-m) (\S+)", run)
        if slug in (named[1].split(",") if named else (UNNAMED.get(run.split()[2]),)):
            lines += [f"**{title}.** {words}", "", figure.replace("(figures", "(../figures"), ""]
    return ["## Pictures", "", *lines] if lines else []


def _result(card: dict[str, Any]) -> list[str]:
    """Return what the written proof says: which claims and controls decided it, and each with its gain and bound."""
    proof = card["proof"]
    if proof is None:
        return []
    lines = ["## What we measured", "", f"**Claim.** {proof['claim']}", "", f"**Control.** {proof['control']}", ""]
    path = ROOT / "results" / f"{card['slug']}.json"
    if not path.is_file():
        return [*lines, "The proof has not been run yet.", ""]
    result = json.loads(path.read_text(encoding="utf-8"))
    lines += [
        *_decided(card, result),
        f"Backbone `{result['backbone']}`, seeds {', '.join(map(str, result['seeds']))}. "
        f"Repeat with `{result['command']}`; numbers in [{path.name}]({REPOSITORY}results/{path.name}).",
        "",
        "| data | | compared with | value (95 %) | gain | bound | verdict |",
        "|---|---|---|--:|--:|--:|---|",
    ]
    metric = result["metric"]
    for data in result["datasets"]:
        rows = [
            (f"claim{_named(c)}", "shown" if c["shown"] else "**not shown**", c, c["method"]) for c in data["claims"]
        ]
        rows += [
            (f"control{_named(c)}", "failed, as it must" if c["failed"] else "**did not fail**", c, c["control"])
            for c in data["controls"]
        ]
        for what, text, c, ours in rows:
            lines.append(
                f"| {data['dataset']} | {what} | {_over(c)} | {_interval(ours, c.get('what', '') or metric)} | "
                f"{_number(c['gain'], '+')} | {_number(c['gain_lower95'], '+')} | {text} |"
            )
    measured = "" if metric == "value" else f" The value is {METRICS.get(metric, metric.replace('_', ' '))}."
    return [
        *lines,
        "",
        f"Values and gains are times 100.{measured} Gains are paired by seed and item. *Bound* is the lower end of the "
        "one-sided 95 % interval of the gain: it must lie above 0 for a claim, and must not for a control.",
        "",
    ]


def _decided(card: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Return the verdict; where it is not shown, each claim and control that failed it, and our judgement of why."""
    if verdict(card) == "not run again":
        return [
            "**Not run again** since its claim or control changed. The numbers below are of this earlier proof:",
            "",
            f"> **Claim.** {result['claim']} **Control.** {result['control']}",
            "",
        ]
    if result["shown"]:
        return ["Shown."]
    missed = []
    for data in result["datasets"]:
        rows = [(f"the claim{_named(c)} over {_over(c)} is not shown", c) for c in data["claims"] if not c["shown"]]
        rows += [(f"the control{_named(c)} beats {_over(c)}", c) for c in data["controls"] if not c["failed"]]
        missed += [
            f"- {data['dataset']}: {words} (gain {_number(c['gain'], '+')}, bound {_number(c['gain_lower95'], '+')})."
            for words, c in rows
        ]
    reason = card["proof"]["not_shown"]
    kind, _, words = reason.partition(": ")
    why = "We do not know why." if reason == "unknown" else f"In our judgement the {kind} is the reason: {words}."
    return ["**Not shown** here:", "", *missed, "", *([why, ""] if reason else [])]


def _named(compared: dict[str, Any]) -> str:
    """Return the name of a claim or control in brackets, where it has one."""
    return f" ({compared['name']})" if compared.get("name") else ""


def _over(compared: dict[str, Any]) -> str:
    """Return what a claim or control is compared with, and in what."""
    count = compared.get("shots")
    shots = f" at {count} shot{'' if count == 1 else 's'}" if count else ""
    part = f", {compared['what']}" if compared.get("what") else ""
    return f"{compared['over']}{shots}{part}"


def _published(card: dict[str, Any]) -> list[str]:
    """Return the paper's numbers that somebody read."""
    if not card["headlines"]:
        return []
    lines = [
        "## Published numbers",
        "",
        "| data | backbone | metric | value | beside | read in |",
        "|---|---|---|--:|---|---|",
    ]
    rows = [
        f"| {h['dataset']} | {h['backbone']} | {h['metric']} | {h['value']:g} | {h['baseline']} | {h['where']} |"
        for h in card["headlines"]
    ]
    return [*lines, *rows, ""]


def systems_index(cards: list[dict[str, Any]]) -> str:
    """Return the table of systems, verb by verb."""
    lines = ["# Systems", "", acting(cards), "The code of each is one file, to be read beside the paper.", ""]
    for verb in sorted({c["verb"] for c in cards}):
        lines += [f"## {verb}", "", "| system | year | trains | proof |", "|---|--:|---|---|"]
        for card in sorted((c for c in cards if c["verb"] == verb), key=lambda c: (not c["baseline"], c["slug"])):
            kind = " (baseline)" if card["baseline"] else ""
            page = f"[{card['name']}](systems/{card['slug']}.md){kind}"
            lines.append(f"| {page} | {card['year']} | {card['trains']} | {verdict(card)} |")
        lines.append("")
    return "\n".join(lines)


def room_page(room: str) -> str:
    """Return the reference of a room: every module that has something public."""
    lines = [f"# diptych.{room}", ""]
    for path in sorted((SOURCE / room).rglob("*.py")):
        module = ".".join(("diptych", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name != "__init__.py" and any(
            isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_") for n in tree.body
        ):
            lines += [f"::: {module}", "    options:", "      heading_level: 2", "      show_root_full_path: true", ""]
    return "\n".join(lines)


def public_page() -> str:
    """Return the reference of the public names: functions by the stub of the verbs, then what they take and return."""
    import diptych

    stub = ast.parse((SOURCE / "api" / "derived.pyi").read_text(encoding="utf-8"))
    lines = ["# diptych", "", "The public names: `import diptych`. Editors show the same signatures.", ""]
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            lines += _function(f"diptych.{node.name}", node)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("_"):
            group = node.name[1:].lower()
            for step in (n for n in node.body if isinstance(n, ast.FunctionDef)):
                name = f"diptych.{group}" if step.name == "__call__" else f"diptych.{group}.{step.name}"
                lines += _function(name, step)
    for name in diptych.__all__:
        thing = getattr(diptych, name)
        place = getattr(thing, "__module__", "diptych")
        if place != "diptych" and not ismodule(thing):  # the functions of the stub, and names without a page
            options = ["    options:", "      show_root_heading: false"]
            lines += [f"## diptych.{name}", "", f"::: {place}.{name}", *options, ""]
    return "\n".join(lines)


def _function(name: str, node: ast.FunctionDef) -> list[str]:
    """Return the heading, the signature and the docstring of a function of the stub, arguments as a table."""
    a = node.args
    star = ["*"] if a.kwonlyargs else []
    plain = [arg for arg in a.args if arg.arg != "self"]
    texts = [
        _argument(arg, d) for arg, d in zip(plain, [None] * (len(plain) - len(a.defaults)) + a.defaults, strict=True)
    ]
    texts += star + [_argument(arg, d) for arg, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    returned = ast.unparse(node.returns) if node.returns else "None"
    body, _, rest = (ast.get_docstring(node) or "").partition("\nArgs:\n")
    given, _, raises = rest.partition("\nRaises:\n")
    rows, entries = [], re.split(r"\n    (?=\w+: )", "\n" + given.rstrip())
    for entry in entries[1:]:
        word, _, meaning = entry.partition(": ")
        rows.append(f"| `{word}` | {' '.join(meaning.split()).replace('|', chr(92) + '|')} |")
    table = ["| argument | |", "|---|---|", *rows, ""] if rows else []
    ends = ["Raises " + " ".join(raises.split()), ""] if raises.strip() else []
    code = f"{name.rpartition('.')[2]}(\n    " + ",\n    ".join(texts) + f",\n) -> {returned}"
    return [f"## {name}", "", body.strip(), "", "```python", code, "```", "", *table, *ends]


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(arg.annotation)}" if arg.annotation else ""
    return f"{arg.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


def reference_index() -> str:
    """Return the public names first, then the list of rooms with what each is for."""
    lines = ["# Reference", "", "- [`diptych`](diptych.md): the public names, functions first", "", "## Inside", ""]
    lines += ["For systems of your own. Imports point down only: a room knows those above it in this list.", ""]
    for room in ROOMS:
        text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"- [`diptych.{room}`]({room}.md): {text.splitlines()[0] if text else ''}")
    return "\n".join([*lines, ""])


def _interval(row: dict[str, Any], metric: str) -> str:
    """Return a value, with its interval where the result holds one."""
    low, high = row.get("ci95") or (None, None)
    return _number(row.get(metric)) + (f" ({_number(low)} to {_number(high)})" if low is not None else "")


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{100 * value:{sign}.1f}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
