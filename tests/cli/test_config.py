"""``diptych.toml`` sets defaults of the flags that say how a model runs, and of nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.cli import config
from diptych.cli.commands import VERBS
from diptych.cli.main import app
from diptych.core import UsageError

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in config.KEYS:
        monkeypatch.delenv(f"DIPTYCH_{key.upper()}", raising=False)


def given(command: str, *words: str) -> dict[str, Any]:
    """Return the values of a command's flags."""
    from typer.main import get_command

    root: Any = get_command(app)
    found = root.commands[command.split()[0]]
    for step in command.split()[1:]:
        found = found.commands[step]
    values: dict[str, Any] = found.make_context(command, list(words)).params
    return values


def test_the_nearest_file_counts_and_paths_are_relative_to_it(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert config.read(below) == config.Config()
    (tmp_path / "diptych.toml").write_text(
        'device = "cpu"\ncache = "vectors"\nbackbone = "local:model?architecture=x"\n'
    )
    assert config.read(below).path == tmp_path / "diptych.toml"
    assert config.read(below).values == {
        "device": "cpu",
        "cache": str(tmp_path / "vectors"),
        "backbone": f"local:{tmp_path / 'model'}?architecture=x",
    }
    (tmp_path / "a" / "diptych.toml").write_text('backbone = "local:/weights.pt"\n')
    assert config.read(below).values == {"backbone": "local:/weights.pt"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cloud = 1", "unknown key 'cloud': it may have backbone, device, precision, engine, batch, workers, cache"),
        ("[tool]\nx = 1", "unknown key 'tool'"),
        ("batch = 0", "batch must be a number of at least 1, got 0"),
        ("workers = true", "workers must be a number of at least 1, got True"),
        ('batch = "8"', "got '8'"),
        ("device = 1", "device must be a text in quotes, got 1"),
        ('cache = ""', "cache must be a text in quotes"),
        ('precision = "half"', "precision must be one of fp32, exact, bf16, fast, int8, got 'half'"),
        ('engine = "tensorrt"', "engine must be one of auto, torch, onnx, openvino"),
        ("device = cpu", "is not TOML"),
        ("\udcff", "is not TOML"),
        ("#" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_what_a_flag_does_not_take_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "diptych.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=sentence):
        config.read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_a_file_of_another_user_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "diptych.toml").write_text('backbone = "tiny"\n')
    os.chown(tmp_path / "diptych.toml", os.getuid(), os.getgid())
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    if (tmp_path / "diptych.toml").stat().st_uid == 0:
        assert config.read(tmp_path).values == {"backbone": "tiny"}  # root may set what all users run
        os.chown(tmp_path / "diptych.toml", 1234, -1)
    assert config.read(tmp_path) == config.Config()
    assert "belongs to another user and is not read" in capsys.readouterr().err


def test_what_is_typed_and_the_environment_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert given("classify", "photos")["batch"] == 32
    (tmp_path / "diptych.toml").write_text('batch = 8\ndevice = "cpu"\ncache = "vectors"\nengine = "torch"\n')
    values = given("classify", "photos", "--device", "auto")
    assert (values["batch"], values["device"], values["engine"]) == (8, "auto", "torch")
    assert values["cache"] == tmp_path / "vectors"
    monkeypatch.setenv("DIPTYCH_BATCH", "16")
    assert given("classify", "photos")["batch"] == 16
    assert given("board classify", "photos")["engine"] == "torch"


def test_flags_of_the_same_name_that_mean_another_thing_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "diptych.toml").write_text('backbone = "tiny"\nprecision = "fast"\nworkers = 7\n')
    assert given("classify", "photos")["backbone"] == "tiny"
    assert given("search", "i", "cat")["backbone"] is None
    assert given("doctor")["backbone"] is None
    assert given("systems")["backbone"] is None
    assert given("curate apply", "plan.csv")["precision"] is None
    assert given("finetune", "photos")["workers"] != 7


def test_config_says_what_holds_and_from_where(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIPTYCH_CACHE")
    got = diptych("config")
    assert "No diptych.toml in" in got.out
    assert got.out.count("default") == len(config.KEYS)
    (tmp_path / "diptych.toml").write_text('batch = 8\ndevice = "cpu"\n')
    monkeypatch.setenv("DIPTYCH_DEVICE", "cuda")
    got = diptych("config", "--json").data
    assert got["file"] == str(tmp_path / "diptych.toml")
    assert list(got["flags"]) == list(config.KEYS)
    assert got["flags"]["batch"] == {"value": "8", "from": str(tmp_path / "diptych.toml")}
    assert got["flags"]["device"] == {"value": "cuda", "from": "DIPTYCH_DEVICE"}
    assert got["flags"]["engine"] == {"value": "auto", "from": "default"}


def test_a_command_runs_with_the_file_and_names_it_where_it_fails(diptych: Cli, tmp_path: Path, colours: Path) -> None:
    (tmp_path / "diptych.toml").write_text('backbone = "tiny"\nbatch = 2\n')
    got = diptych("classify", colours / "test", "--json")
    assert (got.code, got.data["backbone"]) == (0, "tiny")
    got = diptych("classify", "/no/such/place", "--names", "a")
    assert got.code == 2
    assert got.err.endswith(f"{tmp_path / 'diptych.toml'} sets backbone, batch.\n")
    (tmp_path / "diptych.toml").write_text("cloud = 1\n")
    got = diptych("classify", colours / "test")
    assert got.code == 2
    assert got.err.count("\n") == 1
    assert diptych("--version").code == 0


def test_every_key_is_a_flag_of_some_command() -> None:
    from typer.main import get_command

    root: Any = get_command(app)
    assert "config" in VERBS
    assert {flag.name for flag in root.commands["classify"].params if config._shared(flag)} == set(config.KEYS)
