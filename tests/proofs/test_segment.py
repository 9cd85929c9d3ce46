from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import DataError, NotAvailable, Run, UsageError
from diptych.data.words.stuff_looks import LOOKS, PHOTO
from diptych.evaluation.arms import Arm
from diptych.evaluation.datasets import open_set
from diptych.evaluation.spoils import as_subclass
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.naclip import NACLIP
from diptych.methods.segment.trident import Trident
from diptych.nn.dense.label_maps import Windows
from proofs.prove import prove
from proofs.segment import (
    AllAlike,
    Anywhere,
    FurtherLooks,
    Itself,
    Neighbours,
    OtherLooks,
    PlaceAlone,
    Uniform,
    UniformWindow,
    open_bench,
    open_few,
)
from tests.support.colours import COLOURS
from tests.support.dense_colours import DenseColours, masked_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos at their own size: the default would enlarge them to 672 x 448, 12,544 cells a window."""
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    return masked_folder(tmp_path)


def test_names_that_fit_beat_chance_and_shuffled_ones_do_not(folder: Path) -> None:
    proof = prove("maskclip", DenseColours(), Run(), datasets=(str(folder),))
    (found,) = proof.as_dict()["datasets"]
    assert proof.shown
    assert proof.facts["metric"] == "miou"
    assert (found["items"], found["classes"], found["split"]) == (6, 4, "val")
    (claim,), (control,) = found["claims"], found["controls"]
    assert claim["method"]["miou"] > 0.6 > 0.3 > claim["baseline"]["miou"]
    assert claim["method"]["ci95"][0] <= claim["method"]["miou"] <= claim["method"]["ci95"][1]
    assert claim["gain"] == pytest.approx(claim["method"]["miou"] - claim["baseline"]["miou"])
    assert control["failed"]
    assert control["control"]["miou"] < 0.1
    json.dumps(proof.as_dict())


def test_the_hash_follows_the_masks(folder: Path) -> None:
    def digest() -> str:
        return prove("maskclip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3)).datasets[0][
            "data_hash"
        ]

    before = digest()
    mask = np.asarray(Image.open(folder / "0-mask.png")).copy()
    mask[0, 0] = 3
    Image.fromarray(mask).save(folder / "0-mask.png")
    assert digest() != before


def test_absent_masks_are_named(tmp_path: Path) -> None:
    for name in ("no_such_set", "mosaic:no_such_set", "paste:no_such_set"):
        with pytest.raises(UsageError, match="There is no file or folder no_such_set"):
            open_set(name, "masks")
    with pytest.raises(
        DataError, match=r"neither a folder with label maps \(labels.* nor a folder in ADE20K's"
    ) as error:
        open_set(f"paste:{tmp_path}", "masks")
    assert len(str(error.value).split()) < 30


def test_composed_sets_are_opened_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        for name in ("red", "blue"):
            (tmp_path / "classes" / split / name).mkdir(parents=True)
            for i in range(8):
                Image.new("RGB", (30, 20), COLOURS[name] if split == "val" else (0, 0, 0)).save(
                    tmp_path / "classes" / split / name / f"{split}-{name}-{i}.png"
                )
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    mosaic = open_set("mosaic:classes", "masks")
    table = mosaic.split("test")
    assert mosaic.classes == ("blue", "red")
    assert len(table) == 64
    pixels, mask = np.asarray(table.items[0]), table.columns["mask"].values[0]
    assert np.array_equal(
        pixels, np.array([COLOURS["blue"], COLOURS["red"]], dtype=np.uint8)[mask]
    )  # val alone is shown
    (folder / "labels.csv").rename(folder / "captions.csv")
    (folder / "classes.csv").write_text("value,name\n1,red\n2,background\n3,blue\n4,yellow")
    assert open_set(f"paste:{folder}", "masks").classes == ("background", "red", "blue")


def test_a_system_that_learns_is_compared_with_its_twin_taught_by_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise on two colours: pooling over patches of one colour helps, dealt affinities do not; each gain has its own
    verdict.
    """
    monkeypatch.setattr("diptych.tasks.segment.load_vision", lambda name: DenseColours(name=name))
    monkeypatch.setattr(
        CLIPDINOiser, "__init__", partialmethod(CLIPDINOiser.__init__, windows=Windows(40, 40, 20), photos=6, steps=20)
    )
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    with pytest.raises(NotAvailable, match="imagenet1k_sample"):
        prove("clip-dinoiser", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3))
    (tmp_path / "imagenet1k_sample").mkdir()
    for i in range(6):
        (tmp_path / "imagenet1k_sample" / f"{i}.png").write_bytes((folder / f"{i}.png").read_bytes())
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    (found,) = prove("clip-dinoiser", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3)).as_dict()[
        "datasets"
    ]
    (claim,), (control,) = found["claims"], found["controls"]
    assert (claim["over"], control["over"]) == ("maskclip", "maskclip")
    assert claim["gain"] == pytest.approx(claim["method"]["miou"] - claim["baseline"]["miou"])
    assert claim["gain"] > control["gain"]
    assert control["failed"] == (control["gain_lower95"] <= 0)
    (twin,) = found["beside"]
    assert twin["gain"] == pytest.approx(claim["method"]["miou"] - twin["twin"]["miou"])
    assert control["gain_lower95"] != twin["gain_lower95"]


