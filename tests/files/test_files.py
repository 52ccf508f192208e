"""Files are put in place whole, or not at all."""

import errno
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyfill.files import atomic
from skyfill.files.atomic import atomic_write, check_writable
from skyfill.healpix.checks import check_nside
from skyfill.healpix.stokes import nside_of_length


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(path: Path, block: Callable[[Path], object], *, overwrite: bool = False) -> None:
    with atomic_write(path, overwrite) as temporary:
        block(temporary)


def unreachable(_: Path) -> None:
    pytest.fail("the block must not run")


def test_writes_a_new_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.fits.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".fits.gz")
        temporary.write_text("whole")
        assert not (tmp_path / "a.fits.gz").exists()
    assert (tmp_path / "a.fits.gz").read_text() == "whole"
    assert leftovers(tmp_path) == ["a.fits.gz"]


def test_the_block_may_replace_the_temporary_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as temporary:
        temporary.unlink()
        temporary.write_text("replaced")
    assert (tmp_path / "a").read_text() == "replaced"


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_refuses_to_overwrite_unless_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileExistsError, match=r"a exists already; pass `overwrite=True`"):
        put(tmp_path / "a", unreachable)
    assert (tmp_path / "a").read_text() == "old"
    with atomic_write(tmp_path / "a", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


def test_refuses_a_file_that_came_while_it_worked(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        put(tmp_path / "a", lambda _: (tmp_path / "a").write_text("theirs"))
    assert (tmp_path / "a").read_text() == "theirs"
    assert leftovers(tmp_path) == ["a"]


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, problem: BaseException) -> None:
    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise problem

    (tmp_path / "a").write_text("old")
    with pytest.raises(type(problem)):
        put(tmp_path / "a", fail, overwrite=True)
    assert (tmp_path / "a").read_text() == "old"
    assert leftovers(tmp_path) == ["a"]


def test_file_and_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order, and each before the next step can be lost."""
    flushed = []

    def note(descriptor: int) -> None:
        status = os.fstat(descriptor)
        flushed.append((stat.S_ISDIR(status.st_mode), (tmp_path / "a").exists(), status.st_size))

    monkeypatch.setattr(os, "fsync", note)
    put(tmp_path / "a", lambda temporary: temporary.write_text("whole"))
    assert flushed[0] == (False, False, 5)
    assert flushed[1][:2] == (True, True)


def test_of_two_writers_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where both have looked and seen nothing."""
    monkeypatch.setattr(atomic, "check_writable", lambda path, **_: Path(path))
    with pytest.raises(FileExistsError, match=r"a has been written by another run meanwhile"):
        put(tmp_path / "a", lambda _: put(tmp_path / "a", lambda second: second.write_text("2")))
    assert (tmp_path / "a").read_text() == "2"
    assert leftovers(tmp_path) == ["a"]


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    put(tmp_path / "a", lambda temporary: temporary.write_text("whole"))
    assert (tmp_path / "a").read_text() == "whole"
    assert leftovers(tmp_path) == ["a"]


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    """If it is old and ours."""
    old, new, other = (
        tmp_path / name for name in (".skyfill-0123456789ab.fits", ".skyfill-ba9876543210", ".old")
    )
    for path in (old, new, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (0, time.time() - 4000))
    (tmp_path / ".skyfill-aaaaaaaaaaaa").mkdir()
    put(tmp_path / "a", lambda temporary: temporary.write_text("whole"))
    assert leftovers(tmp_path) == [".old", ".skyfill-aaaaaaaaaaaa", new.name, "a"]


def test_symbolic_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_devices_and_folders_are_no_destination(tmp_path: Path) -> None:
    for path in (Path(os.devnull), tmp_path):
        with pytest.raises(OSError, match="is not a regular file"):
            check_writable(path, overwrite=True)


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_folder_must_be_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match="no permission in folder"):
        check_writable(tmp_path / "a")


def test_permission_refused_only_when_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"^cannot write .*a: Permission denied$"):
        put(tmp_path / "a", unreachable)


def test_errors_about_other_files_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        put(tmp_path / "a", lambda _: (tmp_path / "input").read_bytes())
    assert caught.value.filename == str(tmp_path / "input")


def test_full_disk_names_the_destination(tmp_path: Path) -> None:
    def fill_the_disk(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"^cannot write .*a: No space left on device$"):
        put(tmp_path / "a", fill_the_disk)
    assert leftovers(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    with pytest.raises(OSError, match=r"^cannot write .*a: No space left on device$"):
        put(small_disk / "a", lambda temporary: temporary.write_bytes(bytes(1 << 20)))
    assert leftovers(small_disk) == []


@pytest.mark.parametrize("nside", [0, -1, 3, 12, 16384])
def test_nside_is_a_power_of_two(nside: int) -> None:
    with pytest.raises(ValueError, match=f"power of two from 1 to 8192, got {nside}"):
        check_nside(nside)


def test_nside_of_a_full_sky() -> None:
    assert [nside_of_length(12 * 4**k, "map") for k in range(14)] == [2**k for k in range(14)]
    for npix in (0, 1, 11, 13, 12 * 9, 12 * 64 - 1, -12):
        with pytest.raises(ValueError, match=r"^map: "):
            nside_of_length(npix, "map")
