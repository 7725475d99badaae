"""Official files of a dataset, downloaded by pooch into a cache folder and checked by SHA-256.

pooch writes to a temporary file, which replaces the cached one only where its hash is right. Added
here: servers in turn, a bound on the size of a download, and errors that name the ways out.
"""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pooch

from ._progress_bar import progress_bar

_TIMEOUT = 30  # seconds of each wait for the network; pooch 1.8.0 would wait for ever
_CHUNK_SIZE = 2**16  # bytes


class RemoteFile(NamedTuple):
    """Size in bytes of an official file, and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class RemoteFiles(NamedTuple):
    """The files of a dataset by name, where they are published, and their subfolder of data_home.

    Each of the base URLs, followed by the name of a file, is a URL of that file.
    """

    folder: str
    base_urls: tuple[str, ...]
    files: dict[str, RemoteFile]


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
        If the file is missing and cannot be, or may not be, downloaded, or if its path is that of
        something else than a file.
    TypeError, ValueError
        If ``data_home`` names no folder.
    """
    folder = data_folder(data_home) / remote.folder
    path, file = folder / name, remote.files[name]
    elsewhere = (
        f"To use a folder {remote.folder!r} elsewhere, name its parent with the environment "
        "variable SKCNN_DATA or the parameter data_home."
    )
    # pooch would wait for a pipe, and replace a link to nowhere.
    if os.path.lexists(path) and not path.is_file():
        raise OSError(f"{path} is not a regular file. Move it away. {elsewhere}")
    problem = _problem(path, file.sha256)
    if problem is None:
        return path
    by_hand = f"Put the official files ({', '.join(remote.files)}) into {folder}. {elsewhere}"
    if not download_if_missing:
        raise OSError(
            f"{path} cannot be used: {problem}, and download_if_missing is False. {by_hand}"
        )
    failures = ""
    for url in (base_url + name for base_url in remote.base_urls):
        download = partial(_download, name=name, size=file.size)
        try:
            pooch.retrieve(url, file.sha256, name, folder, downloader=download)
            return path
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            failures += f"\n  {url}: {type(error).__name__}: {error}"
    raise OSError(
        f"{path} cannot be used: {problem}, and downloading it failed:{failures}\n"
        f"Is this machine offline? {by_hand}"
    )


def data_folder(data_home):
    """Return the folder that holds the folders of the datasets.

    Parameters
    ----------
    data_home : str, path-like or None

    Returns
    -------
    folder : Path

    Raises
    ------
    TypeError, ValueError
        If it cannot be the name of a folder; the message says where the name is from.
    """
    if data_home is not None:
        source = f"data_home={data_home!r}"
    elif data_home := os.environ.get("SKCNN_DATA"):
        source = f"SKCNN_DATA={data_home!r} in the environment"
    else:
        data_home = pooch.os_cache("skcnn")
        source = f"data_home=None, the user's cache folder {str(data_home)!r},"
    if not isinstance(data_home, str | os.PathLike):
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


def _problem(path, sha256):
    """Return why a file is not the official one, or None if it is."""
    try:
        is_official = pooch.file_hash(path) == sha256
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return str(error)
    return None if is_official else "its SHA-256 is not that of the official file"


def _download(url, output_file, _, *, name, size):
    """Download a URL to a file as ``pooch.HTTPDownloader`` does, but at most ``size`` bytes."""
    # Asked for gzip, a server may call a .gz file encoded, and requests would decompress it.
    downloader = pooch.HTTPDownloader(
        chunk_size=_CHUNK_SIZE, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}
    )
    # Only its owner can read the temporary file that pooch has made, and data are often shared.
    os.remove(output_file)
    with open(output_file, "xb") as file, progress_bar(name, size) as advance:
        downloader(url, _BoundedFile(file, size, advance), None)


class _BoundedFile:
    """A file that takes no more than ``size`` bytes, so that no server can fill the disk."""

    def __init__(self, file, size, advance):
        self._file, self._size, self._advance = file, size, advance

    def write(self, chunk):
        if self._file.tell() + len(chunk) > self._size:
            raise ValueError(f"it sent more than the {self._size} bytes of the official file")
        self._file.write(chunk)
        # Not the progressbar of pooch, which counts whole chunks and is left open by an error.
        self._advance(len(chunk))

    def flush(self):
        self._file.flush()
