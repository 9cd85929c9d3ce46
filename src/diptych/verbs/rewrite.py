"""``rewrite``: say more in prompts for a text-to-image model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least
from diptych.core.wording import number_of, one_line, several_words
from diptych.tasks.defaults import slug_and_row
from diptych.verbs import keeping, kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument, fit_workers, fitted, like, method, settings
from diptych.verbs.declare import LIGHT, SLOW_RUN, Verb

if TYPE_CHECKING:
    from diptych.core import Rewriter
    from diptych.tasks.rewrite import Rewrites, Rewritten
    from diptych.verbs.context import Context


SLUG, ROW = slug_and_row("rewrite")


def _learns_from_pictures(system: Any) -> bool:
    return bool(getattr(system, "image", False))


@dataclass(frozen=True, kw_only=True)
class Rewrite(Verb):
    """Write longer prompts from short ones, several of each to choose from."""

    item: ClassVar[str] = "Rewrites"
    role: ClassVar[str] = "diptych.core.train:Rewriter"
    report: ClassVar[str] = "Also write a .json file."
    examples: ClassVar[tuple[str, ...]] = (
        'rewrite "a red circle" --like captions.csv --fitted writer',
        "rewrite prompts.txt --fitted writer",
    )
    run_options: ClassVar[Mapping[str, Any]] = LIGHT
    offers: ClassVar[tuple[str, ...]] = SLOW_RUN

    prompts: str | Sequence[str] = argument(
        "A .txt file with one prompt per line, or prompts.", kinds.MANY_TEXTS, positional=True
    )
    like: object = like("Photos with a short and a long caption each to learn from: a table or folder.")
    method: str | Rewriter = method(SLUG, "A rewriter; 'diptych systems --verb rewrite' lists them.")
    variant: str | None = argument(
        f'Variant of the method; {SLUG} has {ROW} (default), text (no denoiser), and "", the paper\'s.', default=None
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    choices: int = argument("Rewrites of each prompt.", default=5, short="-n", range=at_least(1))
    denoiser: str = argument(
        "small, or local:FOLDER with a diffusers pipeline.", default="small", reads=_learns_from_pictures
    )
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()
    seed: int = argument("Seed of the training.", default=0, fits=True)

    def check(self) -> None:
        """Refuse prompts that are none."""
        from diptych.tasks.rewrite import read_prompts

        read_prompts(self.prompts)

    def check_with(self, system: Any) -> None:
        """Refuse more rewrites than the method has, and captions that are missing."""
        from diptych.tasks.evidence import check_evidence
        from diptych.tasks.rewrite import check_choices

        check_choices(system, self.choices)
        if not self.is_kept():
            check_evidence(system.card, like=self.like)

    def run(self, context: Context) -> Prompts:
        """Learn to rewrite, or read what was trained, and rewrite the prompts."""
        from diptych.core import Kit
        from diptych.tasks.evidence import evidence_for
        from diptych.tasks.rewrite import fitted_rewriter, read_prompts, rewrite

        system, prompts, fitted = self.system(), read_prompts(self.prompts), self.is_kept()
        evidence = None if fitted else evidence_for(system.card, like=self.like, keys=context.keys)
        context = keeping.where(self, context)
        model, run = context.model(), context.run()
        parts: dict[str, Any] = {"main": model}
        if not fitted and _learns_from_pictures(system):
            from diptych.backbones.diffusion.load import check_one_encoder, load_diffusion

            check_one_encoder(self.denoiser, system.card.name)
            parts["diffusion"] = load_diffusion(self.denoiser, model)
        folder = None if self.fitted is None else Path(self.fitted)
        writer = fitted_rewriter(
            Kit(parts), run, system, evidence=evidence, folder=folder, workers=self.fit_workers,
            facts=keeping.learnt_from(self),
        )  # fmt: skip
        about = {
            "method": system.card.slug, "variant": self.row(), "settings": self.given_settings(),
            "backbone": model.spec.name, "seed": self.seed,
        }  # fmt: skip
        apart = several_words(prompts, "rewritten apart") if tuple(self.prompts) == prompts else ""
        return Prompts(rewrite(writer, prompts, choices=self.choices), about, apart)


class Prompts(Answer["Rewrites"]):
    """Prompts with their rewrites."""

    rows_key = "prompts"
    item_kind = "prompt"
    done = "rewritten"

    def __init__(self, result: Rewritten, about: Mapping[str, Any], apart: str = "") -> None:
        super().__init__(iter(result.of_prompts()))
        self.result, self.about, self.apart = result, about, apart

    def name(self, item: Rewrites) -> str:
        """Return the prompt."""
        return item.prompt

    def line(self, item: Rewrites) -> str:
        """Return the rewrites, the likeliest first."""
        return " | ".join(map(one_line, item))

    def label(self, item: Rewrites) -> str:
        """Return the likeliest rewrite."""
        return item[0] if item else ""

    def printed(self, item: Rewrites, name: str) -> str:
        """Return the prompt and its rewrites, a line each."""
        return "\n".join([one_line(item.prompt), *(f"  {one_line(text)}" for text in item)])

    def columns(self, items: Sequence[Rewrites]) -> dict[str, list[str]]:
        """Return the likeliest rewrites."""
        return {"rewrite": [self.label(item) for item in items]}

    def facts(self) -> dict[str, Any]:
        """Return what was asked, and how varied the rewrites are."""
        return {"distinct_2": self.result.distinct, **self.about}

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the plain data; a prompt is never skipped."""
        return {k: v for k, v in super().data(rows, remarks).items() if k != "skipped"}

    def remarks(self, items: Sequence[Rewrites]) -> list[str]:
        """Return that each of several single words is a prompt of its own."""
        return [self.apart] if self.apart else []

    def ends(self) -> list[str]:
        """Return how varied the rewrites are."""
        count = number_of(len(self.result.prompts), "prompt")
        return [f"{count}; distinct-2 of all rewrites {self.result.distinct:.2f}"]
