"""``edit``: change pictures and clips by words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from diptych.core import EditAsk, MissingPart, StyleGenerator, UsageError
from diptych.core.ranges import at_least
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import keeping, kinds
from diptych.verbs.arguments import argument, fit_workers, fitted, like, method, settings
from diptych.verbs.declare import LIGHT, SLOW_RUN, Verb
from diptych.verbs.edited import LISTING, Changed
from diptych.verbs.photos import clip_frames, open_photos
from diptych.verbs.reads import needs

if TYPE_CHECKING:
    from diptych.core import Card, Editor, Kit, Samples, Start
    from diptych.verbs.context import Context

DRAWN = 4
"""Pictures that are drawn where no number is given."""
STARTS = {"drawn": "pictures that a generator draws", "nothing": "words alone"}


@dataclass(frozen=True, kw_only=True)
class Edit(Verb):
    """Change pictures and clips with words: say what they show, and what they should show."""

    item: ClassVar[str] = "Pair"
    role: ClassVar[str] = "diptych.core.edit:Editor"
    out: ClassVar[str] = "edits"
    out_help: ClassVar[str] = "Folder for pictures before and after, and edit.json."
    python_out: ClassVar[Literal["", "name", "position"]] = "name"
    examples: ClassVar[tuple[str, ...]] = (
        'edit --source "a red circle" --target "a blue circle" --fitted editor',
        'edit cat.jpg --target "cat: a pencil sketch" --method mosaic --variant small --backbone lite',
    )
    run_options: ClassVar[Mapping[str, Any]] = LIGHT
    offers: ClassVar[tuple[str, ...]] = SLOW_RUN

    photos: object = argument(
        "Photos, a folder, a table or clips; none: pictures that the generator draws.", kinds.MANY_PHOTOS, None,
        positional=True,
    )  # fmt: skip
    source: str = argument(
        'What the pictures show: "a red circle".', default="", reads=lambda system: system.takes.source
    )
    target: str | Sequence[str] = argument(
        'What they should show: "a blue circle"; some methods take several.', kinds.TEXTS, ()
    )
    subject: object = argument(
        "A picture of the object to insert, for methods that take one.", kinds.PICTURE, None,
        reads=lambda system: system.takes.reference != "no",
    )  # fmt: skip
    mask: object = argument(
        "A PNG of a photo's size, white where it may change, for a method that takes it.", kinds.PICTURE, None,
        reads=lambda system: system.takes.masks != "no",
    )  # fmt: skip
    strength: float = argument(
        "Factor on the change; 0 returns the input.", default=1.0, range=at_least(0),
        reads=lambda system: system.takes.strength,
    )  # fmt: skip
    threshold: float | None = argument(
        "Least relevance of what may change, for a method that has one.", default=None, range=at_least(0),
        reads=lambda system: system.takes.threshold,
    )  # fmt: skip
    generator: str | None = argument(
        "factors, small, or a FILE with StyleGAN2 weights, .pt or .safetensors (default: factors; for photos small).",
        default=None, short="-g", reads=needs("StyleGenerator"),
    )  # fmt: skip
    inverter: str | None = argument(
        "A FILE of e4e or pSp that finds photos in the generator; it may hold the generator too.", default=None,
        reads=needs("StyleGenerator"),
    )  # fmt: skip
    denoiser: str | None = argument(
        "small, or local:FOLDER with a diffusers pipeline (default: small).", default=None,
        reads=needs("TextDiffusion"),
    )  # fmt: skip
    anyway: bool = argument(
        "Accept words that the generator or denoiser never learnt, although the pictures then show something else.",
        default=False, reads=needs("StyleGenerator", "TextDiffusion"),
    )  # fmt: skip
    segmenter: str | None = argument(
        "A segmenter, for a method that takes one.", default=None, reads=needs("Segmenter")
    )
    like: object = like("Photos to learn from, for a method that learns from some.")
    frames: int | None = argument("Frames sampled from each clip (default: 8).", default=None, range=at_least(1))
    count: int | None = argument(
        "Pictures drawn from the generator (default: 4).", default=None, short="-n", range=at_least(1)
    )
    seed: int = argument("Seed of the pictures drawn, and of the training.", default=0)
    method: str | Editor | None = method(
        None, "An editor; 'diptych systems --verb edit' lists them (default: by the input)."
    )  # fmt: skip
    variant: str | None = argument('Variant of the method, such as small; "" is the paper\'s.', default=None)
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()

    def slug(self) -> str:
        """Return the editor that begins with what there is."""
        from diptych.tasks.edit_parts import chosen_editor

        return chosen_editor(None, self.start).card.slug

    @property
    def start(self) -> Start:
        """What the edit begins with."""
        if self.photos is None:
            return "drawn"
        return "pictures" if clip_frames(self.photos, self.frames) is None else "clips"

    def check(self) -> None:
        """Refuse a number of pictures to draw where none are drawn."""
        if self.photos is not None and self.count is not None:
            raise UsageError("Photos are given, and none are drawn, so {count} has no effect: leave it out.")

    def check_with(self, system: Any) -> None:
        """Refuse words that name no change, and what the editor does not begin with or cannot learn from."""
        from diptych.tasks.edit import check_words
        from diptych.tasks.evidence import check_evidence

        name, able = system.card.name, system.takes.start
        if able == ("nothing",):
            raise UsageError(
                f"{name} makes pictures from words alone, and changes none: use generate, with "
                f"{system.card.slug} as {{method}}."
            )
        check_words(self.source, tuple(self.target), with_source=system.takes.source)
        if self.start not in able:
            if self.start == "drawn":
                raise UsageError(
                    f"{name} changes your own pictures: give {{photos}}, of which it takes {_either(able)}."
                )
            raise UsageError(
                f"{name} does not begin with {self.start}, only with {_either(able)}: choose another {{method}}."
            )
        system.check_words(self.source, tuple(self.target))
        if self.mask is not None and (self.photos is None or not _is_one(self.photos)):
            raise UsageError("{mask} belongs to one photo: give that photo alone.")
        if self.inverter is not None or self.generator not in (None, "factors", "small"):
            from diptych.backbones.generators.load import weights_of

            if self.generator not in (None, "factors", "small"):
                weights_of(str(self.generator))
            if self.inverter is not None:
                weights_of(self.inverter, "is no {inverter}: give a file of e4e or pSp")
        if not self.is_kept():
            check_evidence(system.card, like=self.like)
            if not self.anyway:
                self._check_learnt(system.card)

    def _check_learnt(self, card: Card) -> None:
        """Refuse words that what draws never learnt, before anything is trained."""
        from diptych.tasks.edit_parts import drawn_by, unlearnt_remark

        draws = drawn_by(self.generator, self.inverter, photos=self.photos is not None)
        remark = unlearnt_remark(
            draws if "StyleGenerator" in card.needs.parts else None,
            self.denoiser or "small" if "TextDiffusion" in card.needs.parts else None, self.source, tuple(self.target),
        )  # fmt: skip
        if remark:
            raise UsageError(f"{remark[:-1]}, or continue anyway with {{anyway}}.")

    def run(self, context: Context) -> Changed:
        """Learn to edit, or read what was trained, and edit the pictures."""
        from diptych.data.samples import need_readable
        from diptych.features.portable import denoiser_of
        from diptych.tasks.edit import alone, drawn_ask, edit, files, film_of, fitted_editor, need_inverter
        from diptych.tasks.edit_parts import drawn_by, kit_for
        from diptych.tasks.evidence import evidence_for

        system, name = self.system(), self.system().card.name
        given = self._given(context)
        count = DRAWN if self.count is None else self.count
        names = [f"seed{self.seed}-{i + 1}" for i in range(count)] if given is None else _names(given)
        if given is not None:
            need_readable(given)
        written = (Path, alone, film_of) if self.start == "clips" else (Path, alone)
        context.free(*(str(f(path)) for path in files(Path(), names) for f in written), LISTING)
        reference = None if self.subject is None else _opened(self.subject)
        masks = None if self.mask is None else [_mask(self.mask)]
        context = keeping.where(self, context)
        model, run = context.model(), context.run()
        names_of_parts = ("generator", "inverter", "denoiser", "segmenter")
        parts: dict[str, Any] = {part: getattr(self, part) for part in names_of_parts}
        if self.denoiser is None and self.is_kept():
            parts["denoiser"] = denoiser_of(Path(str(self.fitted)))
        kit = kit_for(system.card, model, **parts, photos=given is not None)
        draws = kit.parts.get("generator")
        generator = drawn_by(self.generator, self.inverter, photos=given is not None)
        if given is not None and draws is not None:
            need_inverter(kit.parts.get("inverter"), generator)
        whole: dict[str, Any] = {} if given is None else {"images" if self.start == "pictures" else "clips": given}
        ask = EditAsk(
            self.source, tuple(self.target), reference=reference, masks=masks, strength=self.strength,
            threshold=self.threshold, **whole,
        )  # fmt: skip
        if given is None:
            if not isinstance(draws, StyleGenerator):
                raise MissingPart(f"{name} draws no pictures of its own: give {{photos}}.")
            ask = drawn_ask(ask, draws, count, run)
        system.takes.check(ask, name)
        evidence = None if self.is_kept() else evidence_for(system.card, like=self.like, keys=context.keys)
        folder = None if self.fitted is None else Path(self.fitted)
        editor = fitted_editor(
            kit, run, method=system, evidence=evidence, folder=folder, workers=self.fit_workers,
            facts=keeping.learnt_from(self),
        )  # fmt: skip
        result = edit(editor, ask, run, channels=getattr(draws, "channels", ()))
        about = {
            "generator": generator if draws is not None else None, "inverter": self.inverter,
            **_named(replace(self, denoiser=parts["denoiser"]), kit), "method": system.card.slug,
            "variant": self.row(), "settings": self.given_settings(), "threshold": self.threshold,
            "backbone": model.spec.name, "seed": self.seed,
        }  # fmt: skip
        return Changed(result, about)

    def _given(self, context: Context) -> Samples[Any] | None:
        """Return the photos or clips; None where pictures are drawn."""
        if self.photos is None:
            return None
        frames = clip_frames(self.photos, self.frames)
        return open_photos(self.photos, context.keys, frames=frames)[0].items


def _named(verb: Edit, kit: Kit) -> dict[str, Any]:
    """Return by name what took part beside the generator."""
    subject = verb.subject
    if subject is not None and not isinstance(subject, (str, os.PathLike)):
        subject = "a picture"
    return {
        "denoiser": (verb.denoiser or "small") if "diffusion" in kit.parts else None,
        "segmenter": (verb.segmenter or DEFAULTS["segment"]) if "segmenter" in kit.parts else None,
        "subject": None if subject is None else str(subject),
    }


def _names(samples: Samples[Any]) -> list[str]:
    return [samples.name(i) for i in range(len(samples))]


def _either(starts: Sequence[str]) -> str:
    return " or ".join(STARTS.get(start, start) for start in starts)


def _is_one(photos: object) -> bool:
    """Return whether one photo is given: one path, or one picture in Python."""
    return len(photos) == 1 if isinstance(photos, (list, tuple)) else True


def _opened(picture: Any) -> Any:
    """Return a picture by its path, or as it is."""
    from diptych.data.images import open_image

    return open_image(os.fspath(picture)) if isinstance(picture, (str, os.PathLike)) else picture


def _mask(picture: Any) -> Any:
    """Return where a photo may change, from a picture that is white there."""
    import numpy as np

    shown = _opened(picture)
    pixels = np.asarray(shown.convert("L") if hasattr(shown, "convert") else shown)
    return pixels if pixels.dtype == bool else pixels > 127
