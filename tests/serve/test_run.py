from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from diptych.core.errors import UsageError
from diptych.serve.run import refuse_taken
from diptych.serve.settings import Settings

CODE = """
import time, sys
from diptych.api.model import Model
from diptych.core.run import Run
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.run import run
from diptych.serve.settings import Settings
from tests.support.colours import ColourBackbone

class Slow(ColourBackbone):
    pass

model = ServedModel("colours", Model(Slow(), Run()))
lane = model.lanes["text"]
quick = lane.run
object.__setattr__(lane, "run", lambda items: (time.sleep(0.4), quick(items))[1])
settings = Settings(port=int(sys.argv[1]))
run(server(settings, Content((model,))), settings)
"""


def test_sigterm_answers_what_was_accepted_and_ends(tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(port)], env=dict(os.environ), cwd=Path(__file__).parents[2]
    )
    statuses: list[int] = []
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)

        def ask() -> None:
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/embeddings", json={"input": "red"}, timeout=30)
            statuses.append(answer.status_code)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(30)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    assert statuses == [200] * 4


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 cannot be listened on .*another --port"):
            refuse_taken(Settings(port=port))
    refuse_taken(Settings(port=port))
