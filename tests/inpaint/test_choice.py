"""The method `auto`: which it becomes, why, and that this is said and recorded."""

import json

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from skyfill.plan import Request, make_plan, within

import skyfill
from skyfill.inpaint import FillOptions, Inpainter, choice, choose_method, choose_stokes
from skyfill.mosaic import MosaicConfig
from skyfill.prior import PolarizedPrior, draw_polarization

PRIOR = skyfill.Prior(
    16, skyfill.lcdm(), fwhm=0.15, noise_uk_arcmin=500.0, theory=skyfill.prior.LCDM
)


def band(nside):
    observed = np.ones(12 * nside**2, bool)
    observed[: 40 * nside] = False
    return observed


@pytest.fixture(scope="module")
def sky():
    return skyfill.prior.draw(PRIOR, seed=1, index=0, aliased=True, threads=1)


def chosen(nside=16, *, mapped=False, limit=None, **options):
    options = FillOptions(**{"device": "cpu"} | options)
    return choose_method(options, band(nside), mapped=mapped, limit=limit)


@pytest.mark.parametrize(("nside", "method"), [(16, "gaussian"), (512, "gaussian"), (1024, "vae")])
def test_the_exact_solver_is_taken_where_it_is_as_quick(nside, method):
    found = chosen(nside)
    assert found.method == method
    assert "512" in found.reason


@pytest.mark.parametrize("method", ["vae", "gaussian", "diffuse", "cosmovae"])
def test_a_given_method_is_kept_without_a_reason(method):
    found = chosen(1024, method=method)
    assert (found.method, found.reason, str(found)) == (method, None, method)
    options = FillOptions(method=method)
    assert found.applied(options) is options


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"polish": 0}, "vae"),
        ({"weights": "a.safetensors"}, "vae"),
        ({"network": True}, "vae"),
        ({"refine": 3}, "vae"),
        ({"config": MosaicConfig(side=192)}, "vae"),
        ({"tolerance": 1e-4}, "gaussian"),
    ],
)
def test_an_option_of_one_method_decides(options, method):
    (name,) = options
    for nside in (16, 1024):
        found = chosen(nside, **options)
        assert found.method == method
        assert name in found.reason


def test_with_a_noise_map_vae_is_no_quicker():
    assert chosen(1024, mapped=True).method == "gaussian"


def test_memory_decides_against_the_exact_solver(monkeypatch):
    found = chosen(512, limit=0.4e9)
    assert found.method == "vae"
    assert "above the memory limit" in found.reason
    assert chosen(512, limit=8e9).method == "gaussian"
    monkeypatch.setattr("skyfill.gaussian.memory._machine_memory", lambda: 0.3e9)
    found = chosen(512)
    assert found.method == "vae"
    assert "too much for this machine" in found.reason


