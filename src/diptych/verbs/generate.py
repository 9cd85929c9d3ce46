"""``generate``: make pictures from words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from diptych.core import EditAsk, Run, UsageError
from diptych.core.ranges import at_least
from diptych.core.wording import number_of, several_words
from diptych.verbs import keeping, kinds
from diptych.verbs.arguments import argument, fit_workers, fitted, like, method, settings
from diptych.verbs.declare import LIGHT, SLOW_RUN, Verb
from diptych.verbs.pictures import Pictures
from diptych.verbs.reads import never

if TYPE_CHECKING:
    from diptych.core import Editor
    from diptych.tasks.edit import Pair
    from diptych.verbs.context import Context

LISTING = "generate.json"


@dataclass(frozen=True, kw_only=True)
class Generate(Verb):
    """Make pictures from words."""

    item: ClassVar[str] = "Pair"
    role: ClassVar[str] = "diptych.core.edit:Editor"
    out: ClassVar[str] = "pictures"
    out_help: ClassVar[str] = "Folder for the pictures and generate.json."
    python_out: ClassVar[Literal["", "name", "position"]] = "name"
    examples: ClassVar[tuple[str, ...]] = (
        'generate "a red circle" "a yellow star on a dark background" --count 2',
        'generate "a blue square" --seed 7 --out drawn',
    )
    run_options: ClassVar[Mapping[str, Any]] = LIGHT
    offers: ClassVar[tuple[str, ...]] = SLOW_RUN

    texts: str | Sequence[str] = argument(
        'What the pictures should show: "a red circle".', kinds.MANY_TEXTS, positional=True
    )
    denoiser: str = argument("small, or local:FOLDER with a diffusers pipeline.", default="small", reads=never)
    anyway: bool = argument(
        "Accept words that the small denoiser never learnt, although the pictures then show something else.",
        default=False,
        reads=never,
    )  # fmt: skip
    negative: str = argument(
        'What the pictures should not show: "blurred, grey".', default="", reads=never
    )  # fmt: skip
    count: int = argument("Pictures made of each text.", default=4, short="-n", range=at_least(1))
    steps: int | None = argument(
        "Steps of sampling; 10 unless given with the small denoiser, 25 with others.", default=None, range=at_least(1),
        reads=never,
    )  # fmt: skip
    guidance: float = argument(
        "Guidance scale, how strongly the text counts; 1 is no guidance.", default=3.0, range=at_least(0), reads=never
    )
    scheduler: str | None = argument(
        "ddim, or of a pipeline euler, euler-a, dpm++, unipc or pndm; of flow matching euler-flow or heun-flow "
        "(default: ddim, or euler-flow).",
        default=None,
        reads=never,
    )  # fmt: skip
    lora: str | Path | None = argument(
        "FOLDER with a LoRA of the pipeline, in safetensors.", kinds.FOLDER, None, reads=never
    )  # fmt: skip
    seed: int = argument("Seed of the noise, and of a training.", default=0)
    method: str | Editor | None = method(
        None, "A system that draws pictures from words, instead of the denoiser."
    )  # fmt: skip
    variant: str = argument("Variant of the method; 'diptych systems METHOD' lists them.", default="")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    like: object = like("Photos with captions to learn from, for a method that learns.")
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()

    @property
    def ask(self) -> EditAsk:
        """The request of an editor that begins with words alone."""
        return EditAsk("", tuple(self.texts), count=self.count)

    def is_fitted(self) -> bool:
        """Return whether the denoiser does the work, which learns nothing here."""
        return self.method is None

    def check(self) -> None:
        """Refuse texts that are none, or hold words that the small denoiser never learnt."""
        from diptych.backbones.diffusion.schedulers import DDIM
        from diptych.tasks.generate import check_learnt, check_texts

        check_texts(self.texts)
        if self.method is not None:
            return
        if self.like is not None or self.fitted is not None or self.variant or self.settings:
            raise UsageError(
                "The denoiser learns nothing: give {method}, or leave {like}, {fitted}, {variant} and {settings} out."
            )
        self._check_scheduler()
        if self.negative and self.guidance == 1.0:
            raise UsageError("Without guidance {negative} has no effect: give a {guidance} above 1, or leave it out.")
        if self.denoiser != "small":
            return
        if self.scheduler not in (None, DDIM) or self.lora is not None:
            raise UsageError(
                "{scheduler} and {lora} belong to pipelines: give one as {denoiser}, local:FOLDER, or leave them out."
            )
        if not self.anyway:
            check_learnt(self._words())

    def _check_scheduler(self) -> None:
        """Refuse a scheduler that does not fit the denoiser, of which no weights are read."""
        from diptych.backbones.diffusion.folder_parts import layout_of
        from diptych.backbones.diffusion.load import folder_of
        from diptych.backbones.diffusion.schedulers import check_scheduler

        folder = folder_of(self.denoiser)
        if self.scheduler is not None:
            check_scheduler(self.scheduler, flow=None if folder is None else layout_of(folder)[0].flow)

    def _words(self) -> tuple[str, ...]:
        """Return all texts that the denoiser reads."""
        return (*self.texts, self.negative) if self.negative else tuple(self.texts)

    def check_with(self, system: Any) -> None:
        """Refuse a method that does not begin with words alone, or that lacks what it learns from."""
        from diptych.tasks.evidence import check_evidence

        system.takes.check(self.ask, system.card.name)
        if not self.is_kept():
            check_evidence(system.card, like=self.like)

    def run(self, context: Context) -> Generated:
        """Make the pictures."""
        from diptych.backbones.diffusion.load import load_diffusion
        from diptych.backbones.diffusion.schedulers import scheduler_for
        from diptych.tasks.edit import edit, files, fitted_editor, names_of
        from diptych.tasks.edit_parts import kit_for
        from diptych.tasks.evidence import evidence_for
        from diptych.tasks.generate import generate, unlearnt_in, usual_steps

        context.free(*map(str, files(Path(), names_of(self.ask, Run()))), LISTING)
        if self.method is None:
            model, run = context.model(), context.run()
            lora = None if self.lora is None else Path(self.lora)
            denoiser = load_diffusion(self.denoiser, model, precision=run.precision, lora=lora)
            numbers: dict[str, Any] = {
                "steps": self.steps or usual_steps(self.denoiser), "guidance": self.guidance, "negative": self.negative,
                "scheduler": scheduler_for(denoiser, self.scheduler),
            }  # fmt: skip
            result = generate(self.texts, denoiser, run, count=self.count, **numbers)
            about: dict[str, Any] = {"denoiser": self.denoiser, "lora": None if lora is None else str(lora), **numbers}
            strange = unlearnt_in(self._words()) if self.denoiser == "small" else ""
        else:
            system, folder, strange = self.system(), None if self.fitted is None else Path(self.fitted), ""
            evidence = None if self.is_kept() else evidence_for(system.card, like=self.like, keys=context.keys)
            context = keeping.where(self, context)
            model, run = context.model(), context.run()
            kit = kit_for(system.card, model)
            editor = fitted_editor(
                kit, run, method=system, evidence=evidence, folder=folder, workers=self.fit_workers,
                facts=keeping.learnt_from(self),
            )  # fmt: skip
            result = edit(editor, self.ask, run)
            about = {
                "method": system.card.slug, "variant": self.variant, "settings": self.given_settings()
            }  # fmt: skip
        return Generated(result, {**about, "backbone": model.spec.name, "seed": self.seed}, strange)


class Generated(Pictures):
    """Pictures that were made from words."""

    done = "made"
    listing = LISTING

    def __init__(self, result: Any, about: Mapping[str, Any], strange: str) -> None:
        super().__init__(result, about)
        self.strange = strange

    def line(self, item: Pair) -> str:
        """Return nothing: a picture of words is not described."""
        return ""

    def label(self, item: Pair) -> str:
        """Return the text that the picture was made from."""
        return item.text

    def remarks(self, items: Sequence[Pair]) -> list[str]:
        """Return words that were never learnt, and that each of several single words is a text of its own."""
        apart = several_words(self.result.ask.targets, "drawn apart")
        lines = [apart] if apart else []
        if self.strange:
            lines.append(f"The small denoiser never learnt {self.strange}: what the pictures show of it means nothing.")
        return lines

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write generate.json."""
        super().close(folder, data, overwrite=overwrite)
        return [f"{number_of(len(self.result.pairs), 'picture')} and {LISTING} in {folder}"]
