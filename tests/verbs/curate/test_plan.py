from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from PIL import Image

import diptych
from diptych.core import DataError, DiptychError


def test_a_plan_without_a_file_is_temporary() -> None:
    plan = diptych.curate("pool.txt", metadata="names.txt")
    assert (plan.data["texts"], plan.data["matched"]) == (101, 100)
    folder = plan.path.parent
    assert folder.is_dir()
    del plan
    assert not folder.exists()


def test_a_plan_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(DiptychError, match="no file"):
        diptych.curate("absent.txt")
    assert not list((tmp_path / "temporary").iterdir())


def test_plans_add_up_and_a_finished_one_is_not_made_again() -> None:
    plan = diptych.curate("pool.txt", metadata="names.txt", out="plan.parquet")
    both = diptych.curate.plan("pool.txt", metadata="names.txt", merge=plan, out="both.parquet")
    assert both.data["texts"] == 202
    with pytest.raises(DiptychError, match=r"^plan\.parquet exists: give another out= or overwrite=\.$"):
        diptych.curate("pool.txt", metadata="names.txt", out="plan.parquet")
    with pytest.warns(UserWarning, match=r"is finished: nothing is planned again\. Leave out resume= for another plan"):
        again = diptych.curate("pool.txt", metadata="names.txt", out="plan.parquet", resume=True)
    assert again.data["texts"] == 101


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"clusters": 3}, "metaclip does not read clusters=, but biomedica does: .* with method="),
        ({"method": "biomedica", "clusters": 0}, "clusters= must be at least 1, got 0"),
        ({"method": "gda"}, "no curator"),
        ({"settings": {"tt": 3}}, "has no setting 'tt'"),
        ({"method": "vector-head"}, "vector-head needs a head: give head="),
        ({"image": "path"}, "metaclip does not read image="),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.curate("pool.txt", **given)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_counted() -> None:
    Path("broken.csv").write_text("filepath,title\n" + ",a cat\n" * 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = diptych.curate("broken.csv", metadata="names.txt")
    assert len(plan.failed) == 10
    assert "12 skipped: Row 1 of" in repr(plan)
    assert plan.data["broken"] == 12


def test_a_row_that_leads_outside_is_one_of_the_broken_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "outside.png")
    (tmp_path / "pool").mkdir()
    monkeypatch.chdir(tmp_path / "pool")
    Image.new("RGB", (8, 8), "red").save("red.png")
    Path("link.png").symlink_to("nowhere.png")
    Path("pairs.csv").write_text("filepath,title\nred.png,red\n../outside.png,red\nlink.png,red\n")
    plan = diptych.curate("pairs.csv", method="clip-score")
    assert (plan.data["pairs"], plan.data["broken"], len(plan.failed)) == (3, 2, 2)
    kept = plan.apply("kept", share=1.0)
    assert (kept.seen, kept.broken) == (3, 2)


@pytest.mark.parametrize(("name", "text"), [("empty.csv", "filepath,title\n"), ("empty.txt", "")])
def test_a_pool_without_a_row_is_refused(name: str, text: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(DataError, match=f"There is nothing in {name}: give a pool that has rows"):
        diptych.curate(name, out="plan")
    assert not Path("plan").exists()
    assert not Path("plan.parts").exists()
