"""Where a command runs a verb: what its options opened, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.cli import flag_values, recipe_file
from diptych.cli.console import command_line, say
from diptych.cli.options import Opened, RunOptions
from diptych.cli.unread import typed
from diptych.verbs.context import Once

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone, Run, Samples
    from diptych.core.run import Workers
    from diptych.data.keys import FileKeys
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew


class CommandContext(Once):
    """Where a command runs a verb.

    Args:
        opened: options of the run.
        out: what it writes.
        usual: the backbone where none is named.
        unfinished: folder of results of a command that may be stopped, see ``evaluation.item_checkpoint``; None: none.
    """

    def __init__(
        self, opened: Opened, out: Path | None, usual: str = RunOptions.backbone,
        unfinished: Path | None = None,
    ) -> None:  # fmt: skip
        self.opened, self.out, self.usual, self.unfinished = opened, out, usual, unfinished
        self.overwrite, self.backbone = opened.options.overwrite, opened.options.backbone
        self.on_cluster = opened.options.cluster is not None
        self.command = command_line()
        self.options = {name: getattr(opened.options, name) for name in ("device", "precision", "engine")}

    @property
    def keys(self) -> FileKeys:
        """Remembered content keys of files."""
        return self.opened.keys

    def recipe(self) -> str:
        """The command line as a recipe file."""
        return recipe_file.recipe_text()

    def say(self, remark: str) -> None:
        """Print a remark."""
        say(flag_values.with_flags(remark))

    def trained(self, *, scratch: bool) -> tuple[Backbone, Run]:
        """Return the backbone of the options, or one of random weights in its shape, and the run of its training."""
        opened, half = self.opened, self.opened.options.precision == "fp16"  # no encoder runs in it
        if half:
            opened = opened.also(replace(opened.options, precision="fp32"))
        run = replace(opened.run, precision="fp16") if half else opened.run
        if not scratch:
            return opened.backbone(), run
        from diptych.backbones.sources import load as source

        return source.load(self.backbone, device=run.device, weights="random", seed=run.seed), run

    def free(self, *names: str) -> None:
        """Refuse files of an earlier run, unless they may be replaced."""
        if self.out is not None:
            self.opened.options.free(*(self.out / name for name in names))

    def free_file(self, path: Path, argument: str) -> None:
        """Refuse a file that is there, unless it may be replaced."""
        self.opened.options.free(path, flag=f"{{{argument}}}")

    def model(self, other: Any = None, *, spaces: bool = False) -> Backbone:
        """Return the backbone of the options, or another one, by its name."""
        return self.opened.backbone(other or "", spaces=spaces)

    def chosen(self, name: str) -> Backbone:
        """Return the backbone of the options, or that of this name where none was chosen."""
        default = self.backbone == self.usual and "backbone" not in typed.get()
        return self.model(name if default else self.backbone)

    def expect(self, items: int) -> None:
        """Say how many items are encoded at most."""
        self.opened.items = items

    def light_run(self) -> Run:
        """Return the run of what needs no encoder; no torch is loaded for it."""
        return self.opened.light

    def recalled(self) -> tuple[CachedBackbone, Run] | None:
        """Return the backbone as it is remembered; None where workers encode, which load it."""
        return None if self.on_cluster else self.opened.recalled

    def encoders(self, *modalities: str) -> tuple[Backbone | CachedBackbone, Run]:
        """Return the remembered backbone where it is enough, else load it and remember it."""
        return self.opened.encoders(*modalities)

    def remember(self, backbone: Backbone) -> None:
        """Remember the backbone for the next process."""
        self.opened.remember(backbone)

    def encode_ahead(self, backbone: Backbone, items: Samples[Any], run: Run) -> None:
        """Let the workers of the cluster that is asked for encode photos."""
        if (crew := self.opened.crew(backbone.spec.name)) is not None:
            from diptych.tasks.encode.cluster import encode_ahead

            encode_ahead(crew, backbone.image, items, run)

    def crew(self) -> Crew | None:
        """Return the workers of the cluster that is asked for."""
        return self.opened.crew()

    def workers(self, device: str) -> Cluster | None:
        """Return the workers of the cluster that is asked for."""
        return self.opened.pool(device)

    def like(self, facts: Mapping[str, Any], *, wholly: bool = False, engine: str = "") -> CommandContext:
        """Return the context of options with the backbone, precision and decode of an index."""
        from diptych.verbs.index import model_options

        chosen: dict[str, Any] = {"engine": engine} if engine else {}
        if facts:
            name, precision, draft = model_options(facts)
            values = {"backbone": name, "precision": precision, "draft": draft}
            chosen |= {key: value for key, value in values.items() if wholly or key not in typed.get()}
        opened = self.opened.also(replace(self.opened.options, **chosen))
        return CommandContext(opened, self.out, self.usual, self.unfinished)

    def run(self) -> Run:
        """Return the run of the options, with the workers of the cluster that is asked for and the finished results."""
        run = self.opened.run
        workers: Workers | None = self.opened.pool(run.device) if self.on_cluster else None
        if self.unfinished is not None:
            from diptych.evaluation.item_checkpoint import ItemCheckpoint

            workers = ItemCheckpoint(self.unfinished, workers)
        return replace(run, cluster=workers)