def test_features_that_regions_hold_together_beat_shuffled_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on two colours: the mean of a region has less of it, that of another cell's regions says nothing."""
    windows = partialmethod(Trident.__init__, windows=Windows(40, 24, 16))
    monkeypatch.setattr(Trident, "__init__", windows)
    monkeypatch.setattr("diptych.tasks.segment.load_vision", lambda name: DenseColours(name=name))
    proof = prove("trident", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3))
    (found,) = proof.as_dict()["datasets"]
    assert [c["variant"] for c in found["claims"]] == ["scores", "no aggregation"]
    (control,) = found["controls"]
    assert control["failed"]
    assert control["control"]["miou"] < found["claims"][0]["method"]["miou"]
    assert [t["name"] for t in found["beside"]] == ["maskclip"]


def test_few_photos_are_always_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proofs.segment.FEW", 3)
    opened = [open_few(str(folder), DenseColours(), Run(), (1,)) for _ in range(2)]
    names = [[b.table.items.name(i) for i in range(len(b.table))] for b in opened]
    assert names[0] == names[1]
    assert len(names[0]) == 3


def test_cells_that_smooth_or_are_all_alike_are_the_controls_of_sclip(tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "maps")
    proof = prove("sclip", DenseColours(), Run(), datasets=(str(folder),), seeds=(1, 2, 3))
    (found,) = proof.as_dict()["datasets"]
    (claim,) = found["claims"]
    alike, near = found["controls"]
    assert (claim["over"], alike["name"], near["name"]) == ("maskclip", "all alike", "neighbours")
    assert alike["control"]["miou"] < claim["baseline"]["miou"]
    assert alike["gain"] < claim["gain"]
    assert near["failed"] == (near["gain_lower95"] <= 0)
    assert found["beside"] == []
    assert "backbone" not in found


def test_scenes_are_named_by_tiny_at_their_own_size() -> None:
    bench = open_bench("scenes", DenseColours(), Run(), (1, 2, 3), most=2)
    assert bench.facts["backbone"] == "tiny"
    assert bench.facts["items"] == 2
    measured = bench.measure(Arm("sclip"))
    assert measured.values.shape == (3, 2, 12, 12)
    assert np.array_equal(measured.values[0], measured.values[2])
    spoiled = bench.measure(Arm("sclip", spoil=as_subclass(Uniform, draws=False)))
    assert measured.seeds == spoiled.seeds == (1,), "no seed changes either"
    assert not np.array_equal(spoiled.values, measured.values)


def test_controls_have_rows_that_sum_to_two_as_well() -> None:
    q, v = torch.rand(1, 2, 4, 3), torch.ones(1, 2, 4, 3)
    for kind in (Uniform, Neighbours, Itself):
        assert torch.equal(kind().attend(q, q, v), 2 * v)


def test_neighbours_are_those_on_the_grid() -> None:
    v = torch.arange(10.0).reshape(1, 1, 10, 1).expand(2, 3, 10, 2)  # a token, and a window of 3 x 3 patches
    got = Neighbours().attend(v, v, v)[1, 2, :, 1] / 2
    assert got.tolist() == [0.0, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]


def test_the_controls_of_naclip_mix_what_their_names_say() -> None:
    k = torch.randn(1, 2, 10, 4, generator=torch.Generator().manual_seed(0))
    v = torch.randn(1, 2, 10, 4, generator=torch.Generator().manual_seed(1))
    near = NACLIP().near((3, 3))
    assert near.shape == (9, 9)
    assert torch.equal(Anywhere().near((3, 3)), torch.zeros(9, 9))
    alike = AllAlike().attend(k, v, near)
    torch.testing.assert_close(alike, v.mean(2, keepdim=True).expand_as(v))
    window = UniformWindow().attend(k, v, near)
    assert torch.equal(window[:, :, 0], v[:, :, 0]), "the token before the patches keeps its value"
    torch.testing.assert_close(window[:, :, 5], v[:, :, 1:].mean(2))  # the middle of 3 x 3
    torch.testing.assert_close(window[:, :, 1], v[:, :, [1, 2, 4, 5]].mean(2))  # a corner


def test_controls_of_stuff_context_give_stuff_the_look_of_another_kind() -> None:
    assert OtherLooks().looks(("lake", "dog")) == (*LOOKS["grass"], PHOTO)
    assert FurtherLooks().looks(("leaves",)) == LOOKS["grass"]
    assert OtherLooks().looks(("dog",)) == ()
    (look,) = PlaceAlone().looks(("lawn",))
    assert look.height == LOOKS["grass"][0].height
    assert look[:4] == PHOTO[:4]
