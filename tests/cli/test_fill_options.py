"""The command line and the library mean the same where nothing is said, and know the same words."""

import argparse

import pytest
from skyfill.cli import filling
from skyfill.cli.main import build_parser

import skyfill
from skyfill.inpaint import DIPOLES, FILLS, METHODS, FillOptions

WORDS = {
    "inpaint": ["inpaint", "map.fits", "mask.fits", "-o", "out.fits"],
    "batch": ["batch", "map.fits", "mask.fits", "-o", "out"],
}


@pytest.mark.parametrize("verb", WORDS)
def test_without_options_maps_are_filled_as_by_the_library(verb):
    args = build_parser().parse_args(WORDS[verb])
    assert filling.options_of(args) == FillOptions()


@pytest.mark.parametrize("verb", WORDS)
def test_words_are_the_librarys(verb):
    (verbs,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    choices = {action.dest: action.choices for action in verbs.choices[verb]._actions}
    assert set(choices["method"]) == set(METHODS)
    assert tuple(choices["fill"]) == FILLS
    assert tuple(choices["dipole"]) == DIPOLES


def test_a_limit_of_memory_changes_a_copy_of_the_options():
    observed = skyfill.simulate_mask(16, seed=1, half_width=0.2)
    words = [*WORDS["inpaint"], "--method", "vae", "--memory-limit", "8G"]
    words += ["--batch-size", "1000000"]
    words += ["--beam-arcmin", "400", "--noise-uk-arcmin", "3000"]
    args = build_parser().parse_args(words)
    within = filling.stay_within(args, observed)
    assert args.batch_size == 1000000
    assert 64 < within.batch_size < 10000
    assert vars(within) == vars(args) | {"batch_size": within.batch_size}
