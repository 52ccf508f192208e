"""Completion of shells: from the parsers, so that no word is missing and none is invented."""

import shutil
import subprocess

import pytest
from skyfill.cli.main import VERBS, build_parser
from skyfill.cli.usage import verbs_below


def candidates(script, line):
    """Give what bash offers at the end of a line."""
    words = line.split(" ")
    body = "\n".join(
        [
            script,
            f"COMP_WORDS=({' '.join(word or chr(39) * 2 for word in words)})",
            f"COMP_CWORD={len(words) - 1}",
            "_skyfill",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    done = subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def script(entry):
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert entry(["completion", "bash"]) == 0
    return said.getvalue()


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
class TestBash:
    def test_verbs_come_first(self, script):
        assert set(VERBS) <= set(candidates(script, "skyfill "))
        assert candidates(script, "skyfill inp") == ["inpaint"]

    def test_options_are_those_of_the_verb(self, script):
        verb = verbs_below(build_parser())["inpaint"]
        own = {name for action in verb._actions for name in action.option_strings}
        assert set(candidates(script, "skyfill inpaint map.fits -")) == own
        assert "--workers" not in candidates(script, "skyfill inpaint --")

    def test_an_option_with_choices_offers_them(self, script):
        offered = candidates(script, "skyfill inpaint a.fits --method ")
        assert offered[:5] == ["auto", "vae", "gaussian", "diffuse", "cosmovae"]
        assert candidates(script, "skyfill inpaint --transform l") == ["log"]

    def test_a_verb_of_two_words_is_followed(self, script):
        assert set(candidates(script, "skyfill simulate ")) >= {"sky", "mask"}
        assert "--half-width" not in candidates(script, "skyfill simulate sky --")
        assert "--lmax" in candidates(script, "skyfill simulate sky --")

    def test_files_are_left_to_the_shell(self, script):
        assert candidates(script, "skyfill inpaint ") == []
        assert candidates(script, "skyfill inpaint map.fits --mask-pol m") == []

    def test_shells_are_offered(self, script):
        assert {"bash", "zsh", "fish"} <= set(candidates(script, "skyfill completion "))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_is_in_the_script(skyfill_main, shell):
    outcome = skyfill_main("completion", shell)
    assert outcome.status == 0
    for name, verb in verbs_below(build_parser()).items():
        assert name in outcome.out
        for action in verb._actions:
            for option in action.option_strings:
                assert (f"-l {option[2:]}" if shell == "fish" else option) in outcome.out or (
                    shell == "fish" and f"-s {option[1:]}" in outcome.out
                )


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_shell_itself_reads_the_script(skyfill_main, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    path = tmp_path / "script"
    path.write_text(skyfill_main("completion", shell).out)
    subprocess.run([shell, "-n", str(path)], check=True)


def test_another_shell_is_refused(skyfill_main):
    outcome = skyfill_main("completion", "tcsh")
    assert outcome.status == 2
    assert "choose one of bash, zsh, fish" in outcome.err
