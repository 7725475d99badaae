"""A progress bar in bytes, on standard error if that can be written to."""

import sys
from contextlib import suppress


class ProgressBar:
    """One line with a bar and the megabytes so far.

    Parameters
    ----------
    name : str
    total : int
        Bytes in all.

    Attributes
    ----------
    done : int
        Bytes so far.
    """

    width = 40

    def __init__(self, name, total):
        self._name, self._total = name, total
        self.done = 0

    def update(self, n):
        """Add n bytes, and draw the bar if it is longer now."""
        cells_before = self._cells()
        self.done += n
        if self._cells() > cells_before:
            megabytes = f"{self.done / 1e6:.1f}/{self._total / 1e6:.1f} MB"
            self._write(f"\r{self._name} [{'#' * self._cells():{self.width}}] {megabytes}")

    def close(self):
        """End the line of the bar, if it was drawn."""
        if self._cells():
            self._write("\n")

    def _cells(self):
        return self.width * self.done // self._total

    def _write(self, text):
        # Standard error may be None, closed, a broken pipe or an object of the program, which may
        # raise anything; the work goes on.
        with suppress(Exception):
            sys.stderr.write(text)
            sys.stderr.flush()
