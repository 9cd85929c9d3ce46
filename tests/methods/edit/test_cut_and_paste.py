from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import EditAsk, Evidence, Kit, MissingPart, Run, Site, UsageError
from diptych.methods.edit.cut_and_paste import CutAndPaste, FittedCutAndPaste
from diptych.nn.diffusion.attention import replaced_columns
from diptych.nn.diffusion.ddim import levels, moved, repeated
from diptych.nn.diffusion.exchange import exchanged
from tests.support.diffusion import random_diffusion
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SHORT: dict[str, Any] = {"steps": 4, "guidance": 2.0, "subject_steps": 2, "subject_batch": 2}
ASK = EditAsk("a red star", "a blue cup")


class Clips(Pictures):
    """A clip of three frames for each picture."""

    def __getitem__(self, index: int) -> Any:
        return tuple(picture(index, index + k) for k in range(3))


CLIPS = Clips(tuple(picture(k, k) for k in range(2)))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    vit = small_clip(tmp_path_factory.mktemp("clip") / Path("vit"))
    return Kit({"main": vit, "diffusion": random_diffusion(vit)})


@pytest.fixture(scope="module")
def fitted(kit: Kit) -> FittedCutAndPaste:
    return CutAndPaste(**SHORT).fit(kit, Evidence(), Run())


def test_frames_that_read_each_other_change_the_paste_and_one_frame_alone_does_not(kit: Kit) -> None:
    alone, together = (CutAndPaste(**SHORT, between=b).fit(kit, Evidence(), Run()) for b in (False, True))
    words = exchanged(alone.diffusion, "a red star", "a blue cup")
    condition = alone.diffusion.encode_text(["a blue cup"])
    frames = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for count, equal in ((1, True), (3, False)):
        first, second = (
            f.paste(f.cut(frames[:count], "a red star", words), condition, words) for f in (alone, together)
        )
        assert torch.allclose(first, second, atol=1e-4) is equal
    found = together.cut(frames, "a red star", words, 1.0)  # a cell of each frame may change, and its neighbours
    still = found.m.expand(-1, 3, -1, -1) == 0
    assert torch.equal(together.paste(found, condition, words)[still], found.inverted.latents[-1][still])


def test_attention_in_files_is_that_in_memory(fitted: FittedCutAndPaste, tmp_path: Path) -> None:
    words = exchanged(fitted.diffusion, "a red star", "a blue cup")
    frames = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    there, here = (fitted.cut(frames, "a red star", words, None, folder) for folder in (tmp_path, None))
    condition = fitted.diffusion.encode_text(["a blue cup"])
    assert torch.equal(there.maps, here.maps)
    assert torch.equal(fitted.paste(there, condition, words), fitted.paste(here, condition, words))
    assert any(tmp_path.iterdir())


def test_a_paste_against_its_steps_one_by_one(fitted: FittedCutAndPaste) -> None:
    m, d = fitted.method, fitted.diffusion
    frames = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    words = exchanged(d, "a red star on ice", "a blue cup on ice")
    found = fitted.cut(frames, "a red star on ice", words)
    condition = d.encode_text(["a blue cup on ice"])
    z, ts, a = found.inverted.top, levels(4, 1000), d.alphas_cumprod
    nothing = repeated(d.encode_text([""]), 3)
    with torch.no_grad():
        for i, t in enumerate(ts):
            step = torch.full((3,), t)

            def hook(site: Site, p: torch.Tensor, i: int = i) -> torch.Tensor | None:
                if i >= 0.8 * 4:
                    return None
                known = found.record.maps[i, site]
                if site.kind == "cross":
                    return replaced_columns(p, known, words.columns)
                out = p.clone()
                for f in range(3):
                    for cell in range(16):
                        rows, columns = (slice(2 * k, 2 * k + 2) for k in divmod(cell, 4))
                        if not found.m[f, 0, rows, columns].any():
                            out[f, :, cell] = known[f, :, cell]
                return out

            without = d.eps(z, step, nothing)
            with_text = d.eps(z, step, repeated(condition, 3), hook)
            eps = without + 2.0 * (with_text - without)
            z = moved(z, eps, float(a[t]), float(a[ts[i + 1]] if i < 3 else a[0]))
            z = torch.where(found.m > 0, z, found.inverted.latents[i + 1])
        torch.testing.assert_close(fitted.paste(found, condition, words), z, rtol=1e-3, atol=1e-3)
    assert m.kept_steps == 0.8


