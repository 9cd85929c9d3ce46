from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from diptych.core import UsageError
from diptych.serve.run import configured, refuse_taken
from diptych.serve.settings import Settings

CODE = """
import sys, time
from pathlib import Path
from diptych.api.model import Model
from diptych.core import Run
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.run import run
from diptych.serve.settings import Settings
from tests.support.colours import ColourBackbone

model = ServedModel("colours", Model(ColourBackbone(), Run()))
lane = model.lanes["text"]
quick = lane.run

def held(items):
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    return quick(items)

object.__setattr__(lane, "run", held)
settings = Settings(port=int(sys.argv[1]))
run(server(settings, Content((model,))), settings)
"""


def wait_for(port: int) -> None:
    """Wait until a server that starts is ready, 30 s at most."""
    for _ in range(600):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)


def request_of(given: Any) -> bytes:
    body = json.dumps({"input": given}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def test_sigterm_under_load_answers_what_was_accepted_and_ends(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(port), str(tmp_path / "go")],
        env=dict(os.environ),
        cwd=Path(__file__).parents[2],
    )
    clients: list[socket.socket] = []
    try:
        wait_for(port)
        for i in range(40):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            client.sendall(request_of(f"red {i}"))
            if i % 5:
                clients.append(client)
            else:
                client.close()  # one in five leaves
        assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200  # so the earlier requests are read
        process.send_signal(signal.SIGTERM)
        (tmp_path / "go").touch()
        statuses = [client.recv(2**16).split()[1] for client in clients]
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        for client in clients:
            client.close()
    assert statuses == [b"200"] * 32


@pytest.mark.parametrize("share", [0.1, 0.7, 1.0])
def test_a_client_that_leaves_before_its_answer_leaves_nothing_behind(address: str, share: float) -> None:
    """It leaves in the middle of the headers, of the body, or after the whole request."""

    def counts() -> list[str]:
        return httpx.get(f"{address}/metrics").text.splitlines()

    request = request_of(["red"] * 64)
    failed = [line for line in counts() if 'status="5' in line]
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as client:
            client.sendall(request[: int(share * len(request))])
    statuses = [429]  # while the queue is full of what nobody waits for
    while statuses[-1] == 429 and len(statuses) < 300:
        statuses.append(httpx.post(f"{address}/v1/embeddings", json={"input": "red"}, timeout=30).status_code)
        time.sleep(0.1 * (statuses[-1] == 429))
    assert statuses[-1] == 200
    assert "diptych_waiting_inputs 0.0" in counts()
    assert [line for line in counts() if 'status="5' in line] == failed


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 cannot be opened .*another --port"):
            refuse_taken(Settings(port=port))
    refuse_taken(Settings(port=port))


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /"]
)
def test_a_connection_without_a_whole_head_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.serve.run.HEAD_SECONDS", 0.2)
    with quick_server() as port, socket.create_connection(("127.0.0.1", port), timeout=4) as client:
        client.sendall(sent)  # uvicorn's own bound, of idle connections, is 5 s
        start, answer = time.monotonic(), b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(2**16):
                answer += part
        assert time.monotonic() - start < 4
        assert answer.startswith(b"HTTP/1.1 200") == sent.startswith(b"GET /health")


def test_a_client_that_reads_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.serve.run.READ_SECONDS", 0.2)
    with quick_server() as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert FINISHED.wait(20), "the application waits for its client"


FINISHED = threading.Event()


@contextlib.contextmanager
def quick_server() -> Iterator[int]:
    """Serve an application in this process; "/large" sends more than any buffer holds."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b"." * 2**26 if scope["path"] == "/large" else b"."
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for i in range(0, len(body), 2**16):
            await send({"type": "http.response.body", "body": body[i : i + 2**16], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        if scope["path"] == "/large":
            FINISHED.set()

    config = configured(application, Settings(port=0))
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def test_ctrl_c_says_what_is_waited_for_and_that_the_server_has_stopped(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = CODE.replace("Content((model,))), settings)", "Content((model,))), settings, print)")
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(port), str(tmp_path / "go")],
        env=dict(os.environ), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        wait_for(port)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(request_of("red"))
            assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200  # so the earlier request is read
            process.send_signal(signal.SIGINT)
            line = process.stdout.readline()
            (tmp_path / "go").touch()
            assert client.recv(2**16).split()[1] == b"200"
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert line == "diptych stops when 1 open request has an answer; Ctrl-C again does not wait.\n"
    # In a background job SIGINT is ignored, so that the server ends without an interrupt, and reports it.
    assert (rest + errors).rstrip().endswith("diptych has stopped.")
