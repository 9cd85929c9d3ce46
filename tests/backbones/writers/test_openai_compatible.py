from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.backbones.writers.openai_compatible import OpenAICompatible
from diptych.backbones.writers.pool import Recorded
from diptych.core import Ask, DataError, NotAvailable, UsageError, Writer

SERVER = Path(__file__).parents[2] / "support" / "servers" / "chat.py"


@pytest.fixture
def address() -> Iterator[str]:
    """A real server in a process of its own."""
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.terminate()


def seen(address: str) -> dict[str, int]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def writer(address: str, model: str = "echo", **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(address, model, **{"wait": 0.01, "timeout": 20.0, **settings})


def test_texts_come_in_the_order_of_the_asks_with_provenance(address: str) -> None:
    answers = writer(address, workers=3).write([Ask(f"Say {i}", n=2) for i in range(4)])
    assert isinstance(writer(address), Writer)
    assert [len(texts) for texts in answers] == [2] * 4
    assert seen(address)["echo"] == 8
    for i, texts in enumerate(answers):
        for text in texts:
            assert text.value.startswith(f"Say {i} (")
            assert text.value == text.value.strip()
            assert (text.prompt, text.writer) == (f"Say {i}", f"echo-1.0 at {address.split('/')[2]}")
            date.fromisoformat(text.date)


def test_what_is_sent(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    asked = writer(address + "/", "mirror", key_variable="MY_KEY", system="Be brief.", limit=7, temperature=0.2)
    sent = json.loads(asked.write([Ask("Hello")])[0][0].value)
    assert sent["key"] == "Bearer secret-1"
    assert sent["body"] == {
        "model": "mirror",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "temperature": 0.2,
    }
    assert "secret-1" not in repr(asked)
    without = json.loads(writer(address, "mirror").write([Ask("Hello")])[0][0].value)
    assert without["key"] is None
    assert len(without["body"]["messages"]) == 1


def test_images_are_sent(address: str) -> None:
    picture = Image.new("RGB", (5, 3), (10, 20, 30))
    assert writer(address, "eyes").write([Ask("What?", image=picture)])[0][0].value == "What? (5, 3) (10, 20, 30)"


@pytest.mark.parametrize(("model", "requests"), [("flaky", 3), ("hangup", 2)])
def test_a_busy_server_and_a_broken_line_are_tried_again(address: str, model: str, requests: int) -> None:
    assert writer(address, model).write([Ask("Hi")])[0][0].value.startswith("Hi")
    assert seen(address)[model] == requests


def test_a_server_that_stays_busy_is_given_up(address: str) -> None:
    with pytest.raises(NotAvailable, match=r"no answer in 2 attempts \(status 503, busy for good\)"):
        writer(address, "down", attempts=2).write([Ask("Hi")])
    assert seen(address)["down"] == 2


def test_a_silent_server_is_given_up(address: str) -> None:
    with pytest.raises(NotAvailable, match="timed out"):
        writer(address, "slow", attempts=1, timeout=0.3).write([Ask("Hi")])


def test_no_server() -> None:
    with pytest.raises(NotAvailable, match="is the server up"):
        writer("http://127.0.0.1:9/v1", attempts=1).write([Ask("Hi")])


def test_a_refusal_is_not_tried_again_and_keeps_the_key(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    with pytest.raises(UsageError, match=r"status 401.*no such key") as caught:
        writer(address, "forbidden", key_variable="MY_KEY").write([Ask("Hi")])
    assert "secret-1" not in str(caught.value)
    assert seen(address)["forbidden"] == 1


def test_redirects_are_not_followed(address: str) -> None:
    with pytest.raises(UsageError, match="status 302"):
        writer(address, "redirect").write([Ask("Hi")])
    assert "elsewhere" not in seen(address)


@pytest.mark.parametrize(
    ("model", "message"), [("page", "<html>welcome"), ("odd", "choices"), ("silent", "no text"), ("huge", "4 MiB")]
)
def test_answers_that_are_none(address: str, model: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        writer(address, model).write([Ask("Hi")])


def test_a_recorded_run_needs_the_network_once(address: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    asks = [Ask("Say a", "a", 2), Ask("Say b", "b")]
    first = Recorded(writer(address), path).write(asks)
    assert seen(address)["echo"] == 3
    assert Recorded(writer(address), path).write(asks) == first
    assert Recorded(None, path).write(asks) == first
    assert seen(address)["echo"] == 3
    Recorded(writer(address), path).write([*asks, Ask("Say c")])
    assert seen(address)["echo"] == 4


def test_bad_settings_are_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("ftp://x/v1", "file:///etc/passwd", "localhost:8000", "http://"):
        with pytest.raises(UsageError, match="is no address"):
            OpenAICompatible(url, "m")
    for url in ("http://user:pass@host/v1", "http://host/v1?key=1"):
        with pytest.raises(UsageError, match="environment variable"):
            OpenAICompatible(url, "m")
    for settings in (
        {"attempts": 0},
        {"workers": 0},
        {"limit": 0},
        {"temperature": -1.0},
        {"timeout": 0.0},
        {"wait": -1.0},
    ):
        with pytest.raises(UsageError, match="at least"):
            writer(address, **settings)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="MY_KEY is empty"):
        writer(address, key_variable="MY_KEY").write([Ask("Hi")])
    with pytest.raises(UsageError, match="about 'dog' is empty"):
        writer(address).write([Ask(about="dog")])
