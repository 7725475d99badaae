"""Downloads from servers that fail in every way, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from skcnn.datasets import _download
from skcnn.datasets._download import RemoteFile, RemoteFiles, fetch

CONTENT = np.random.RandomState(0).bytes(300_000)
NAME = "images.gz"
ENDLESS = 2**26  # bytes after which an endless body ends, so that no fault fills the disk
FOREVER = 20  # seconds after which a server that never ends does


# What a server may do with a request: functions of its handler.


def headers(handler, status=200, **fields):
    handler.send_response(status)
    for name, value in fields.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def whole(handler):
    headers(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def whole_in_chunks(handler):
    headers(handler, Transfer_Encoding="chunked")
    for start in range(0, len(CONTENT), 1000):
        piece = CONTENT[start : start + 1000]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def whole_called_gzip(handler):
    """As servers do that take .gz for an encoding."""
    headers(handler, Content_Length=len(CONTENT), Content_Encoding="gzip")
    handler.wfile.write(CONTENT)


def elsewhere(handler):
    headers(handler, 302, Location="/whole/" + NAME, Content_Length=0)


def endless(handler):
    headers(handler)
    send_endlessly(handler)


def endless_gzip(handler):
    """Bytes that a client which decodes them turns into a thousand times as many."""
    headers(handler, Content_Encoding="gzip")
    compressor = zlib.compressobj(wbits=31)
    sent = 0
    while sent < ENDLESS // 1000:
        piece = compressor.compress(bytes(2**20))
        handler.wfile.write(piece)
        sent += len(piece)
    handler.wfile.write(compressor.flush())


def endless_redirect(handler):
    headers(handler, 302, Location="/whole/" + NAME)
    send_endlessly(handler)


def endless_not_found(handler):
    headers(handler, 404)
    send_endlessly(handler)


def send_endlessly(handler):
    sent = 0
    while sent < ENDLESS:
        handler.wfile.write(bytes(2**16))
        sent += 2**16
    handler.server.reached_the_end = True


def slow(handler):
    headers(handler, Content_Length=len(CONTENT))
    send_slowly(handler, CONTENT)


def slow_headers(handler):
    send_slowly(handler, b"HTTP/1.0 200 OK\r\nX-Header: " + bytes(1000).replace(b"\0", b"x"))


def slow_redirects(handler):
    time.sleep(0.2)
    headers(handler, 302, Location=handler.path, Content_Length=0)


def send_slowly(handler, content):
    end = time.monotonic() + FOREVER
    for k in range(0, len(content), 10):
        if time.monotonic() > end:
            return
        handler.wfile.write(content[k : k + 10])
        time.sleep(0.1)


def silent(handler):
    handler.server.closing.wait(FOREVER)


def cut(handler):
    """Reset the connection after half of the file."""
    headers(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def cut_before_headers(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


def short(handler):
    headers(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:-1])


def short_without_length(handler):
    headers(handler)
    handler.wfile.write(CONTENT[:-1])


def empty(handler):
    headers(handler, Content_Length=0)


def one_byte_more(handler):
    headers(handler, Content_Length=len(CONTENT) + 1)
    handler.wfile.write(CONTENT + b"\0")


def another_file(handler):
    headers(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[::-1])


def broken_chunks(handler):
    headers(handler, Transfer_Encoding="chunked")
    handler.wfile.write(b"no number\r\n" + CONTENT)


def missing(handler):
    handler.send_error(404)


def broken(handler):
    handler.send_error(500)


def redirect_loop(handler):
    headers(handler, 302, Location=handler.path, Content_Length=0)


def redirect_to_a_file(handler):
    headers(handler, 302, Location="file:///etc/passwd", Content_Length=0)


def no_http(handler):
    handler.wfile.write(CONTENT)


def until_told(handler):
    """Send half of the file, and the rest when the test says so."""
    headers(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])
    handler.server.half_sent.release()
    handler.server.go_on.wait(FOREVER)
    handler.wfile.write(CONTENT[len(CONTENT) // 2 :])


# Faults, and what the message says of them.
FAULTS = {
    endless: "more than the 300000 bytes",
    endless_gzip: "of the 300000 bytes",  # that is, not decoded
    endless_not_found: "404",
    slow: "not complete after",
    slow_headers: "not complete after",
    slow_redirects: "not complete after",
    silent: "timed out",
    cut: "Connection reset",
    cut_before_headers: "Connection aborted",
    short: "299999 bytes",
    short_without_length: "299999 of the 300000 bytes",
    empty: "0 of the 300000 bytes",
    one_byte_more: "more than the 300000 bytes",
    another_file: "hash",
    broken_chunks: "chunk",
    missing: "404",
    broken: "500",
    redirect_loop: "30 redirects",
    redirect_to_a_file: "No connection adapters",
    no_http: "Connection aborted",
}


class Handler(BaseHTTPRequestHandler):
    """Does what the function says that the first folder of the path is named after."""

    def do_GET(self):
        self.server.asked_for.append((self.path, dict(self.headers)))
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
        server.asked_for = []
        server.reached_the_end = False
        server.closing = threading.Event()
        server.half_sent = threading.Semaphore(0)
        server.go_on = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def remote(server, tmp_path):
    """The dataset of one file, to be had from servers that do what they are asked to."""
    (tmp_path / "official").write_bytes(CONTENT)
    file = RemoteFile(len(CONTENT), pooch.file_hash(tmp_path / "official", alg="sha256"))

    def remote(*actions):
        base = f"http://127.0.0.1:{server.server_port}"
        return RemoteFiles(
            "images", tuple(f"{base}/{action.__name__}/" for action in actions), {NAME: file}
        )

    return remote


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache, also where a test names none."""
    home = tmp_path / "home"
    monkeypatch.setenv("SKCNN_DATA", str(home))
    return home


