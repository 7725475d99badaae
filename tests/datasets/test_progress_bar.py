import sys
from contextlib import redirect_stderr

import pytest

from skcnn.datasets._progress_bar import progress_bar


def draw(stream, label="file", delay=0):
    with redirect_stderr(stream), progress_bar(label, 4_000_000, delay) as advance:
        for _ in range(4):
            advance(1_000_000)


def test_the_bar_counts_bytes(terminal):
    pytest.importorskip("rich")
    draw(terminal)
    assert "file" in terminal.getvalue() and "4.0/4.0 MB" in terminal.getvalue()


@pytest.mark.parametrize("label", ["[red]", "[/]", "{}", "%s", ":smile:"])
def test_a_label_is_shown_as_it_is(terminal, label):
    pytest.importorskip("rich")
    draw(terminal, label)
    assert label in terminal.getvalue()


def test_an_error_leaves_a_usable_terminal(terminal):
    pytest.importorskip("rich")
    with redirect_stderr(terminal):
        with pytest.raises(KeyboardInterrupt), progress_bar("file", 4_000_000) as advance:
            advance(1_000_000)
            raise KeyboardInterrupt
        assert sys.stderr is terminal
    hide_cursor, show_cursor = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rindex(show_cursor) > terminal.getvalue().rindex(hide_cursor)


def test_nothing_is_drawn_before_the_delay(terminal):
    draw(terminal, delay=float("inf"))
    assert terminal.getvalue() == ""


def test_nothing_is_drawn_without_rich(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    draw(terminal)
    assert terminal.getvalue() == ""


def test_nothing_is_drawn_where_standard_error_is_no_terminal(terminal, tmp_path):
    terminal.isatty = lambda: False
    draw(terminal)
    assert terminal.getvalue() == ""
    draw(None)
    with open(tmp_path / "closed", "w") as file:
        pass
    draw(file)
