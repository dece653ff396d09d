"""Faults 40, 47, 50, 51 and 53 on real mounts: the arrays are saved wherever numpy saves them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from faults.tools import quick_directory, real_disk, sweep_here
from support import as_nobody, mounted, need, needs_root, objects, umask, unmount
from support import save as save_array

from lib.generation import load_generations_from_cache, save_generations_to_cache
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL: Final = ["Prompt. One.", "Prompt. Two."]
COMPLETIONS: Final = ["One.", "Two."]
pytestmark = needs_root


@contextmanager
def refusing_mount(tmp_path: Path, *flags: str) -> Iterator[Path]:
    """Mount a FUSE file system that refuses what the flags of bindfs(1) say."""
    need(shutil.which("bindfs"), "bindfs is not installed")
    need(os.access("/dev/fuse", os.W_OK), "there is no /dev/fuse")
    below, mount = tmp_path / "below", tmp_path / "mount"
    below.mkdir()
    mount.mkdir()
    done = subprocess.run(["bindfs", *flags, below, mount], capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"FUSE cannot be mounted here: {done.stderr}")
    try:
        yield mount
    finally:
        unmount(mount)


def files(directory: Path) -> list[str]:
    """Return the names of the cache's files, and of hidden ones."""
    return sorted(name for name in os.listdir(directory) if name.startswith("n2") or is_temporary(name))