def test_all_outside_the_map_stays_to_the_bit(fitted: FittedCutAndPaste) -> None:
    found = fitted.edit(replace(ASK, clips=CLIPS, threshold=0.9), Run())
    words = exchanged(fitted.diffusion, "a red star", "a blue cup")
    for i, (before, after) in enumerate(zip(found.before, found.after, strict=True)):
        assert before.shape == after.shape == (3, 3, 8, 8)
        size = [np.asarray(f.resize((8, 8), Image.Resampling.BICUBIC)) for f in CLIPS[i]]
        torch.testing.assert_close(before, torch.from_numpy(np.stack(size)).permute(0, 3, 1, 2).float() / 255)
        cutting = fitted.cut(before, "a red star", words, 0.9)
        still = (cutting.m == 0).expand_as(before)
        assert torch.equal(before[still], after[still])
        assert not torch.equal(before, after)
        assert found.facts[i]["area"] == pytest.approx(float(cutting.m.mean()), abs=0.05)


def test_limits_strength_0_a_floor_and_one_frame(fitted: FittedCutAndPaste) -> None:
    ask = replace(ASK, clips=CLIPS)
    high = replace(fitted, method=replace(fitted.method, floor=1.0))
    for editor, some in ((fitted, replace(ask, strength=0.0)), (high, ask)):
        found = editor.edit(some, Run())
        assert all(torch.equal(a, b) for a, b in zip(found.before, found.after, strict=True))
    facts = dict(found.facts[0])
    assert facts.pop("consistency") == facts.pop("consistency_before")
    assert facts == {"area": 0.0, "frames_without": 3}
    frames = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    words = exchanged(fitted.diffusion, "a red star", "a blue cup")
    alone = replace(fitted, method=replace(fitted.method, fusion=(0.0, 1.0, 0.0)))
    assert torch.equal(fitted.cut(frames, "a red star", words).maps, alone.cut(frames, "a red star", words).maps)


@torch.no_grad()
def test_frames_are_compared_by_the_backbone_with_their_neighbours(fitted: FittedCutAndPaste) -> None:
    before, after = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    facts = fitted.consistency(before, after, Run())
    for name, frames in (("consistency_before", before), ("consistency", after)):
        side = (fitted.backbone.image.size,) * 2
        large = torch.nn.functional.interpolate(frames, side, mode="bicubic", antialias=True).clamp(0, 1)
        v = fitted.backbone.image.encode(fitted.backbone.image.inputs(list(large))).numpy()  # type: ignore[union-attr]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in ((v[0], v[1]), (v[1], v[2]))]
        assert facts[name] == pytest.approx(np.mean(cosines), abs=1e-4)
    assert fitted.consistency(before[:1], after[:1], Run()) == {}


def test_a_reference_says_what_appears(fitted: FittedCutAndPaste) -> None:
    ask = replace(ASK, clips=CLIPS, threshold=0.0)
    plain, first, second = (
        fitted.edit(replace(ask, reference=r), Run()).after for r in (None, picture(0, 0), picture(2, 5))
    )
    assert not torch.equal(plain[0], first[0])
    assert not torch.equal(first[0], second[0])
    again = fitted.edit(replace(ask, reference=picture(0, 0)), Run()).after
    assert torch.equal(again[0], first[0])
    with pytest.raises(UsageError, match="leaves no word for the subject"):
        fitted.edit(replace(ask, target="a star", reference=picture(0, 0)), Run())


def test_bad_input_is_named(kit: Kit, fitted: FittedCutAndPaste) -> None:
    refused(CutAndPaste, {"steps": 0}, {"guidance": -1.0}, {"kept_steps": 2.0}, {"threshold": -0.1}, {"floor": 1.5})
    refused(
        CutAndPaste,
        {"fusion": (0.0, 0.0, 1.0)},
        {"fusion": (1.0, 0.0, 0.0)},
        {"subject_rate": 0.0},
        {"subject_steps": -1},
    )
    with pytest.raises(MissingPart, match="TextDiffusion named 'diffusion'"):
        CutAndPaste(**SHORT).fit(Kit({"main": kit.parts["main"]}), Evidence(), Run())
    with pytest.raises(UsageError, match="begins with clips"):
        fitted.edit(ASK, Run())
    with pytest.raises(UsageError, match="only adds words"):
        fitted.edit(replace(ASK, target="a very red star", clips=CLIPS), Run())
