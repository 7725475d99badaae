"""Official files of a dataset: downloaded within bounds into a cache folder, checked by hashes.

Whatever a server sends, a download ends: after as many bytes as the official file has, or when its
time is up. It is written to a folder of its own beside the file, and moved when its hash is right.
"""

import os
import queue
import shutil
import stat
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pooch

_TIMEOUT = 30  # seconds without an answer
_PATIENCE = 60  # seconds that a download may take, beside those of its bytes
_SLOWEST = 20_000  # bytes a second
_CHUNK = 2**14  # bytes that are read at a time: less than a second of the slowest download


class RemoteFile(NamedTuple):
    """What is known of an official file: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class RemoteFiles(NamedTuple):
    """The files of a dataset, where they are published, and their subfolder of the data folder.

    Each of the base URLs, followed by the name of a file, is a URL of that file.
    """

    folder: str
    base_urls: tuple
    files: dict


class _ServerError(Exception):
    """Why a server did not give the official file."""


class _NoConnectionError(_ServerError):
    """Why there is no connection to a server."""


def fetch(remote, name, data_home, download_if_missing):
    """Return the path of a file of a dataset, downloaded if need be and checked by its hash.

    Parameters
    ----------
    remote : RemoteFiles
    name : str
        One of its files.
    data_home : str, path-like or None
        Parent of the dataset's folder. None: the environment variable ``SKCNN_DATA`` if set, else
        the user's cache folder.
    download_if_missing : bool

    Returns
    -------
    path : Path

    Raises
    ------
    OSError
        If the file is missing and cannot be, or may not be, downloaded, or if something that is no
        file is in its place.
    TypeError, ValueError
        If ``data_home`` names no folder.
    """
    folder = _data_folder(data_home) / remote.folder
    path, file = folder / name, remote.files[name]
    _remove_abandoned(folder, remote.files)
    problem = _problem(path, file)
    if problem is None:
        return path

    elsewhere = (
        f"a folder {remote.folder!r} elsewhere and name its parent with the environment variable "
        "SKCNN_DATA or the parameter data_home."
    )
    by_hand = (
        f"Put the official files ({', '.join(remote.files)}) into {folder}, or into {elsewhere}"
    )
    if not download_if_missing:
        raise OSError(
            f"{path} cannot be used: {problem}, and download_if_missing is False. {by_hand}"
        )
    failures = []
    for base_url in remote.base_urls:
        try:
            _download(base_url + name, path, file)
            return path
        except _ServerError as failure:
            failures.append((base_url + name, failure))
        except OSError as error:  # of this machine, which another server does not help
            raise OSError(
                f"{path} cannot be written: {error}. Mend this, or choose {elsewhere}"
            ) from error
    causes = "".join(f"\n  {url}: {failure}" for url, failure in failures)
    offline = all(isinstance(failure, _NoConnectionError) for _, failure in failures)
    raise OSError(
        f"{path} cannot be used: {problem}, and downloading it failed.{causes}\n"
        f"{'Are you offline? ' if offline else ''}{by_hand}"
    )


def _data_folder(data_home):
    """Return the folder that holds the folders of the datasets."""
    source = f"data_home={data_home!r}"
    if data_home is None and os.environ.get("SKCNN_DATA"):
        data_home = os.environ["SKCNN_DATA"]
        source = f"SKCNN_DATA={data_home!r} in the environment"
    elif data_home is None:
        data_home = pooch.os_cache("skcnn")
        source = f"data_home=None, the user's cache folder {str(data_home)!r},"
    if not isinstance(data_home, str | os.PathLike) or isinstance(os.fspath(data_home), bytes):
        raise TypeError(f"{source} must be a str or path-like, the name of a folder, or None.")
    try:
        if not os.fspath(data_home):
            raise ValueError("it is empty")
        folder = Path(data_home).expanduser()
        with suppress(OSError):  # such as for a folder that is yet to be made
            os.lstat(folder)
    except (RuntimeError, ValueError) as error:  # no home folder, or a name with a null character
        raise ValueError(
            f"{source} cannot be the name of a folder ({error}). Name one "
            "with the parameter data_home or the environment variable SKCNN_DATA."
        ) from error
    return folder


def _problem(path, file):
    """Return what makes a cached file unfit for use; None for the official file.

    Raises an OSError if a folder, a pipe or the like is in the file's place: it is not overwritten.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe, say, would wait for ever
            raise OSError("it is not a regular file")
        if status.st_size != file.size:
            return f"it has {status.st_size} bytes, and the official file has {file.size}"
        if pooch.file_hash(path, alg="sha256") != file.sha256:
            return "its hash is not that of the official file"
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if is_missing and not path.is_symlink():
            return "it is not there"
        raise OSError(
            f"{path} cannot be used: {error}. Move it away, or name another folder with the "
            "environment variable SKCNN_DATA or the parameter data_home."
        ) from error
    return None


def _seconds(size):
    """Return how long the download of a file of so many bytes may take."""
    return _PATIENCE + size / _SLOWEST