def mode_of(path: Path) -> int:
    """Return a file's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


REFUSALS: Final = {
    "permissions": ("-p", "0777", "--chmod-deny"),
    "permissions as created": ("--chmod-deny",),
    "owners": ("--chown-deny", "--chgrp-deny"),
    "attributes": ("--xattr-none",),
    "everything": ("-p", "0666:a+X", "--chmod-deny", "--chown-deny", "--chgrp-deny", "--xattr-none"),
    "another owner": ("-u", "nobody", "-g", "nogroup", "--chown-deny", "--chgrp-deny", "--chmod-deny"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", REFUSALS)
def test_fault_47_a_mount_that_refuses_attributes_has_all_files(tmp_path: Path, case: str) -> None:
    """Saved twice without a warning, and a sweep makes sidecars that the same people can read."""
    with refusing_mount(tmp_path, *REFUSALS[case]) as mount:
        for _ in range(2):
            save_generations_to_cache(mount / "n2", FULL, COMPLETIONS, {"model_name": "m"})
        assert len(files(mount)) == 7
        assert load_generations_from_cache(mount / "n2") == (FULL, COMPLETIONS, {"model_name": "m"})
        source = save_array(mount / "n3_completions.npy", ["a"])
        sums, log = sweep_here(mount)
        assert (sums["failed"], sums["rendered"]) == (0, 2), log
        for name in ("n3_completions.json", "n3_completions.md"):
            assert mode_of(mount / name) & 0o666 == mode_of(source) & 0o666


def test_fault_47_a_mount_that_cannot_rename_has_the_arrays(tmp_path: Path) -> None:
    """Written in place, as numpy writes them; the warning says why there are no sidecars."""
    with refusing_mount(tmp_path, "--rename-deny") as mount:
        for completions in (COMPLETIONS, ["Three.", "Four."]):
            with pytest.warns(RuntimeWarning, match="its sidecars were not made"):
                save_generations_to_cache(mount / "n2", FULL, completions, {})
            assert load_generations_from_cache(mount / "n2") == (FULL, completions, {})
        assert files(mount) == ["n2_completions.npy", "n2_full_texts.npy", "n2_metadata.json"]


@pytest.mark.parametrize("flags", [("--delete-deny",), ("--delete-deny", "--rename-deny")])
def test_fault_50_a_mount_that_removes_nothing_has_one_hidden_file_at_most(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """However often it is swept, and saved; it has what can be made."""
    can_rename = "--rename-deny" not in flags
    with refusing_mount(tmp_path, *flags) as mount:
        for name in ("n3", "n4"):
            save_array(mount / f"{name}_completions.npy", ["a"])
        for _ in range(3):
            sweep_here(mount)
            assert sum(is_temporary(name) for name in os.listdir(mount)) <= 1
        assert (mount / "n3_completions.md").exists() == can_rename
    (tmp_path / "saved").mkdir()
    with refusing_mount(tmp_path / "saved", *flags) as mount, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(3):
            save_generations_to_cache(mount / "n2", FULL, COMPLETIONS, {"n": number})
            assert load_generations_from_cache(mount / "n2") == (FULL, COMPLETIONS, {"n": number})
            assert sum(is_temporary(name) for name in os.listdir(mount)) <= 1


def test_fault_40_and_47_a_mount_that_opens_every_file_gets_no_sidecar_of_a_closed_source(
    tmp_path: Path,
) -> None:
    """The source was closed by hand on its own disk; the sweep says so."""
    with refusing_mount(tmp_path, "--chmod-deny", "--create-with-perms=a+rw") as mount:
        source = save_array(mount / "n3_completions.npy", ["a"])
        (tmp_path / "below" / source.name).chmod(0o600)
        sums, log = sweep_here(mount)
        assert sums["failed"] > 0 == sums["rendered"], log
        assert [path.name for path in mount.iterdir()] == [source.name]


@contextmanager
def append_only(directory: Path) -> Iterator[Path]:
    """Let files be made in a directory, but neither removed nor renamed."""
    need(shutil.which("chattr"), "e2fsprogs is not installed")
    directory.mkdir()
    subprocess.run(["chattr", "+a", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["chattr", "-a", str(directory)], check=True)


def test_fault_50_an_append_only_directory_has_the_arrays_and_one_hidden_file_at_most(tmp_path: Path) -> None:
    """However often it is saved; numpy can save there too."""
    with real_disk(tmp_path / "image", tmp_path / "disk", 16) as disk, append_only(disk / "run") as run:
        np.save(run / "n2_completions.npy", objects(["older"]), allow_pickle=True)
        for number in range(3):
            completions = [f"{number}", "x"]
            with pytest.warns(RuntimeWarning, match="its sidecars were not made"):
                save_generations_to_cache(run / "n2", FULL, completions, {"n": number})
            assert load_generations_from_cache(run / "n2") == (FULL, completions, {"n": number})
            assert len([name for name in os.listdir(run) if is_temporary(name)]) <= 1
        for _ in range(3):
            sweep_here(run)
        assert len([name for name in os.listdir(run) if is_temporary(name)]) <= 1


DEFAULTS: Final = {
    "a group writes, others do not read": "u::rwx,g::rwx,g:998:rwx,o::---",
    "others read": "u::rwx,g::r-x,o::r-x",
    "the owner alone": "u::rwx,g::---,o::---",
}


def access_of(path: Path) -> str:
    """Return mode and access list of a file, its name left out."""
    done = subprocess.run(["getfacl", "-cpn", str(path)], capture_output=True, text=True, check=True)
    return f"{mode_of(path):o} {done.stdout}"


@pytest.mark.parametrize("mask", [0o022, 0o077])
@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS)
def test_fault_51_a_default_access_list_gives_what_it_gives_to_numpys_files(
    tmp_path: Path, default: str, mask: int
) -> None:
    """Bit for bit, for all seven files."""
    need(shutil.which("setfacl"), "acl is not installed")
    with umask(mask), mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        subprocess.run(["setfacl", "-d", "-m", default, str(disk)], check=True)
        save_array(disk / "by_numpy.npy", ["a"])
        for _ in range(2):
            save_generations_to_cache(disk / "n2", FULL, COMPLETIONS, {})
        accesses = {name: access_of(disk / name) for name in files(disk)}
        assert len(accesses) == 7
        assert set(accesses.values()) == {access_of(disk / "by_numpy.npy")}, accesses


def test_fault_51_a_file_that_was_closed_by_hand_stays_closed(tmp_path: Path) -> None:
    """Saving again keeps the permissions of each array, as numpy does, and its sidecars follow it."""
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, {})
    for name in files(tmp_path):
        if name.endswith(".npy"):
            (tmp_path / name).chmod(0o600)
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, {})
    modes = {name: mode_of(tmp_path / name) for name in files(tmp_path)}
    assert modes.pop("n2_metadata.json") == 0o644
    assert set(modes.values()) == {0o600}


def test_fault_40_a_page_is_as_closed_as_the_metadata_that_it_shows(tmp_path: Path) -> None:
    """The JSON shows none of it."""
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, {})
    (tmp_path / "n2_metadata.json").chmod(0o600)
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, {"model_name": "secret"})
    closed = {name for name in files(tmp_path) if mode_of(tmp_path / name) == 0o600}
    assert closed == {"n2_metadata.json", "n2_completions.md", "n2_full_texts.md"}


def test_a_directory_that_may_not_be_listed_has_all_files() -> None:
    """As numpy, which needs only names."""
    with (
        quick_directory() as above,
        mounted(above / "disk", "-t", "tmpfs", "-o", "mode=733", "tmpfs") as disk,
    ):
        above.chmod(0o755)
        with as_nobody(), warnings.catch_warnings():
            warnings.simplefilter("error")
            save_generations_to_cache(disk / "n2", FULL, COMPLETIONS, {})
            assert load_generations_from_cache(disk / "n2") == (FULL, COMPLETIONS, {})
        assert len(files(disk)) == 7


def test_a_directory_in_which_only_old_files_may_be_written_has_the_arrays() -> None:
    """No file can be made, but numpy can write onto those that are there."""
    with (
        quick_directory() as above,
        mounted(above / "disk", "-t", "tmpfs", "-o", "mode=755", "tmpfs") as disk,
    ):
        above.chmod(0o755)
        save_generations_to_cache(disk / "n2", ["a"], ["b"], {})
        for path in disk.iterdir():
            path.chmod(0o666)
        with as_nobody(), pytest.warns(RuntimeWarning, match="no file can be made in its directory: Perm"):
            save_generations_to_cache(disk / "n2", FULL, COMPLETIONS, {"n": 1})
        assert load_generations_from_cache(disk / "n2") == (FULL, COMPLETIONS, {"n": 1})
        assert len(files(disk)) == 7
