"""The shape of the code: who may import whom, and what files are called."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room is a package or a file of skyfill/. It imports only from rooms of rows above its own, also
# for type checkers.
ROWS = (
    {"brief", "files", "flatsky", "lazy", "progress", "tapers", "transforms"},
    {"healpix"},
    {"diffuse", "harmonics", "maps", "vae"},
    {"holes"},
    {"prior", "tiling"},
    {"gaussian", "spectra"},
    {"batch", "images", "mosaic", "posterior"},
    {"dataset"},
    {"cosmovae"},
    {"baselines"},
    {"inpaint"},
    {"fidelity"},
    {"report"},
)
ROW = {room: row for row, rooms in enumerate(ROWS) for room in rooms}
# Heavy or telling libraries, and the rooms that may use them.
KEPT_IN = {
    "astropy": {"batch", "holes", "images", "maps", "posterior", "prior", "spectra", "tiling"},
    "camb": set(),
    "distributed": {"batch"},
    "ducc0": {"harmonics"},
    "healpy": {"holes", "report", "spectra"},  # query_disc, Rotator, anafast; the rest is our own
    "jinja2": {"report"},
    "matplotlib": {"healpix", "prior", "report", "spectra"},
    "PIL": {"report"},
    "numba": {"diffuse", "gaussian", "harmonics", "healpix", "prior", "tiling"},
    "reproject": {"tiling"},
    "healsparse": {"maps"},
    "h5py": {"maps"},
    "platformdirs": {"files"},
    "regions": {"holes"},
    "rich": {"progress"},
    "safetensors": {"vae"},
    "pymaster": {"harmonics"},
    "scipy": {
        "diffuse",
        "fidelity",
        "gaussian",
        "holes",
        "images",
        "mosaic",
        "posterior",
        "prior",
        "spectra",
        "tiling",
        "transforms",
    },
    "threadpoolctl": {"gaussian"},
    "torch": {"baselines", "cosmovae", "gaussian", "harmonics", "tiling", "vae"},
    "triton": {"harmonics"},
    "zarr": {"dataset"},
}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "skyfill").parts[0].removesuffix(".py")


def imports(path: Path, *, types: bool = True) -> Iterator[str]:
    """Give the full name of everything a file imports, ``skyfill.maps.read_map``."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for branch in node.body
        for inner in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if node in for_types and not types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


LIBRARY = [
    path
    for path in sources("skyfill")
    if path.name != "__init__.py" or path.parent.name != "skyfill"
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_imports_only_fall(path):
    room = room_of(path)
    for imported in imports(path):
        top, _, rest = imported.partition(".")
        if top != "skyfill":
            continue
        other = rest.partition(".")[0]
        assert other in ROW, f"{room} imports {imported}: give {other!r} a row"
        falls = other == room or ROW[other] < ROW[room]
        assert falls, f"{room} (row {ROW[room]}) imports {imported} (row {ROW[other]})"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_files_import_each_other():
    """A circle within a room is one, too, and one that only types close."""
    modules = {module_of(path): path for path in LIBRARY}
    graph = {module: set() for module in modules}
    for module, path in modules.items():
        for imported in imports(path):
            while imported and imported not in modules:
                imported = imported.rpartition(".")[0]
            graph[module] |= {imported} - {"", module}
    assert sum(map(len, graph.values())) > 400
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_room_has_a_row():
    assert {room_of(path) for path in LIBRARY} == set(ROW)


def test_the_picture_of_the_rooms_has_these_rows():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (picture,) = re.findall(r"^row  room .*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rows = []
    for line in picture.splitlines():
        number, room = re.fullmatch(r"(.{3}) {2}(\w+) +\S.*", line).groups()
        if number.strip():
            assert int(number) == len(rows)
            rows.append(set())
        rows[-1].add(room)
    rows[-1].remove("cli")
    assert tuple(rows) == ROWS


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_libraries_stay_in_their_rooms(path):
    for imported in imports(path, types=False):
        top = imported.partition(".")[0]
        if top in KEPT_IN:
            assert room_of(path) in KEPT_IN[top], f"{top} has no business in {name(path)}"


@pytest.mark.parametrize("path", sources("cli"), ids=name)
def test_the_command_line_uses_public_names_only(path):
    import skyfill

    tree = ast.parse(path.read_text(encoding="utf-8"))
    for imported in imports(path, types=False):
        assert not imported.startswith("skyfill."), f"import {imported} as skyfill.<name>"
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "skyfill"
    }
    assert used <= {*skyfill.__all__, "__version__"}


def counted_pixels(tree: ast.AST) -> Iterator[str]:
    """Give the calls that take the number of numbers in an array for a number of pixels."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        counts = any(
            (isinstance(inner, ast.Attribute) and inner.attr == "size")
            or (isinstance(inner, ast.Call) and ast.unparse(inner.func) in ("len", "np.size"))
            for each in [*node.args, *(keyword.value for keyword in node.keywords)]
            for inner in ast.walk(each)
        )
        if called in ("npix2nside", "get_nside") or (
            called in ("nside_of", "nside_of_length", "isqrt") and counts
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", [*sources("skyfill"), *sources("cli")], ids=name)
def test_only_the_stokes_file_turns_arrays_into_resolutions(path):
    """Four stacked maps of Nside 64 have as many numbers as one map of Nside 128."""
    if name(path) == "skyfill/healpix/stokes.py":
        return
    found = list(counted_pixels(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, f"use nside_of(values, name), or sky_shape: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "nside_of(values.size, 'map')",
        "nside_of_length(len(values), what='map')",
        "checks.nside_of(np.size(values), 'map')",
        "math.isqrt(values.size // 12)",
        "healpy.npix2nside(npix)",
        "hp.get_nside(values)",
    ],
)
def test_such_lines_are_found(line):
    assert list(counted_pixels(ast.parse(f"nside = {line}"))) == [line]


@pytest.mark.parametrize(
    "path", [*sources("skyfill"), *sources("cli"), *sources("tests")], ids=name
)
def test_files_are_well_named(path):
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", [*sources("skyfill"), *sources("cli")], ids=name)
def test_nothing_is_asserted_printed_or_postponed(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    assert "TODO" not in text
    assert "NotImplementedError" not in text
    if path.is_relative_to(ROOT / "skyfill"):
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
