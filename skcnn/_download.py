"""Official files of a dataset, downloaded into a cache folder and checked by their hashes."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pooch


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


def _data_home(data_home):
    """Return the folder that holds the datasets."""
    return Path(data_home or os.environ.get("SKCNN_DATA") or pooch.os_cache("skcnn")).expanduser()


def fetch(remote, name, data_home, download_if_missing):
    """Return the path of a file of a dataset, downloaded if need be and checked by its hash."""
    folder = _data_home(data_home) / remote.folder
    path = folder / name
    sha256 = remote.files[name].sha256
    if path.is_file() and pooch.file_hash(path, alg="sha256") == sha256:
        return path

    problem = "its hash is not that of the official file" if path.is_file() else "it is not there"
    by_hand = (
        f"Put the official files ({', '.join(remote.files)}) into {folder}, or into a folder "
        f"{remote.folder!r} elsewhere and name its parent with the environment variable SKCNN_DATA "
        "or the parameter data_home."
    )
    if not download_if_missing:
        raise OSError(
            f"{path} cannot be used: {problem}, and download_if_missing is False. {by_hand}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for base_url in remote.base_urls:
        downloader = pooch.HTTPDownloader(progressbar=_ProgressBar(name), timeout=30)
        try:
            with _quiet_pooch():
                pooch.retrieve(
                    base_url + name, f"sha256:{sha256}", name, folder, downloader=downloader
                )
            return path
        except (ValueError, OSError) as error:  # a wrong hash, or what requests raises
            failures.append(f"{base_url} ({type(error).__name__})")
    raise OSError(
        f"{path} cannot be used: {problem}, and downloading it failed from {', '.join(failures)}. "
        f"Are you offline? {by_hand}"
    )


@contextmanager
def _quiet_pooch():
    """Keep pooch from a line of its own for every address: there is a progress bar."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


class _ProgressBar:
    """The bar of a download on standard error, by the protocol of pooch's downloaders."""

    width = 40

    def __init__(self, name):
        self.name = name
        self.total = 0
        self.done = 0

    def update(self, n):
        """Note that n more bytes have come."""
        cells_before = self._cells()
        self.done = min(self.done + n, self.total)  # the last chunk counts as a whole one
        if self._cells() > cells_before:
            self._draw()

    def reset(self):
        """Start again from zero."""
        self.done = 0

    def close(self):
        """Leave the line of the bar."""
        self._draw()
        print(file=sys.stderr)

    def _cells(self):
        return self.width * self.done // max(self.total, 1)

    def _draw(self):
        bar = "#" * self._cells()
        megabytes = f"{self.done / 1e6:.1f}/{self.total / 1e6:.1f} MB"
        print(
            f"\r{self.name} [{bar:{self.width}}] {megabytes}", end="", file=sys.stderr, flush=True
        )
