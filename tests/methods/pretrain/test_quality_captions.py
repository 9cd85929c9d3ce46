"""Modes, scores and the choice of captions, on coloured squares and a small random CLIP."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import (
    Clock,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingPart,
    Row,
    Run,
    Table,
    Text,
    UsageError,
)
from diptych.data.load import open_stream
from diptych.features.frozen import Headed, on_trunks
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.quality_captions import QualityCaptions, best_rows, scored
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, accuracy, small, squares

SHORT = replace(FIT, steps=3)


def rows(count: int = 20, written: bool = True, **other) -> Table:
    """Return squares with one original caption, and two synthetic ones."""
    table = squares(count)
    names = [own[1] for own in table.columns["captions"].values]
    columns = {"captions": Column("captions", [(f"a {n} square",) for n in names])}
    if written:
        columns["synthetic"] = Column("captions", [(f"it is {n}", f"all of it is {n}") for n in names])
    return Table(table.items, {**columns, **other})


def stage(method: QualityCaptions, table: Table, **parts):
    (only,) = method.stages(Kit({"main": small(), **parts}), None, Evidence(train=table), RUN)
    return only


def train(method: QualityCaptions, table: Table, fit=SHORT, **parts):
    return train_space(method, Kit({"main": small(), **parts}), Evidence(train=table), fit, RUN)


def drawn(method: QualityCaptions, n: int = 1000) -> Counter:
    only, g = stage(method, rows()), torch.Generator().manual_seed(0)
    row = Row(None, 0, "k", {k: c.values[0] for k, c in only.data.columns.items()})
    return Counter(only.trainee.views(row, g)["mix"] for _ in range(n))


def test_the_share_of_synthetic_captions() -> None:
    counts = drawn(QualityCaptions(mode="mix", share=0.3))
    assert counts["a red square"] == pytest.approx(700, abs=60)
    assert counts["it is red"] == pytest.approx(150, abs=50)
    assert drawn(QualityCaptions(mode="mix", share=0.0)).keys() == {"a red square"}
    assert drawn(QualityCaptions(mode="mix", share=1.0)).keys() == {"it is red", "all of it is red"}


def test_original_captions_alone_are_clip() -> None:
    plain = train_space(CLIPLoss(), Kit({"main": small()}), Evidence(train=rows()), SHORT, RUN)
    assert train(QualityCaptions(mode="original"), rows()).space.fingerprint == plain.space.fingerprint


def test_both_losses_are_added() -> None:
    only = stage(QualityCaptions(), rows())
    views = [
        only.trainee.views(
            Row(only.data.items[i], i, str(i), {k: c.values[i] for k, c in only.data.columns.items()}),
            RUN.generator(str(i)),
        )
        for i in range(5)
    ]
    both = only.trainee.losses(only.trainee.collate(views), "main", Clock(0, 1, 0, RUN.generator("x")))
    assert set(both) == {"original", "synthetic"}
    for name in both:
        plain = stage(QualityCaptions(mode=name), rows()).trainee
        one = plain.losses(plain.collate([{n: v[n] for n in ("image", name)} for v in views]), "main", None)
        torch.testing.assert_close(one[name], both[name])


def test_it_learns_colours_from_synthetic_captions() -> None:
    trained = train(QualityCaptions(), rows(40), replace(FIT, steps=60))
    assert accuracy(trained.space) > 0.9


def test_scores_against_numpy_and_the_best_rows() -> None:
    space = small()
    table = Table(squares(4).items, {"captions": Column("captions", [("a", "b"), ("c",), ("d",), ("e", "f", "g")])})
    found = scored(space, table, Run(workers=0))
    assert [len(s) for s in found] == [2, 1, 1, 3]
    with torch.no_grad():
        x = space.image.encode(space.image.inputs([table.items[3]]))[0].double().numpy()
        t = space.text.encode(space.text.inputs(["f"]))[0].double().numpy()
    cosine = x @ t / np.linalg.norm(x) / np.linalg.norm(t)
    assert found[3][1] == pytest.approx(2.5 * max(cosine, 0), abs=1e-5)
    assert best_rows(np.array([1.0, 3.0, 2.0, 3.0, 0.0]), 0.5).tolist() == [1, 2, 3]
    assert best_rows(np.zeros(10), 0.7).tolist() == list(range(7))
    assert best_rows(np.zeros(3), 1.0).tolist() == [0, 1, 2]


def test_heads_score_vectors_and_a_backbone_scores_their_photos() -> None:
    space = small()
    headed = Headed(space)
    table = on_trunks(headed, Table(squares(6).items, {"captions": Column("captions", [("a red dog",)] * 6)}), RUN)
    by_heads, by_photos = (scored(scorer, table.take(range(4)), Run(workers=0)) for scorer in (headed, space))
    np.testing.assert_allclose(np.concatenate(by_heads), np.concatenate(by_photos), atol=1e-5)


class Judge:
    """A stand-in for ``scored`` that knows which captions are right."""

    def __call__(self, scorer, table, run):
        return [np.array([1.0 if t != "wrong" else 0.1 for t in own]) for own in table.columns["captions"].values]


def test_low_scores_are_left_out_or_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.methods.pretrain.quality_captions.scored", Judge())
    texts = [("wrong",) if i % 4 == 0 else ("wrong", "right") for i in range(20)]
    table = rows(captions=Column("captions", texts))
    kept = stage(QualityCaptions(mode="original", keep=0.75), table).data
    assert len(kept) == 15
    assert kept.items.key(0) == table.items.key(1)
    replaced = stage(QualityCaptions(mode="original", least=0.5), table).data.columns["captions"].values
    assert replaced[1] == ("right",)
    assert replaced[4] == table.columns["synthetic"].values[4]


def test_the_writer_writes_where_there_is_no_column() -> None:
    class Writer:
        def write(self, asks):
            return [[Text(f"see {a.about}", "test")] for a in asks]

    only = stage(QualityCaptions(), rows(written=False), writer=Writer())
    assert only.data.columns["synthetic"].values[0] == ("see a red square",)


def test_distillation_is_a_separate_term() -> None:
    trained = train(QualityCaptions(distil=0.25), rows(), teacher=small())
    names = {n for n in trained.log[0] if n.startswith("main/")}
    assert names == {"main/original", "main/synthetic", "main/distil/original", "main/distil/synthetic"}
    plain = train(QualityCaptions(), rows())
    assert trained.log[0]["main/original"] == pytest.approx(0.75 * plain.log[0]["main/original"], rel=1e-5)
    with pytest.raises(MissingPart, match="'teacher'"):
        train(QualityCaptions(distil=0.25), rows())


def test_validation_rows_have_captions_of_their_own() -> None:
    evidence = Evidence(train=rows(), val=rows(10))
    (only,) = QualityCaptions(keep=0.5).stages(Kit({"main": small()}), None, evidence, RUN)
    assert (len(only.data), len(only.val)) == (10, 10)
    trained = train_space(
        QualityCaptions(keep=0.5), Kit({"main": small()}), evidence, replace(FIT, steps=None, epochs=1), RUN
    )
    assert any("val" in r for r in trained.log)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingPart, match="no column 'synthetic'"):
        stage(QualityCaptions(), rows(written=False))
    with pytest.raises(DataError, match="the rows have none"):
        stage(QualityCaptions(), Table(squares(10).items))
    empty = Column("captions", [("x",)] * 9 + [()])
    with pytest.raises(DataError, match="9 has no synthetic caption"):
        stage(QualityCaptions(), rows(10, synthetic=empty))
    with pytest.raises(DataError, match="9 has no original caption"):
        stage(QualityCaptions(mode="original"), rows(10, captions=empty))
    with pytest.raises(MissingEvidence, match="no train split"):
        next(QualityCaptions().stages(Kit({"main": small()}), None, Evidence(), RUN))
    untrained = small()
    object.__setattr__(untrained, "_spec", replace(untrained.spec, weights="random"))
    with pytest.raises(MissingPart, match="weights are random"):
        stage(QualityCaptions(keep=0.5), rows(), scorer=untrained)
    refused(QualityCaptions, {"mode": "all"}, {"share": 1.5}, {"keep": 0.0}, {"least": 3.0}, {"distil": -0.1})


def stored(count: int = 20, teachers: int = 2) -> Table:
    """Return rows with the vectors of random teachers, of 4 numbers each: the picture's, then one for each caption."""
    g = np.random.default_rng(0)
    image = tuple(g.normal(size=4 * teachers).astype(np.float32) for _ in range(count))
    texts = tuple(g.normal(size=(3, 4 * teachers)).astype(np.float32) for _ in range(count))
    return rows(count, teacher_image=Column("vector", image), teacher_text=Column("vector", texts))