@pytest.fixture
def impatient(monkeypatch):
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(_download, "_TIMEOUT", 1, raising=False)
    monkeypatch.setattr(_download, "_PATIENCE", 1.5, raising=False)
    monkeypatch.setattr(_download, "_SLOWEST", 10**9, raising=False)


def contents(home):
    """Everything in the cache, by name."""
    return {path.name: path.read_bytes() for path in (home / "images").iterdir()}


def works(remote, home):
    """Whether a call now gives the official file, and leaves it alone in its folder."""
    path = fetch(remote(whole), NAME, home, download_if_missing=True)
    return path == home / "images" / NAME and contents(home) == {NAME: CONTENT}


# Servers


@pytest.mark.parametrize("action", [whole, whole_in_chunks, whole_called_gzip, elsewhere])
def test_right_files_are_kept(server, remote, home, action):
    path = fetch(remote(action), NAME, home, True)
    assert path.read_bytes() == CONTENT
    assert contents(home) == {NAME: CONTENT}
    assert server.asked_for[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_only_server_is_named(server, remote, home, impatient, fault):
    with pytest.raises(OSError) as raised:
        fetch(remote(fault), NAME, home, True)
    message = str(raised.value)
    assert f"/{fault.__name__}/{NAME}" in message
    assert FAULTS[fault] in message
    assert "Are you offline" not in message
    assert "SKCNN_DATA" in message and str(home) in message
    assert not server.reached_the_end
    assert contents(home) == {}
    assert works(remote, home)


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_next_server_is_asked(server, remote, home, impatient, fault):
    assert fetch(remote(fault, whole), NAME, home, True).read_bytes() == CONTENT
    assert contents(home) == {NAME: CONTENT}


def test_the_body_of_a_redirection_is_not_read(server, remote, home):
    fetch(remote(endless_redirect), NAME, home, True)
    assert contents(home) == {NAME: CONTENT}
    assert not server.reached_the_end


def test_offline_is_asked_where_no_server_could_be_connected_to(server, remote, home):
    gone = remote(whole)
    mixed = remote(missing)
    with socket.socket() as unused:  # bound, but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        gone = gone._replace(base_urls=(nobody, "http://nowhere.invalid/"))
        mixed = mixed._replace(base_urls=(nobody, *mixed.base_urls))
        with pytest.raises(OSError, match="Are you offline") as raised:
            fetch(gone, NAME, home, True)
        assert "Connection refused" in str(raised.value)
        assert "nowhere.invalid" in str(raised.value)
        with pytest.raises(OSError, match="Connection refused") as raised:
            fetch(mixed, NAME, home, True)
        assert "404" in str(raised.value)
        assert "Are you offline" not in str(raised.value)
    assert works(remote, home)


# The machine


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named(server, remote, home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_download, "open", lambda path, mode: open("/dev/full", mode), raising=False)
        with pytest.raises(OSError, match="No space left on device") as raised:
            fetch(remote(whole, whole), NAME, home, True)
    message = str(raised.value)
    assert "Are you offline" not in message and "http" not in message
    assert str(home) in message and "data_home" in message
    assert len(server.asked_for) == 1  # another server would not help
    assert works(remote, home)


def test_a_folder_that_cannot_be_written_is_named(server, remote, home, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        patch.setattr(os, "open", refuse)  # by which temporary files are made
        with pytest.raises(OSError, match="Permission denied") as raised:
            fetch(remote(whole), NAME, home, True)
    assert "Are you offline" not in str(raised.value)
    assert str(home) in str(raised.value) and "data_home" in str(raised.value)
    assert server.asked_for == []
    assert works(remote, home)


class Stubborn:
    """A standard error that can do nothing."""

    def write(self, text):
        raise RuntimeError("no window to write to")


def closed_file():
    with open(os.devnull, "w") as file:
        pass
    return file


def broken_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", buffering=1)


@pytest.mark.parametrize("stderr", [lambda: None, closed_file, broken_pipe, Stubborn])
def test_a_bar_that_cannot_be_drawn_fails_no_download(
    server, remote, home, monkeypatch, capsys, stderr
):
    with monkeypatch.context() as patch:
        stderr = stderr()
        patch.setattr(sys, "stderr", stderr)
        assert works(remote, home)
    assert capsys.readouterr().out == ""
    if stderr is not None and not isinstance(stderr, Stubborn):
        try:
            stderr.close()
        except BrokenPipeError:
            pass


def test_a_bar_ends_its_line_where_the_download_fails(server, remote, home, capsys):
    with pytest.raises(OSError):
        fetch(remote(cut), NAME, home, True)
    bars = capsys.readouterr().err
    assert bars.startswith(f"\r{NAME} [#") and bars.endswith(" MB\n")


# Other processes


PROGRAM = """
import signal
import sys
from skcnn.datasets import _download
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells' jobs ignore it
base_url, name, size, sha256, home = sys.argv[1:]
file = _download.RemoteFile(int(size), sha256)
remote = _download.RemoteFiles("images", (base_url,), {name: file})
print(_download.fetch(remote, name, home, True))
"""


@contextmanager
def process(remote, home):
    """Another process that downloads the file; it is ended with the block."""
    [base_url], file = remote.base_urls, remote.files[NAME]
    arguments = [base_url, NAME, str(file.size), file.sha256, str(home)]
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_two_processes_at_once(server, remote, home):
    with process(remote(until_told), home) as one, process(remote(until_told), home) as two:
        server.half_sent.acquire()
        server.half_sent.acquire()
        server.go_on.set()
        for child in (one, two):
            out, err = child.communicate()
            assert out.strip() == str(home / "images" / NAME), err
    assert contents(home) == {NAME: CONTENT}


def test_an_interrupted_download_leaves_nothing(server, remote, home):
    with process(remote(until_told), home) as child:
        server.half_sent.acquire()
        child.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in child.communicate()[1]
    assert contents(home) == {}
    assert works(remote, home)


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_what_a_killed_process_left_is_removed(
    server, remote, home, monkeypatch, download_if_missing
):
    with process(remote(until_told), home) as child:
        server.half_sent.acquire()
        child.kill()
    [left] = (home / "images").iterdir()
    assert left.name.startswith(NAME)
    long_ago = time.time() - 10**6
    os.utime(left, (long_ago, long_ago))
    if download_if_missing:
        assert works(remote, home)
    else:
        with pytest.raises(OSError, match="download_if_missing is False"):
            fetch(remote(whole), NAME, home, False)
        assert contents(home) == {}


def test_what_a_living_process_writes_is_left_alone(server, remote, home):
    with process(remote(until_told), home) as child:
        server.half_sent.acquire()
        assert len([*(home / "images").iterdir()]) == 1
        fetch(remote(whole), NAME, home, True)
        assert len([*(home / "images").iterdir()]) == 2
        fetch(remote(whole), NAME, home, True)
        server.go_on.set()
        out, err = child.communicate()
        assert out.strip() == str(home / "images" / NAME), err
    assert contents(home) == {NAME: CONTENT}


def test_files_of_others_are_left_alone(server, remote, home):
    (home / "images").mkdir(parents=True)
    others = ["notes.part", f"{NAME}.part", "tmp12345678", f"{NAME}.backup"]
    for name in others:
        (home / "images" / name).write_text("")
        os.utime(home / "images" / name, (0, 0))
    fetch(remote(whole), NAME, home, True)
    assert sorted(contents(home)) == sorted([NAME, *others])


def test_pooch_speaks_of_other_downloads_meanwhile(server, remote, home, tmp_path, caplog):
    logger = pooch.get_logger()
    level = logger.level
    logger.addHandler(caplog.handler)
    try:
        worker = threading.Thread(target=fetch, args=(remote(until_told), NAME, home, True))
        worker.start()
        server.half_sent.acquire()
        pooch.retrieve(remote(whole).base_urls[0] + NAME, None, NAME, tmp_path / "other")
        server.go_on.set()
        worker.join()
    finally:
        logger.removeHandler(caplog.handler)
    assert "/whole/" in caplog.text and "/until_told/" not in caplog.text
    assert logger.level == level and logger.filters == []


# What stands in the file's place


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
def test_what_is_no_file_in_its_place_is_refused(
    server, remote, home, obstacle, download_if_missing
):
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    obstacle(path)
    with pytest.raises(OSError, match=f"{path} .* Move it away") as raised:
        fetch(remote(whole), NAME, home, download_if_missing)
    assert "Are you offline" not in str(raised.value)
    assert os.path.lexists(path)
    assert server.asked_for == []


@pytest.mark.parametrize("obstacle", [looping_link, dangling_link, Path.touch])
def test_what_is_no_folder_in_the_folders_place_is_named(server, remote, home, obstacle):
    home.mkdir()
    obstacle(home / "images")
    with pytest.raises(OSError, match=f"{home / 'images'}.* data_home") as raised:
        fetch(remote(whole), NAME, home, True)
    assert "Are you offline" not in str(raised.value)
    assert server.asked_for == []


def test_a_file_that_cannot_be_read_is_named(server, remote, home, monkeypatch):
    assert works(remote, home)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pooch, "file_hash", refuse)
    with pytest.raises(OSError, match=f"{home / 'images' / NAME} .*Permission denied.* Move it"):
        fetch(remote(whole), NAME, home, True)


def test_a_link_to_the_official_file_is_followed(server, remote, home, tmp_path):
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "official")
    assert fetch(remote(whole), NAME, home, False) == path


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[::-1], b""])
def test_a_damaged_file_is_replaced(server, remote, home, damaged):
    path = home / "images" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=f"{path} .* official file"):
        fetch(remote(whole), NAME, home, False)
    assert path.read_bytes() == damaged
    assert works(remote, home)


