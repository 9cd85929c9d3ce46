from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from diptych.cli.main import app

for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx"):
    pytest.importorskip(module, reason="the tests of the server need the extra serve, and httpx")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["serve", *arguments])
    return result.exit_code, result.stderr


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    assert run("--host", "0.0.0.0") == (
        2,
        "Other machines reach 0.0.0.0: give a file of keys in --keys, or use --insecure.\n",
    )
    (tmp_path / "keys").write_text("short\n")
    code, said = run("--host", "0.0.0.0", "--keys", str(tmp_path / "keys"))
    assert code == 2
    assert "needs at least 16" in said
    assert run("--keys", str(tmp_path / "none"))[0] == 2
    assert run("--alias", "x=unknown")[0] == 2


def test_everything_is_opened_and_then_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.testclient import TestClient

    from diptych.serve import run as running

    seen = {}

    def instead(served: object, settings: object, report: object) -> None:
        with TestClient(served, base_url="http://127.0.0.1") as client:  # type: ignore[arg-type]
            seen["models"] = [m["id"] for m in client.get("/v1/models").json()["data"]]
            seen["captions"] = client.post("/v1/caption", json={"images": []}).status_code
        seen["settings"] = settings

    monkeypatch.setattr(running, "run", instead)
    (tmp_path / "sentences.txt").write_text("A cat sits.\n")
    code, said = run(
        "--backbone", "tiny", "--engine", "torch", "--alias", "ViT-B-32__openai=tiny", "--max-mib", "1", "--quiet",
        "--sentences", str(tmp_path / "sentences.txt"), "--cache", str(tmp_path / "cache"),
    )  # fmt: skip
    assert code == 0, said
    assert seen["models"] == ["tiny", "ViT-B-32__openai"]
    assert seen["settings"].max_bytes == 2**20  # type: ignore[attr-defined]
    places = [said.index(part) for part in ("diptych starts", "tiny: loaded;", "dimensions;", "diptych serves")]
    assert places == sorted(places), said  # for 25 s nothing was said on a busy machine
    assert "diptych serves http://127.0.0.1:7070" in said


def test_what_is_named_wrongly_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*given: object, **more: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    monkeypatch.setattr("diptych.tasks.runs.open_backbone", load)
    (tmp_path / "empty").mkdir()
    for flag, value, code, sentence in (
        ("--index", tmp_path / "empty", 1, "no index"),
        ("--classifier", tmp_path / "none", 2, "none"),
        ("--normal", f"nut={tmp_path / 'none'}", 2, "none"),
        ("--normal", "nut", 2, "NAME=FOLDER"),
        ("--sentences", tmp_path / "none.txt", 2, "none.txt"),
        ("--project", tmp_path / "none", 2, "no folder"),
    ):
        found, said = run(flag, str(value), "--port", "7071", "--cache", str(tmp_path / "cache"))
        assert (found, sentence in said) == (code, True), (flag, found, said)
