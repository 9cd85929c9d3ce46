from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.core import DataError, Evidence, NotAvailable, Run, Text, TextPool, UsageError
from diptych.methods.caption.clip_reward import ClipReward
from diptych.methods.caption.maccap import MacCap
from diptych.methods.caption.nearest_caption import FittedNearestCaption
from diptych.methods.caption.user_aware_prefix import UserAwarePrefix
from diptych.tasks.caption import caption
from tests.support.colours import ColourBackbone, coloured
from tests.support.image_files import truncated
from tests.support.pictures import Pictures, picture
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]
POOL: Evidence[Any] = Evidence(texts=TextPool({"": (Text("a red wall"), Text("a blue sea"))}))


def test_captions_need_photos() -> None:
    with pytest.raises(DataError, match="No photos"):
        caption(Pictures(()), POOL, ColourBackbone())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    coloured(tmp_path / "photos" / "r.png", "red", 1, noise=5.0)
    coloured(tmp_path / "photos" / "b.png", "blue", 2, noise=5.0)
    (tmp_path / "said.txt").write_text("a red wall\na blue sea\n\n")
    (tmp_path / "photos.csv").write_text(
        "path,caption_0,caption_1\nphotos/r.png,a red wall,red paint\nphotos/b.png,a blue sea,\n"
    )
    return tmp_path / "photos"


def test_captions_of_a_folder_and_against_references(diptych: Cli, photos: Path) -> None:
    got = diptych("caption", photos, "--texts", "said.txt", "--out", "c.json")
    assert got.code == 0
    assert got.out.splitlines() == ["b.png  a blue sea", "r.png  a red wall"]
    got = diptych("caption", "photos.csv", "--texts", "photos.csv", "--references", "caption_*", "--json", "-n", "2")
    assert got.data["metrics"]["rouge_l"] == pytest.approx(1.0)
    assert [len(p["captions"]) for p in got.data["photos"]] == [2, 2]


