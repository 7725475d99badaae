"""Downloads from servers on this machine, and what can go wrong with them."""

import errno
import hashlib
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from skcnn.datasets import _download
from skcnn.datasets._download import RemoteFile, RemoteFiles, data_folder, fetch

CONTENT = np.random.RandomState(0).bytes(300_000)
NAME = "images.gz"


# What a server does with a request: functions of its handler.


def send_headers(handler, content_length):
    handler.send_response(200)
    if content_length is not None:
        handler.send_header("Content-Length", str(content_length))
    handler.end_headers()


def whole(handler):
    send_headers(handler, len(CONTENT))
    handler.wfile.write(CONTENT)


def missing(handler):
    handler.send_error(404)


def another_file(handler):
    send_headers(handler, len(CONTENT))
    handler.wfile.write(CONTENT[::-1])


def endless(handler):
    send_headers(handler, None)
    for _ in range(1000):  # 64 MB, should the client take them
        handler.wfile.write(bytes(2**16))


def cut(handler):
    send_headers(handler, len(CONTENT))
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])


def silent(handler):
    handler.server.closing.wait()


def together(handler):
    """Send half of the file, and the rest when two clients have come so far."""
    send_headers(handler, len(CONTENT))
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])
    handler.server.barrier.wait()
    handler.wfile.write(CONTENT[len(CONTENT) // 2 :])


# Faults, and what the message says of them.
FAULTS = {
    missing: "HTTPError: 404",
    another_file: "hash of downloaded file .* does not match",
    endless: "it sent more than the 300000 bytes",
    cut: "150000 bytes read",
    silent: "timed out",
}


class Handler(BaseHTTPRequestHandler):
    """Does what the function does that the first folder of the path is named after."""

    def do_GET(self):
        self.server.requested.append(self.path)
        self.server.encodings.add(self.headers["Accept-Encoding"])
        self.close_connection = True
        try:
            globals()[self.path.split("/")[1]](self)
        except OSError:
            pass  # the client has gone

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requested, server.encodings = [], set()
        server.closing, server.barrier = threading.Event(), threading.Barrier(2)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.barrier.abort()
        server.shutdown()


@pytest.fixture
def remote(server):
    """A dataset of one file, of servers that do in turn what they are asked for."""

    def remote(*actions):
        base = f"http://127.0.0.1:{server.server_port}"
        base_urls = tuple(f"{base}/{action.__name__}/" for action in actions)
        file = RemoteFile(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        return RemoteFiles("images", base_urls, {NAME: file})

    return remote


def contents(home):
    """Everything in the folder of the dataset, by name."""
    return {path.name: path.read_bytes() for path in (home / "images").iterdir()}


# Servers


def test_a_file_is_downloaded_once(server, remote, home):
    for _ in range(2):
        assert fetch(remote(whole), NAME, home, True) == home / "images" / NAME
        assert contents(home) == {NAME: CONTENT}
    assert server.requested == [f"/whole/{NAME}"]
    assert server.encodings == {"identity"}
    fetch(remote(whole), NAME, home, False)


def test_servers_are_tried_in_turn(server, remote, home):
    fetch(remote(missing, another_file, endless, cut, whole, missing), NAME, home, True)
    assert contents(home) == {NAME: CONTENT}
    assert server.requested == [
        f"/{action}/{NAME}" for action in ("missing", "another_file", "endless", "cut", "whole")
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_faults_of_all_servers_are_named(server, remote, home, monkeypatch, fault):
    monkeypatch.setattr(_download, "_TIMEOUT", 0.1 if fault is silent else 30)
    with pytest.raises(OSError, match=f"/{fault.__name__}/{NAME}: .*{FAULTS[fault]}") as raised:
        fetch(remote(fault, fault), NAME, home, True)
    message = str(raised.value)
    assert message.count(f"\n  http://127.0.0.1:{server.server_port}/{fault.__name__}/{NAME}") == 2
    assert f"{home / 'images' / NAME} cannot be used: it is missing" in message
    assert f"Put the official files ({NAME}) into {home / 'images'}" in message
    assert "SKCNN_DATA" in message and "data_home" in message
    assert contents(home) == {}


def test_offline(remote, home):
    with socket.socket() as unused:  # bound, but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        offline = remote()._replace(base_urls=(nobody,))
        with pytest.raises(OSError, match="refused(.|\n)*machine offline. Put the official files"):
            fetch(offline, NAME, home, True)
    assert contents(home) == {}


def test_a_file_that_is_not_to_be_downloaded(server, remote, home):
    with pytest.raises(OSError, match="missing, .*_if_missing is False. Put the official files"):
        fetch(remote(whole), NAME, home, False)
    assert server.requested == [] and not home.exists()


# This machine


def test_a_disk_without_room_is_named(remote, home):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            fetch(remote(whole), NAME, home, True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(home) == {}


def test_a_folder_that_cannot_be_made_is_named(server, remote, home, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        with pytest.raises(OSError, match=f"Permission denied: '{home}(.|\n)* data_home"):
            fetch(remote(whole), NAME, home, True)
    assert server.requested == []


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_a_file_that_cannot_be_read_is_named(
    server, remote, home, monkeypatch, download_if_missing
):
    path = fetch(remote(whole), NAME, home, True)

    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pooch.hashes, "open", refuse, raising=False)
    with pytest.raises(OSError, match=f"{path} .*Permission denied(.|\n)* data_home"):
        fetch(remote(whole), NAME, home, download_if_missing)
    assert len(server.requested) == 1


def test_a_file_can_be_read_by_whom_the_mode_of_new_files_admits(remote, home, tmp_path):
    (tmp_path / "new").touch()
    path = fetch(remote(whole), NAME, home, True)
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode


def test_two_downloads_at_once(server, remote, home):
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(fetch, remote(together), NAME, home, True) for _ in range(2)]
        assert [call.result() for call in calls] == [home / "images" / NAME] * 2
    assert contents(home) == {NAME: CONTENT}
    assert len(server.requested) == 2


def test_an_interrupted_download_leaves_nothing(server, remote, home, monkeypatch):
    @contextmanager
    def interrupted_bar(label, n_bytes):
        def advance(n):
            assert len([*(home / "images").iterdir()]) == 1
            raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(_download, "progress_bar", interrupted_bar)
    with pytest.raises(KeyboardInterrupt):
        fetch(remote(whole, whole), NAME, home, True)
    assert contents(home) == {}
    assert len(server.requested) == 1


def test_a_bar_shows_the_download(remote, home, terminal):
    pytest.importorskip("rich")
    with redirect_stderr(terminal):
        fetch(remote(whole), NAME, home, True)
    assert f"{NAME} " in terminal.getvalue() and "300.0/300.0 kB" in terminal.getvalue()


def test_without_rich_a_download_has_no_bar(remote, home, terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with redirect_stderr(terminal):
        fetch(remote(whole), NAME, home, True)
    assert terminal.getvalue() == ""
    assert contents(home) == {NAME: CONTENT}


# What is in the folder


def folder(path):
    path.mkdir()


def dangling_link(path):
    path.symlink_to(path.parent / "not there")


def looping_link(path):
    path.symlink_to(path)


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "obstacle", [folder, os.mkfifo, dangling_link, looping_link, link_to_a_device]
)
@pytest.mark.parametrize("download_if_missing", [True, False])
def test_what_is_no_file_is_refused(server, remote, home, obstacle, download_if_missing):
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    obstacle(path)
    with pytest.raises(OSError, match=f"^{path} is not a regular file. Move it away. .*data_home"):
        fetch(remote(whole), NAME, home, download_if_missing)
    assert os.path.lexists(path)
    assert server.requested == []


@pytest.mark.parametrize("obstacle", [dangling_link, Path.touch])
def test_what_is_no_folder_is_named(server, remote, home, obstacle):
    home.mkdir()
    obstacle(home / "images")
    with pytest.raises(OSError, match=f"{home / 'images'}(.|\n)* data_home"):
        fetch(remote(whole), NAME, home, True)
    assert server.requested == []


def test_a_link_to_the_official_file_is_followed(server, remote, home, tmp_path):
    (tmp_path / "official").write_bytes(CONTENT)
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "official")
    assert fetch(remote(whole), NAME, home, False) == path
    assert server.requested == []


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[::-1], b""])
def test_a_damaged_file_is_replaced(remote, home, damaged):
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    for servers, download_if_missing in ((remote(whole), False), (remote(missing), True)):
        with pytest.raises(OSError, match=f"^{path} .*SHA-256 is not that of the official file"):
            fetch(servers, NAME, home, download_if_missing)
        assert contents(home) == {NAME: damaged}
    fetch(remote(whole), NAME, home, True)
    assert contents(home) == {NAME: CONTENT}


# The folder of the data


@pytest.mark.parametrize("data_home", [{}, [], (), 0, 1, False, True, b"data", b"", np.nan])
def test_a_data_home_that_is_no_path_is_named(data_home):
    with pytest.raises(TypeError, match="^data_home=.* must be a str or path-like"):
        data_folder(data_home)


@pytest.mark.parametrize("data_home", ["", "~nosuchuser", "~nosuchuser/data", "a\0b", "a\ud800"])
def test_a_data_home_that_names_no_folder_is_named(data_home):
    with pytest.raises(ValueError, match="^data_home=.* folder"):
        data_folder(data_home)


def test_the_environment_variable_is_named_where_it_is_wrong(monkeypatch):
    monkeypatch.setenv("SKCNN_DATA", "~nosuchuser")
    with pytest.raises(ValueError, match="^SKCNN_DATA='~nosuchuser' .* folder"):
        data_folder(None)


def test_no_home_folder_is_known(monkeypatch):
    monkeypatch.delenv("SKCNN_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: "~nosuchuser")
    with pytest.raises(
        ValueError, match="^data_home=None, the user's cache folder '~nosuchuser', cannot be"
    ):
        data_folder(None)


def test_the_folder_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKCNN_DATA", "~/b")
    for data_home in ("~/a", tmp_path / "a"):
        assert data_folder(data_home) == tmp_path / "a"
    assert data_folder(None) == tmp_path / "b"
    monkeypatch.setenv("SKCNN_DATA", "")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    assert data_folder(None) == tmp_path / "skcnn"
