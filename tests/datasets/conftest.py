import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("SKCNN_DATA", str(home))
    return home