def row_of(table: Table, i: int) -> Row:
    return Row(table.items[i], i, str(i), {k: c.values[i] for k, c in table.columns.items()})


def test_stored_vectors_of_two_teachers_need_none_in_memory() -> None:
    method = QualityCaptions(distil=1.0, teachers=(4, 4))
    table = stored()
    trainee = stage(method, table).trainee
    view = trainee.views(row_of(table, 3), torch.Generator().manual_seed(0))
    known = table.columns["teacher_text"].values[3]
    of = table.columns["synthetic"].values[3].index(view["synthetic"])
    np.testing.assert_array_equal(view["taught"]["synthetic"].numpy(), known[1 + of])
    np.testing.assert_array_equal(view["taught"]["original"].numpy(), known[0])
    trained = train(method, table)
    one = train(QualityCaptions(distil=1.0), table)
    assert trained.log[0]["main/original"] == 0.0
    assert trained.log[0]["main/distil/original"] != one.log[0]["main/distil/original"]
    assert trained.space.fingerprint != one.space.fingerprint


def test_a_stored_teacher_is_the_teacher_in_memory() -> None:
    teacher, table = small(), rows(10)
    texts = [(*o, *s) for o, s in zip(table.columns["captions"].values, table.columns["synthetic"].values, strict=True)]
    with torch.no_grad():
        image = teacher.image.encode(teacher.image.inputs([table.items[i] for i in range(10)])).numpy()
        text = [teacher.text.encode(teacher.text.inputs(own)).numpy() for own in texts]
    columns = {"teacher_image": Column("vector", image), "teacher_text": Column("vector", tuple(text))}
    ours = train(QualityCaptions(distil=0.5), rows(10, **columns))
    theirs = train(QualityCaptions(distil=0.5), table, teacher=teacher)
    for record, other in zip(ours.log, theirs.log, strict=True):
        assert record["main/distil/synthetic"] == pytest.approx(other["main/distil/synthetic"], rel=1e-4)


