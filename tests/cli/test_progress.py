"""What is shown on stderr while the user waits."""

import importlib
import io
import re

import pytest

import skyfill


@pytest.fixture
def shown(entry):
    return importlib.import_module(f"{entry.__module__.rpartition('.')[0]}.progress")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(listener):
    listener.stage("tiles", total=3)
    for _ in range(3):
        listener.advance()
    listener.done("3 cut")
    listener.stage("paste")
    listener.stage("write", total=1)


def test_a_line_a_stage(shown, capsys):
    with shown.progress(quiet=False) as listener:
        work(listener)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"\d+\.\d", "X", line) for line in lines] == [
        "tiles: 3 cut (X s)",
        "paste (X s)",
        "write (X s)",
    ]


def test_quiet_is_silent(shown, capsys):
    with shown.progress(quiet=True) as listener:
        work(listener)
    assert isinstance(listener, skyfill.Silent)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(shown, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with shown.progress(quiet=False) as listener:
        work(listener)
    assert isinstance(listener, skyfill.progress.Bar)
    for line in ("tiles: 3 cut", "paste", "write"):
        assert line in terminal.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_ends_it_without_a_line(shown, monkeypatch, terminal):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    def fail():
        with shown.progress(quiet=False) as listener:
            listener.stage("tiles", total=2)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert " s)" not in stream.getvalue()