def test_without_torch_only_the_exact_solver_is_left(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    found = chosen(1024)
    assert (found.method, found.reason) == ("gaussian", "vae needs torch, which is not installed")


def test_on_a_gpu_with_float64_the_exact_solver_is_taken_if_it_fits(monkeypatch):
    monkeypatch.setattr(choice, "device_for", lambda _: "cuda")
    monkeypatch.setattr(choice, "device_memory", lambda *_: (1e9, 80e9))
    assert str(chosen(1024)) == "gaussian: the exact solver is quick on cuda"
    monkeypatch.setattr(choice, "device_memory", lambda *_: (1e9, 1.1e9))
    assert chosen(1024).method == "vae"


def test_reasons_fit_into_a_header_card(monkeypatch):
    reasons = [chosen(nside, mapped=mapped).reason for nside in (16, 1024) for mapped in (0, 1)]
    reasons += [chosen(polish=1).reason, chosen(tolerance=0.1).reason, chosen(limit=1e6).reason]
    monkeypatch.setattr("skyfill.gaussian.memory._machine_memory", lambda: 1e5)
    reasons.append(chosen().reason)
    assert all(len(reason) <= 68 for reason in reasons)
    assert len(set(reasons)) >= 6


def test_the_inpainter_says_what_it_took_and_fills_the_same(sky):
    auto = Inpainter(sky, band(16), prior=PRIOR, seed=2, threads=1, device="cpu")
    assert auto.choice.method == auto.options.method == "gaussian"
    given = Inpainter(
        sky, band(16), method="gaussian", prior=PRIOR, seed=2, threads=1, device="cpu"
    )
    assert given.choice.reason is None
    np.testing.assert_array_equal(auto.realization(1), given.realization(1))
    np.testing.assert_array_equal(auto.with_map(sky, seed=2).realization(1), given.realization(1))


def test_the_plan_names_the_method_that_it_plans():
    assert make_plan(band(16), Request(known=True)).method == "gaussian"
    assert within(band(16), Request(known=True), 8e9).method == "gaussian"
    assert within(band(1024), Request(known=True), 8e9).method == "vae"
    assert Request(polish=2).at(16).batch is not None


@pytest.fixture
def files(sky, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    skyfill.write_map("sky.fits", sky)
    skyfill.write_map("mask.fits", band(16), column="TMASK", unit="", dtype="uint8", coord="G")
    return ["--beam-arcmin", "515.66", "--noise-uk-arcmin", "500"]


def test_the_command_line_says_and_records_it(files, capsys):
    from skyfill.cli import main

    assert main(["inpaint", "sky.fits", "mask.fits", "-o", "a.fits", "-q", *files]) == 0
    why = "exact, and no slower than vae up to Nside 512"
    assert f"method   gaussian: {why}" in capsys.readouterr().out
    header = fits.getheader("a.fits", 1)
    assert (header["SFMETHOD"], header["SFAUTO"]) == ("gaussian", why)
    words = ["inpaint", "sky.fits", "mask.fits", "-o", "b.fits", "-q", "--json", *files]
    assert main([*words, "--method", "gaussian"]) == 0
    assert "sfauto" not in json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(
        skyfill.read_map("a.fits").values, skyfill.read_map("b.fits").values
    )
    assert main([*words, "--dry-run", "--overwrite"]) == 0
    assert main([word for word in words if word != "--json"] + ["--dry-run", "--overwrite"]) == 0
    assert f"method   gaussian, prior as given: {why}" in capsys.readouterr().out


def test_a_batch_settles_it_once_and_its_manifest_has_the_method(files, capsys):
    from skyfill.cli import main

    words = ["batch", "sky.fits", "mask.fits", "-o", "out", "-q", *files]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "gaussian"
    header = fits.getheader("out/sky.fits", 1)
    assert header["SFMETHOD"] == "gaussian"
    assert "--method gaussian" in " ".join(header["HISTORY"])
    assert main([*words, "--json", "--method", "gaussian"]) == 0  # the same settings
    assert json.loads(capsys.readouterr().out)["done_before"] == 1


def test_validation_takes_it_too(files, capsys):
    from skyfill.cli import main

    words = ["validate", "sky.fits", "mask.fits", "--realizations", "2", "-q", "--json", *files]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["why"]) == (
        "gaussian",
        "exact, and no slower than vae up to Nside 512",
    )


def test_few_small_holes_are_exact_at_any_resolution():
    observed = np.ones(12 * 1024**2, bool)
    observed[hp.query_disc(1024, [1.0, 0.0, 0.0], 0.005)] = False
    found = choose_method(FillOptions(device="cpu"), observed)
    assert (found.method, "pixels around" in found.reason) == ("gaussian", True)
    observed[: observed.size // 5] = False
    assert choose_method(FillOptions(device="cpu"), observed).method == "vae"


def chosen_of_stokes(nside, fields="TP", *, mapped=False, limit=None, **options):
    options = FillOptions(**{"device": "cpu"} | options)
    observed = dict.fromkeys(fields, band(nside))
    return choose_stokes(options, observed, mapped=mapped, limit=limit)


def test_of_polarization_the_exact_solver_is_taken_where_it_is_as_quick(monkeypatch):
    assert "512" in chosen_of_stokes(512).reason
    assert [chosen_of_stokes(nside).method for nside in (512, 1024)] == ["gaussian", "vae"]
    assert chosen_of_stokes(1024, tolerance=1e-4).method == "gaussian"
    assert chosen_of_stokes(16, weights="a.safetensors").method == "vae"
    assert str(chosen_of_stokes(1024, method="diffuse")) == "diffuse"
    need = chosen_of_stokes(512, limit=0.8e9)
    assert need.method == "vae"
    assert "above the memory limit" in need.reason
    monkeypatch.setattr(choice, "device_for", lambda _: "cuda")
    monkeypatch.setattr(choice, "device_memory", lambda *_, **__: (1e9, 80e9))
    assert str(chosen_of_stokes(1024)) == "gaussian: the exact solver is quick on cuda"
    monkeypatch.setattr(choice, "device_memory", lambda *_, **__: (1e9, 1.1e9))
    assert chosen_of_stokes(1024).method == "vae"


def test_what_vae_does_not_fill_of_polarization_is_filled_exactly():
    alone, mapped = chosen_of_stokes(1024, "P"), chosen_of_stokes(1024, mapped=True)
    assert (alone.method, mapped.method) == ("gaussian", "gaussian")
    assert "Q and U alone" in alone.reason
    assert "noise map" in mapped.reason
    reasons = [x.reason for x in (alone, mapped, chosen_of_stokes(16), chosen_of_stokes(1024))]
    assert all(len(reason) <= 68 for reason in reasons)


def polarized_sky():
    prior = PolarizedPrior.of(PRIOR, 500.0)
    signal, noise = draw_polarization(prior, seed=1)
    white = noise * (prior.white_cl[1] / hp.nside2pixarea(16)) ** 0.5
    t = skyfill.prior.draw(PRIOR, seed=1, aliased=True)
    return prior, np.array([t, *(signal + white)])


@pytest.mark.parametrize("quick", [512, 8])
def test_a_map_of_polarization_is_filled_as_by_the_method_it_says(quick, monkeypatch, tmp_path):
    from skyfill.cli import main

    monkeypatch.setattr(choice, "_AS_QUICK", quick)
    monkeypatch.chdir(tmp_path)
    prior, values = polarized_sky()
    method = "gaussian" if quick == 512 else "vae"
    words = {"prior": prior, "seed": 2, "threads": 1, "device": "cpu"}
    auto = skyfill.inpaint.PolarizedInpainter(values, band(16), method="auto", **words)
    given = skyfill.inpaint.PolarizedInpainter(values, band(16), method=method, **words)
    assert (auto.method, auto.choice.method, given.choice.reason) == (method, method, None)
    mine, its = auto.realization(1), given.realization(1)
    np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(auto.with_map(values, seed=2).realization(1), its)

    columns = dict(zip(("I_STOKES", "Q_STOKES", "U_STOKES"), values, strict=True))
    skyfill.write_map("sky.fits", columns, unit="uK_CMB")
    skyfill.write_map("mask.fits", band(16), column="TMASK", unit="", dtype="uint8", coord="G")
    said = ["--beam-arcmin", "515.66", "--noise-uk-arcmin", "500", "--device", "cpu", "-q"]
    assert main(["inpaint", "sky.fits", "mask.fits", "-o", "a.fits", *said]) == 0
    header = fits.getheader("a.fits", 1)
    assert (header["SFMETHOD"], header["SFAUTO"]) == (method, auto.choice.reason)
    assert main(["batch", "sky.fits", "mask.fits", "-o", "out", *said]) == 0
    assert fits.getheader("out/sky.fits", 1)["SFMETHOD"] == method


def test_an_engine_is_an_option_of_vae():
    prior, values = polarized_sky()
    words = {"method": "auto", "engine": FillOptions(method="vae"), "prior": prior, "threads": 1}
    filler = skyfill.inpaint.PolarizedInpainter(values, band(16), **words)
    assert str(filler.choice) == "vae: engine is an option of vae"