def test_what_does_not_fit_the_stored_vectors_is_named() -> None:
    with pytest.raises(DataError, match=r"vectors of 8 numbers, and teachers of 4 \+ 5 are set"):
        train(QualityCaptions(distil=1.0, teachers=(4, 5)), stored())
    with pytest.raises(UsageError, match="has a value for each: set least to 0"):
        train(QualityCaptions(distil=1.0, least=0.1), stored())
    with pytest.raises(UsageError, match="Sizes of teachers are those of stored vectors"):
        train(QualityCaptions(distil=1.0, teachers=(4, 4)), rows(), teacher=small())
    few = rows(20, **{n: c for n, c in stored().columns.items() if n == "teacher_image"})
    short = Column("vector", tuple(v[:1] for v in stored().columns["teacher_text"].values))
    few = Table(few.items, {**few.columns, "teacher_text": short})
    with pytest.raises(DataError, match="vectors of 1 captions, and more are drawn"):
        train(QualityCaptions(distil=1.0), few)
    refused(QualityCaptions, {"teachers": (0, 4)})


def test_weights_of_captions_count() -> None:
    only_second = Column("weights", ((0.0, 1.0),) * 20)
    table = rows(synthetic_weights=only_second)
    trainee, g = stage(QualityCaptions(mode="synthetic"), table).trainee, torch.Generator().manual_seed(0)
    assert {trainee.views(row_of(table, 0), g)["synthetic"] for _ in range(20)} == {"all of it is red"}


def test_a_stream_trains_it_where_nothing_is_scored(tmp_path) -> None:
    from tests.data.formats.test_weighted import shard

    stream = open_stream(str(shard(tmp_path)))
    method = QualityCaptions(distil=0.5)
    fit = replace(FIT, steps=2, batch=2)
    trained = train_space(method, Kit({"main": small()}), Evidence(), fit, RUN, stream=stream)
    assert trained.steps == 2
    assert {n for n in trained.log[0] if n.startswith("main/distil/")} == {
        "main/distil/original",
        "main/distil/synthetic",
    }
    with pytest.raises(UsageError, match="scored before the training"):
        train_space(QualityCaptions(keep=0.5), Kit({"main": small()}), Evidence(), fit, RUN, stream=stream)
