"""Progress in a notebook, and the choice between a notebook, a terminal and nothing."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from skyfill import progress


@pytest.fixture
def cell(monkeypatch):
    """Stand in for a notebook: what its cell shows, in order."""
    shown = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=1)
    display.HTML = str
    handle = SimpleNamespace(update=shown.append)
    display.display = lambda text, display_id: (shown.append(text), handle)[1]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    return shown


def test_a_notebook_shows_the_stage_and_how_far_it_is(cell):
    with progress.shown() as listener:
        assert isinstance(listener, progress.Notebook)
        listener.stage("tiles <1>", total=9)
        listener.advance(4)
        listener.done("all cut")
    assert cell[0] == "<small>tiles &lt;1&gt;</small>"
    assert "tiles &lt;1&gt;: 4 of 9" in cell[1]
    assert "all cut (" in cell[2]
    assert cell[-1] == ""  # nothing stays in the cell


def test_without_a_notebook_or_a_terminal_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with progress.shown() as listener:
        assert isinstance(listener, progress.Silent)
    assert capsys.readouterr().err == ""


def test_a_log_is_kept_once_however_often_it_is_asked_for(caplog):
    listener = progress.listening(progress.listening(None))
    with caplog.at_level("INFO", logger="skyfill"):
        listener.stage("fit")
        listener.done("beam 5 arcmin")
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "fit: beam 5 arcmin"
    ]
