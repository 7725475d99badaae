"""A progress bar by rich, where rich is installed and standard error is a terminal."""

import time
from contextlib import contextmanager


@contextmanager
def progress_bar(label, n_bytes, delay=0):
    """Draw the progress of a block that handles bytes; nothing without rich or a terminal.

    Parameters
    ----------
    label : str
    n_bytes : int
        Bytes in all.
    delay : float, default=0
        Seconds before the bar is drawn.

    Yields
    ------
    advance : callable
        ``advance(n)`` adds n bytes.
    """
    progress = _rich_progress()
    if progress is None:
        yield lambda n: None
        return
    task = progress.add_task(label, total=n_bytes)
    start = time.monotonic()

    def advance(n):
        progress.advance(task, n)
        if not progress.live.is_started and time.monotonic() - start >= delay:
            progress.start()

    try:
        yield advance
    finally:
        progress.stop()


def _rich_progress():
    """Return a ``rich.progress.Progress`` in bytes, or None where it cannot be drawn."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_interactive:
        return None
    text = TextColumn("{task.description}", markup=False)  # names of files may have brackets
    return Progress(text, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console)