# The folder of the data


@pytest.mark.parametrize("data_home", [{}, [], (), 0, 1, False, True, b"data", b"", np.nan])
def test_a_data_home_that_is_no_path_is_named(server, remote, data_home):
    with pytest.raises(TypeError, match="data_home=.* must be a str or path-like"):
        fetch(remote(whole), NAME, data_home, True)
    assert server.asked_for == []


@pytest.mark.parametrize("data_home", ["", "~nosuchuser", "~nosuchuser/data", "a\0b", "a\ud800"])
def test_a_data_home_that_names_no_folder_is_named(server, remote, data_home):
    with pytest.raises(ValueError, match="^data_home=.* folder"):
        fetch(remote(whole), NAME, data_home, True)
    assert server.asked_for == []


def test_the_environment_variable_is_named_where_it_is_wrong(server, remote, monkeypatch):
    monkeypatch.setenv("SKCNN_DATA", "~nosuchuser")
    with pytest.raises(ValueError, match="^SKCNN_DATA='~nosuchuser' .* folder"):
        fetch(remote(whole), NAME, None, True)


def test_no_home_folder_is_known(server, remote, monkeypatch):
    monkeypatch.delenv("SKCNN_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: "~nosuchuser")
    with pytest.raises(
        ValueError, match="^data_home=None, the user's cache folder '~nosuchuser', cannot be"
    ):
        fetch(remote(whole), NAME, None, True)


def test_the_folder_of_the_data(server, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for data_home in ("~/a", tmp_path / "a"):
        assert fetch(remote(whole), NAME, data_home, True) == tmp_path / "a" / "images" / NAME
    monkeypatch.setenv("SKCNN_DATA", "~/b")
    assert fetch(remote(whole), NAME, None, True) == tmp_path / "b" / "images" / NAME
    monkeypatch.setenv("SKCNN_DATA", "")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    assert fetch(remote(whole), NAME, None, True) == tmp_path / "skcnn" / "images" / NAME