def _remove_abandoned(folder, files):
    """Remove what downloads left that were killed: what is older than any that goes on can be."""
    for name, file in files.items():
        for part in folder.glob(f"{name}.*.part"):
            with suppress(OSError):  # another process may remove it too
                if time.time() - part.stat().st_mtime > 2 * _seconds(file.size):
                    shutil.rmtree(part)


def _download(url, path, file):
    """Put the file of a URL into its place, once its hash is found right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(
        prefix=f"{path.name}.", suffix=".part", dir=path.parent, ignore_cleanup_errors=True
    ) as part:
        downloader = partial(_receive, name=path.name, size=file.size)
        known_hash = f"sha256:{file.sha256}"
        try:
            with _quiet_pooch(url):
                done = pooch.retrieve(url, known_hash, path.name, part, downloader=downloader)
        except ValueError as error:  # of the hash
            raise _ServerError(str(error)) from error
        os.replace(done, path)


def _receive(url, output_file, pooch, *, name, size):
    """Write the body of a URL to a file; a downloader by the protocol of pooch.

    The timeouts of requests bound each wait for the network, not their sum. So a thread waits, and
    is left behind when the time is up: it ends with its connection.
    """
    chunks = queue.Queue(maxsize=16)
    stopped = threading.Event()
    threading.Thread(target=_read_chunks, args=(url, chunks, stopped), daemon=True).start()
    seconds = _seconds(size)
    deadline = time.monotonic() + seconds
    bar = _ProgressBar(name, size)
    try:
        with open(output_file, "wb") as output:
            while chunk := _next_chunk(chunks, deadline):
                if bar.done + len(chunk) > size:
                    raise _ServerError(f"it sent more than the {size} bytes of the official file")
                output.write(chunk)
                bar.update(len(chunk))
        if bar.done < size:
            raise _ServerError(f"it sent {bar.done} of the {size} bytes of the official file")
    except TimeoutError as error:
        raise _ServerError(f"the file was not whole after {seconds:.0f} s") from error
    finally:
        bar.close()
        stopped.set()
        with suppress(queue.Empty):  # the thread may be waiting to put a chunk
            while True:
                chunks.get_nowait()


def _next_chunk(chunks, deadline):
    """Return the next bytes that a thread has read, none at the end; raise what it failed with."""
    seconds = deadline - time.monotonic()
    try:
        chunk = chunks.get(timeout=seconds) if seconds > 0 else None
    except queue.Empty:
        chunk = None
    if chunk is None:
        raise TimeoutError
    if isinstance(chunk, _ServerError):
        raise chunk
    return chunk


class _Queue(NamedTuple):
    """A file that puts what is written into a queue, until nobody wants it any more."""

    chunks: queue.Queue
    stopped: threading.Event

    def write(self, chunk):
        self.chunks.put(chunk)
        if self.stopped.is_set():
            raise BrokenPipeError

    def flush(self):
        pass


def _read_chunks(url, chunks, stopped):
    """Put the body of a URL into a queue, then no bytes, or else why it cannot be had."""
    download = pooch.HTTPDownloader(
        chunk_size=_CHUNK,
        timeout=_TIMEOUT,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": _leave_body_as_it_is},
    )
    try:
        download(url, _Queue(chunks, stopped), None)
        chunks.put(b"")
    except Exception as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        unconnected = {"ConnectTimeoutError", "NewConnectionError"}  # of urllib3
        is_one = unconnected & {parent.__name__ for parent in type(reason).__mro__}
        failure = _NoConnectionError if is_one else _ServerError
        chunks.put(failure(f"{type(error).__name__}: {error}"))


def _leave_body_as_it_is(response, **kwargs):
    """Have a body neither decoded nor, in a redirection, read.

    A few bytes may be decoded into gigabytes, and some servers mistake the compression of a .gz
    file for one of the connection. A redirection would be read whole before it is followed, be it
    endless.
    """
    response.raw.headers.pop("Content-Encoding", None)
    if response.is_redirect:
        response.close()


@contextmanager
def _quiet_pooch(url):
    """Keep pooch from a line of its own for a download: there is a progress bar.

    Its level, which all downloads share, is left alone.
    """

    def is_of_another(record):
        return url not in record.getMessage()

    logger = pooch.get_logger()
    logger.addFilter(is_of_another)
    try:
        yield
    finally:
        logger.removeFilter(is_of_another)


class _ProgressBar:
    """The bar of a download on standard error, which need not be there."""

    width = 40

    def __init__(self, name, total):
        self.name = name
        self.total = total
        self.done = 0
        self.is_drawn = False

    def update(self, n):
        """Note that n more bytes have come."""
        cells_before = self._cells()
        self.done += n
        if self._cells() > cells_before:
            megabytes = f"{self.done / 1e6:.1f}/{self.total / 1e6:.1f} MB"
            self._write(f"\r{self.name} [{'#' * self._cells():{self.width}}] {megabytes}")
            self.is_drawn = True

    def close(self):
        """Leave the line of the bar."""
        if self.is_drawn:
            self._write("\n")

    def _cells(self):
        return self.width * self.done // self.total

    def _write(self, text):
        # Standard error may be None, closed, a broken pipe or a program's own object, which may
        # raise anything; a download is not to fail with it.
        with suppress(Exception):
            sys.stderr.write(text)
            sys.stderr.flush()
