"""Official files of a dataset: downloaded within bounds into a cache folder, checked by hashes.

Whatever a server sends, a download ends: after as many bytes as the official file has, or at its
time limit. It is written to a temporary folder beside the file, and moved if its hash is right.
"""

import os
import shutil
import stat
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pooch

from ._progress import ProgressBar

_TIMEOUT = 30  # seconds without an answer
_PATIENCE = 60  # seconds that any download may take; the time limit grows with its size
_SLOWEST = 20_000  # bytes a second
_CHUNK = 2**14  # bytes that are read at a time: less than a second of the slowest download


class RemoteFile(NamedTuple):
    """Size in bytes of an official file, and its SHA-256 in hexadecimal."""

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
    """A server did not send the official file; the message states why."""


class _NoConnectionError(_ServerError):
    """A server could not be connected to."""


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
                f"{path} cannot be written: {error}. Fix this, or choose {elsewhere}"
            ) from error
    causes = "".join(f"\n  {url}: {failure}" for url, failure in failures)
    offline = all(isinstance(failure, _NoConnectionError) for _, failure in failures)
    raise OSError(
        f"{path} cannot be used: {problem}, and downloading it failed.{causes}\n"
        f"{'Are you offline? ' if offline else ''}{by_hand}"
    )


def _data_folder(data_home):
    """Return the folder that holds the folders of the datasets."""
    if data_home is not None:
        source = f"data_home={data_home!r}"
    elif data_home := os.environ.get("SKCNN_DATA"):
        source = f"SKCNN_DATA={data_home!r} in the environment"
    else:
        data_home = pooch.os_cache("skcnn")
        source = f"data_home=None, the user's cache folder {str(data_home)!r},"
    if not isinstance(data_home, str | os.PathLike) or isinstance(os.fspath(data_home), bytes):
        raise TypeError(f"{source} must be a str or path-like, the name of a folder, or None.")
    try:
        if not os.fspath(data_home):
            raise ValueError("it is empty")
        folder = Path(data_home).expanduser()
        with suppress(OSError):  # such as for a folder that does not exist yet
            os.lstat(folder)
    except (RuntimeError, ValueError) as error:  # no home folder, or a name with a null character
        raise ValueError(
            f"{source} cannot be the name of a folder ({error}). Name one "
            "with the parameter data_home or the environment variable SKCNN_DATA."
        ) from error
    return folder


def _problem(path, file):
    """Return how a file differs from the official one, or None.

    Raises an OSError if a folder, a pipe or the like is in the file's place: it is not overwritten.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe, say, would wait forever
            raise OSError("it is not a regular file")
        if status.st_size != file.size:
            return f"it has {status.st_size} bytes, and the official file has {file.size}"
        if pooch.file_hash(path, alg="sha256") != file.sha256:
            return "its hash is not that of the official file"
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if is_missing and not path.is_symlink():
            return "it is missing"
        raise OSError(
            f"{path} cannot be used: {error}. Move it away, or name another folder with the "
            "environment variable SKCNN_DATA or the parameter data_home."
        ) from error
    return None


def _seconds(size):
    """Return the time limit for downloading a file of ``size`` bytes."""
    return _PATIENCE + size / _SLOWEST


def _remove_abandoned(folder, files):
    """Remove the temporary folders of downloads that were killed: too old to be in use."""
    for name, file in files.items():
        for part in folder.glob(f"{name}.*.part"):
            with suppress(OSError):  # another process may remove it too
                if time.time() - part.stat().st_mtime > 2 * _seconds(file.size):
                    shutil.rmtree(part)


def _download(url, path, file):
    """Download a file, check it and move it into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(
        prefix=f"{path.name}.", suffix=".part", dir=path.parent, ignore_cleanup_errors=True
    ) as folder:
        part = Path(folder, path.name)
        _receive(url, part, file.size)
        problem = _problem(part, file)
        if problem is not None:
            raise _ServerError(f"it sent another file: {problem}")
        os.replace(part, path)


def _receive(url, path, size):
    """Write the body of a URL to a file, up to the size of the official one.

    The timeouts of requests bound each wait for the network, not their sum. So a daemon thread
    reads and writes, and is abandoned at the time limit: it ends with its connection, or when it
    finds the file closed.
    """
    outcome = Future()
    seconds = _seconds(size)
    with open(path, "wb") as file:
        body = _Body(file, path.name, size)
        threading.Thread(target=_read, args=(url, body, outcome), daemon=True).start()
        try:
            outcome.result(timeout=seconds)
        except TimeoutError as error:
            raise _ServerError(f"the file was not complete after {seconds:.0f} s") from error
        finally:
            body.bar.close()
    if body.bar.done < size:
        raise _ServerError(f"it sent {body.bar.done} of the {size} bytes of the official file")


def _read(url, body, outcome):
    """Write the body of a URL, and set the outcome: None or an error."""
    download = pooch.HTTPDownloader(
        chunk_size=_CHUNK,
        timeout=_TIMEOUT,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": _keep_body_encoded},
    )
    try:
        download(url, body, None)
        outcome.set_result(None)
    except Exception as error:
        # Without the traceback, whose frames would keep the connection open.
        outcome.set_exception((body.error or _server_error(error)).with_traceback(None))


def _server_error(error):
    """Return the error of a server for one of requests."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    unconnected = {"ConnectTimeoutError", "NewConnectionError"}  # of urllib3
    is_one = unconnected & {parent.__name__ for parent in type(reason).__mro__}
    failure = _NoConnectionError if is_one else _ServerError
    return failure(f"{type(error).__name__}: {error}")


def _keep_body_encoded(response, **kwargs):
    """Keep requests from decoding a body, and from reading that of a redirection.

    A few bytes may be decoded into gigabytes, and some servers declare the compression of a .gz
    file as the encoding of the transfer. The body of a redirection, which may be endless, would be
    read whole before the redirection is followed.
    """
    response.raw.headers.pop("Content-Encoding", None)
    if response.is_redirect:
        response.close()


class _Body:
    """The file of a download, with a progress bar.

    Attributes
    ----------
    bar : ProgressBar
        It counts the bytes written.
    error : Exception or None
        What was wrong with the bytes, or with the file; other errors are those of the connection.
    """

    def __init__(self, file, name, size):
        self._file, self._size = file, size
        self.bar, self.error = ProgressBar(name, size), None

    def write(self, chunk):
        """Write some bytes, unless they are more than the official file has."""
        try:
            if self.bar.done + len(chunk) > self._size:
                raise _ServerError(f"it sent more than the {self._size} bytes of the official file")
            self._file.write(chunk)
        except Exception as error:
            self.error = error
            raise
        self.bar.update(len(chunk))

    def flush(self):
        """Do nothing; pooch calls it after every chunk."""
