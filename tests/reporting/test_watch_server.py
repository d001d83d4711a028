"""The server of the live page: loopback alone, GET alone, its own host alone, and a folder's report alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.cli.main import main
from harness.errors import UsageError
from harness.reporting.live import server as watch_server
from harness.reporting.live.server import WatchServer
from harness.reporting.live.watching import Watch

TABLES = {
    "study": {"name": "watched", "seeds": 1},
    "baseline": {"dataset": "digits", "hidden": [32], "epochs": 2},
    "axes": {"lr": [0.1, 1e30]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small results folder with a report, beside a secret that a link and paths lead to."""
    root = tmp_path_factory.mktemp("watched")
    results = root / "results"
    harness.run(harness.parse(TABLES), results, workers=1)
    (root / "secret.csv").write_text("secret")
    (root / "outside").mkdir()
    (root / "outside/a.csv").write_text("secret")
    (results / "report.html").write_text("<title>report</title>")
    (results / "figures").mkdir()
    (results / "figures/a b.png").write_bytes(b"\x89PNG")
    (results / "figures/link.png").symlink_to(root / "secret.csv")
    (results / "figures/own.png").symlink_to(results / "figures/a b.png")
    (results / "figures/code.js").write_text("secret")
    os.mkfifo(results / "figures/pipe.png")
    (results / "tables").symlink_to(root / "outside")
    return results


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[WatchServer]:
    """A server that is being asked."""
    made = watch_server.bound(folder, 0)
    with Watch(made):
        yield made


def ask(
    server: WatchServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask as a browser does, with the path as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    given = {"Host": f"127.0.0.1:{server.server_port}", **(headers or {})}
    connection.putrequest(method, path, skip_host=True)
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def test_it_listens_on_loopback_alone(server: WatchServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.socket.family == socket.AF_INET


def test_the_page_and_the_report_are_served_with_policies_of_their_own(server: WatchServer) -> None:
    status, headers, content = ask(server, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"script-src 'nonce-{server.nonce}'" in policy
    assert content.count(b"<script nonce=") == content.count(b"<script nonce") == 2
    status, headers, content = ask(server, "/report.html")
    assert (status, content) == (200, b"<title>report</title>")
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    assert ask(server, "/figures/a%20b.png")[0] == 200
    for name, value in {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}.items():
        assert headers[name] == value
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.csv", "/%2e%2e/secret.csv", "/figures/../../secret.csv",
        "/figures/%2e%2e/%2e%2e/secret.csv",
        "/figures/..%2f..%2fsecret.csv", "/figures/%2e%2e%5csecret.csv", "//etc/passwd", "/etc/passwd",
        "http://127.0.0.1/etc/passwd", "/figures/link.png", "/figures/own.png", "/figures/code.js",
        "/figures/pipe.png", "/tables/a.csv", "/trials.csv", "/study.toml", "/figures/", "/figures",
        "/figures/none.png", "/figures/a.png%00.csv", "/figures/.hidden.png", "/report.html/", "/%ff%fe",
        "/figures/" + 300 * "a" + ".png", "/state/", "*", "/favicon.ico",
    ],
)  # fmt: skip
def test_nothing_else_is_served(server: WatchServer, path: str) -> None:
    status, _, content = ask(server, path)
    assert status == 404
    assert b"secret" not in content


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "", "[::1]:{port}"]
)
def test_another_host_is_refused(server: WatchServer, host: str) -> None:
    for path in ("/", "/state", "/report.html"):
        assert ask(server, path, headers={"Host": host.format(port=server.server_port)})[0] == 403
    assert ask(server, "/", headers={"Host": f"LOCALHOST:{server.server_port}"})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_no_other_method_is_allowed(server: WatchServer, method: str) -> None:
    status, headers, _ = ask(server, "/state", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_request_that_is_none_is_answered_in_words(server: WatchServer) -> None:
    for sent in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
            client.sendall(sent)
            answer = client.makefile("rb").read()
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
        assert b"nonsense" not in answer


def test_a_state_that_has_not_changed_costs_nothing(server: WatchServer) -> None:
    status, headers, content = ask(server, "/state")
    state = json.loads(content)
    assert status == 200
    assert state["status"]["kind"] == "over"
    assert state["phases"][0]["counts"] == {"ok": 1, "diverged": 1}
    rows = state["phases"][0]["arms"][0]["rows"]
    assert [(row["rank"], row["arm"], row["done"]) for row in rows] == [
        ("1", "lr=0.1", "1 of 1"),
        ("", "lr=1e+30", "1 of 1"),
    ]
    assert ask(server, "/state", headers={"If-None-Match": headers["ETag"]})[::2] == (304, b"")
    assert ask(server, "/state", "HEAD")[::2] == (200, b"")


def test_a_port_in_use_is_said_and_what_to_do(server: WatchServer, folder: Path) -> None:
    with pytest.raises(UsageError, match=rf"port {server.server_port} .*in use.*--port 0"):
        harness.watch(folder, server.server_port)


def test_the_command_refuses_what_it_cannot_serve(
    server: WatchServer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for arguments, words in (
        ([str(tmp_path / "none")], "is not a results folder: it does not exist"),
        ([str(folder), "--port", "70000"], "0<=x<=65535"),
        ([str(folder), "--port", str(server.server_port)], "it is in use"),
        ([], "Missing argument 'RESULTS'"),
    ):
        monkeypatch.setattr("sys.argv", ["harness", "watch", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert words in capsys.readouterr().err


def test_an_interrupt_ends_the_page_and_is_no_error(folder: Path) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("these tests were started where an interrupt is ignored, and so is all that they start")
    command = [sys.executable, "-m", "harness", "watch", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, said) == (0, b"the live page is closed\n")