def test_a_command_that_was_stopped_goes_on_and_ends_with_the_same_file(
    diptych: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("caption", photos, "--texts", "said.txt", "--batch", "1")
    whole, captioned, caption_ = diptych(*asked, "--out", "whole.json"), list[str](), FittedNearestCaption.caption
    limit = [1]

    def noted(self: Any, images: Any, run: Run, *, n: int = 1) -> list[list[Text]]:
        if len(captioned) == limit[0]:
            raise KeyboardInterrupt
        captioned.append(images.name(0))
        return caption_(self, images, run, n=n)

    monkeypatch.setattr(FittedNearestCaption, "caption", noted)
    got = diptych(*asked, "--out", "o.json")
    assert (got.code, len(captioned)) == (130, 1)
    assert "Interrupted: what was finished is in o.json.unfinished" in got.err
    limit[0] = 9
    assert (diptych(*asked, "--out", "o.json").out, len(captioned)) == (whole.out, 2)
    assert (tmp_path / "o.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not (tmp_path / "o.json.unfinished").exists()


def test_the_rate_is_held_on_photos_of_the_user(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    for i in range(4):
        coloured(tmp_path / "others" / f"{i}.png", "green", i, noise=5.0)
    got = diptych("caption", photos, "--texts", "said.txt", "--clean", "others", "--false-alarm-rate", "0.2", "--json")
    assert (got.code, got.data["fit"]["source"], got.data["fit"]["items"]) == (0, "others", 4)
    assert "in at most 20 % of cases, measured on 4 photos of others." in got.err
    few = diptych("caption", photos, "--texts", "said.txt", "--clean", "others")
    assert (few.code, "are too few for a rate of 0.05: give 19 or more" in few.err) == (1, True)


def test_broken_photos_are_named(diptych: Cli, photos: Path) -> None:
    truncated(photos / "half.jpg")
    got = diptych("caption", photos, "--texts", "said.txt")
    assert got.code == 3
    assert "half.jpg" in got.err
    assert len(got.out.splitlines()) == 2


@pytest.mark.parametrize(("judge", "code"), [("lite", 2), ("absent", 4)])
def test_a_judge_is_opened_and_compared_before_anything_is_trained(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, judge: str, code: int
) -> None:
    def load(name: str = "lite", **more: Any) -> Any:
        if name == "absent":
            raise NotAvailable("no weights here")
        return ColourBackbone(name=name)

    def trained(*words: Any, **more: Any) -> Any:
        raise AssertionError("it was trained")

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    monkeypatch.setattr("diptych.tasks.caption.caption", trained)
    assert diptych("caption", photos, "--texts", "said.txt", "--judge", judge).code == code


def test_sentences_that_are_cut_are_counted(
    diptych: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    quick = {"queries": 2, "width": 16, "lm_width": 16, "layers": 1, "epochs": 1, "copies": 2, "tries": 1, "limit": 2}
    monkeypatch.setitem(MacCap.card.variants, "small", quick)  # type: ignore[arg-type]
    got = diptych("caption", photos, "--texts", "said.txt", "--method", "maccap", "--variant", "small", "--json")
    assert (got.code, got.data["cut_sentences"]) == (0, 2)
    assert "2 sentences are longer than maccap reads" in got.err
    assert diptych("caption", photos, "--texts", "said.txt", "--json").data["cut_sentences"] == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["photos"], 2, "--texts"),
        (["photos", "--texts", "absent.txt"], 2, "no file"),
        (["photos", "--texts", "empty.txt"], 1, "no sentences"),
        (["photos", "--texts", "other.csv"], 2, "begins with caption"),
        (["photos", "--texts", "said.txt", "--method", "gda"], 2, "no captioner"),
        (["photos", "--texts", "said.txt", "--variant", "huge"], 2, "no variant"),
        (["photos", "--texts", "said.txt", "--judge", "lite"], 2, "name another judge"),
        (["photos.csv", "--texts", "said.txt", "--references", "caption_1"], 1, "has no caption"),
        (["not.jpg", "--texts", "said.txt"], 1, "No photo can be read (not.jpg"),
        (["photos", "--texts", "said.txt", "--out", "/proc/nothing/c.json"], 2, "/proc/nothing cannot be written"),
    ],
)
def test_errors_are_one_sentence(
    diptych: Cli, photos: Path, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "not.jpg").write_text("these are no pixels")
    (tmp_path / "other.csv").write_text("path,title\na,b\n")
    got = diptych("caption", *words)
    assert got.code == code
    assert says in got.err
    assert got.out == ""


@pytest.fixture
def written(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a table of two users' captions, beside the photos; systems are small."""
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    tiny = {"lm_width": 8, "layers": 1, "epochs": 1, "batch": 2, "limit": 4}
    users = {**tiny, "queries": 2, "mapping": 1, "fusion": 1, "lm_epochs": 1, "words": 4, "beams": 1}
    monkeypatch.setitem(UserAwarePrefix.card.variants, "small", users)  # type: ignore[arg-type]
    rewarded = {**tiny, "rewarded": 1, "reward_batch": 2}
    monkeypatch.setitem(ClipReward.card.variants, "small", rewarded)  # type: ignore[arg-type]
    rows = ["path,caption,user", "photos/r.png,a red wall,anna", "photos/b.png,a blue sea,ben"]
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    (tmp_path / "nobody.csv").write_text("\n".join(row.rsplit(",", 1)[0] for row in rows))
    return tmp_path / "captions.csv"


def test_captions_as_a_user_writes_and_by_reward(diptych: Cli, photos: Path, written: Path) -> None:
    users = ("--method", "user-aware-prefix", "--variant", "small")
    got = diptych("caption", photos, "--like", written, *users, "--user", "anna", "--json")
    assert (got.code, got.data["user"], len(got.data["photos"])) == (0, "anna", 2)
    got = diptych("caption", photos, "--like", written, *users, "--user", "eve")
    assert got.code == 2
    assert "'eve' wrote none" in got.err
    got = diptych("caption", photos, "--like", "nobody.csv", *users)
    assert got.code == 2
    assert "add a column user" in got.err
    rewarded = ("--method", "clip-reward", "--variant", "small")
    got = diptych("caption", "photos.csv", "--like", written, *rewarded, "--references", "caption_*", "--json")
    assert got.code == 0
    assert {"distinct2", "repetition2", "cider_d"} <= set(got.data["metrics"])
    got = diptych("caption", photos, "--like", written, *rewarded, "--user", "anna")
    assert got.code == 2
    assert "does not read --user, but user-aware-prefix does" in got.err
    got = diptych("caption", photos, "--texts", "said.txt", *rewarded)
    assert got.code == 2
    assert "does not read --texts, but maccap and nearest-caption do" in got.err


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "nan"])
def test_a_rate_that_cannot_be_held_is_refused_up_front(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, rate: str
) -> None:
    with pytest.raises(UsageError, match=r"rate must be in \(0, 1\), got"):
        caption(Pictures((picture(0, 0),)), POOL, ColourBackbone(), rate=float(rate))
    monkeypatch.setattr("diptych.backbones.sources.load.load", None)  # nothing is loaded
    got = diptych("caption", photos, "--texts", "said.txt", f"--false-alarm-rate={rate}")
    assert (got.code, "rate must be in (0, 1)" in got.err) == (2, True), got.err


def test_empty_captions_are_counted(photos: Path, diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FittedNearestCaption, "caption", lambda self, images, run, *, n=1: [[Text("")] for _ in images])
    (photos.parent / "words.txt").write_text("a red wall\na blue sea\n")
    ran = diptych("caption", str(photos), "--texts", str(photos.parent / "words.txt"), "-b", "tiny")
    assert ran.code == 0
    assert "got an empty caption, since nearest-caption learnt too little" in ran.err
