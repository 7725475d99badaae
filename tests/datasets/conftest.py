import io

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("SKCNN_DATA", str(home))
    return home


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, for ``redirect_stderr``."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()
