from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from diptych.core import UsageError
from diptych.store import folder as store_folder
from diptych.store.folder import SCHEMA, settle, space_id
from diptych.store.sealed import Damage
from diptych.store.store import Store
from tests.support.work.store import FACTS, fill, key

KEYS = [key(i) for i in range(10, 14)]


def schema(folder: Path) -> int:
    return int(json.loads((folder / "store.json").read_text())["schema"])


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store of schema 0, as the tests define it: spaces carry a prefix."""
    fill(tmp_path, KEYS, 2)
    (tmp_path / space_id(FACTS)).rename(tmp_path / f"space-{space_id(FACTS)}")
    (tmp_path / "store.json").write_text('{"schema": 0}')
    return tmp_path


def step(folder: Path) -> None:
    for path in folder.glob("space-*"):
        path.rename(folder / path.name.removeprefix("space-"))


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_folder, "STEPS", MappingProxyType({0: step}))


def test_without_a_way_an_older_schema_is_refused_with_the_remedy(older: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(
            UsageError, match=r"schema 0.*no way to schema 1: name another cache folder, or delete this one"
        ):
            Store(older, read_only=read_only)
    assert schema(older) == 0


def test_a_newer_schema_asks_for_a_newer_diptych(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(UsageError, match="upgrade diptych"):
        Store(tmp_path)


@pytest.mark.usefixtures("way")
def test_an_older_store_is_migrated_and_answers(older: Path) -> None:
    store = Store(older)
    assert schema(older) == SCHEMA
    assert store.get(store.space(FACTS), KEYS)[1].all()
    assert store.verify() == []


@pytest.mark.usefixtures("way")
def test_reading_only_never_migrates(older: Path) -> None:
    with pytest.raises(UsageError, match="open it once for writing"):
        Store(older, read_only=True)
    assert schema(older) == 0


def test_a_killed_step_is_run_again(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def killed(folder: Path) -> None:
        step(folder)
        ran.append(1)
        if len(ran) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(store_folder, "STEPS", {0: killed})
    with pytest.raises(KeyboardInterrupt):
        Store(older)
    assert schema(older) == 0
    store = Store(older)
    assert schema(older) == SCHEMA
    assert store.get(store.space(FACTS), KEYS)[1].all()
    Store(older)
    assert len(ran) == 2


def test_several_steps_run_in_order_and_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(store_folder, "SCHEMA", 3)
    monkeypatch.setattr(
        store_folder, "STEPS", {n: lambda folder, n=n: seen.append((n, schema(folder))) for n in range(3)}
    )
    (tmp_path / "store.json").write_text('{"schema": 1}')
    settle(tmp_path, read_only=False, report=lambda damage: None)
    assert seen == [(1, 1), (2, 2)]
    assert schema(tmp_path) == 3


@pytest.mark.parametrize("text", ['{"schema": "1"}', '{"schema": true}', '{"schema": 1.0}', "[1]", "{}", "\ufffd"])
def test_a_number_that_is_none_is_damage(text: str, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(text)
    found: list[Damage] = []
    settle(tmp_path, read_only=False, report=found.append)
    assert [d.path.name for d in found] == ["store.json"]
    assert schema(tmp_path) == SCHEMA
