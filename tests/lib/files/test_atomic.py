"""The writing edge: files are whole or absent, as private as their sources, and leave no litter."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import LONG_AGO_NS, Refusing, as_nobody, needs_root, save, small_disk, umask

from lib.errors import SidecarError, Storage, Unsafe
from lib.files.atomic import ANY_NEW_FILE, AtomicFile, flush_directory, make_directories, set_stamp
from lib.files.permissions import ACCESS_LIST
from lib.files.reader import open_directory, open_file
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "n1_completions.json"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """Open the test's own directory."""
    with open_directory(str(tmp_path)) as descriptor:
        yield descriptor


@pytest.fixture
def shared() -> Iterator[Path]:
    """Make a directory that every user can enter and write."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@contextmanager
def draft_of(directory: int) -> Iterator[AtomicFile]:
    """Make a draft, and discard it at the end."""
    draft = AtomicFile(directory)
    try:
        yield draft
    finally:
        draft.discard()


def publish_like(source: Path, name: str = NAME) -> os.stat_result:
    """Publish a file with the permissions of a source; return its status."""
    with open_directory(str(source.parent)) as directory, open_file(directory, source.name) as file:
        draft = AtomicFile(directory)
        try:
            draft.write(b"[]")
            draft.seal([file], LONG_AGO_NS)
            draft.publish(name)
        finally:
            draft.discard()
    return os.stat(source.parent / name)


def test_a_draft_is_seen_by_nobody_until_it_is_published(directory: int, tmp_path: Path) -> None:
    """Hidden, readable by its owner alone; then whole, under its name."""
    draft = AtomicFile(directory)
    assert is_temporary(draft.name)
    assert stat.S_IMODE(os.stat(tmp_path / draft.name).st_mode) == 0o600
    draft.write(b"one, ")
    draft.write(b"")
    draft.write(b"two")
    assert not (tmp_path / NAME).exists()
    draft.seal([], LONG_AGO_NS)
    draft.publish(NAME)
    assert os.listdir(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"one, two"
    assert os.stat(tmp_path / NAME).st_mtime_ns == LONG_AGO_NS
    draft.discard()
    assert (tmp_path / NAME).exists()


def test_a_discarded_draft_leaves_nothing(directory: int, tmp_path: Path) -> None:
    """Discarding twice is fine."""
    draft = AtomicFile(directory)
    draft.write(b"x")
    draft.discard()
    draft.discard()
    assert os.listdir(tmp_path) == []


def test_descriptors_are_closed(directory: int) -> None:
    """Publishing and discarding close what a draft opened."""
    before = os.listdir("/proc/self/fd")
    with draft_of(directory) as draft:
        draft.publish(NAME)
    with draft_of(directory):
        pass
    assert os.listdir("/proc/self/fd") == before


# --- who may read


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(
    "mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o400, 0o440, 0o604, 0o755, 0o777, 0o4755]
)
def test_a_sidecar_has_the_permissions_of_its_source(tmp_path: Path, mode: int, mask: int) -> None:
    """Reading and writing bits are the source's whatever the umask; nothing is executable."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    source.chmod(mode)
    with umask(mask):
        status = publish_like(source)
    assert stat.S_IMODE(status.st_mode) == mode & 0o666


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077])
def test_a_new_file_has_the_permissions_of_any_new_file(directory: int, tmp_path: Path, mask: int) -> None:
    """An array that the library saves obeys the umask, as numpy's own would."""
    with umask(mask):
        AtomicFile(directory, ANY_NEW_FILE).publish(NAME)
    assert stat.S_IMODE(os.stat(tmp_path / NAME).st_mode) == 0o666 & ~mask


@needs_root
def test_a_sidecar_belongs_to_the_owner_of_its_source(tmp_path: Path) -> None:
    """A service that runs as root makes files that the researcher can delete."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    os.chown(source, 12_345, 23_456)
    source.chmod(0o640)
    status = publish_like(source)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12_345, 23_456, 0o640)


@needs_root
def test_a_directory_that_gives_its_group_does_not_give_it_to_readers(tmp_path: Path) -> None:
    """In a set-group-id directory the sidecar has the group of its source, not of the directory."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    source.chmod(0o640)
    os.chown(tmp_path, 0, 4242)
    tmp_path.chmod(0o2777)
    status = publish_like(source)
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0o640)


@needs_root
@pytest.mark.parametrize(
    ("mode", "allowed"),
    [(0o644, 0o644), (0o664, 0o644), (0o666, 0o666), (0o604, 0o600), (0o606, 0o600), (0o646, 0o644)],
)
def test_another_group_reads_no_more_than_everybody(shared: Path, mode: int, allowed: int) -> None:
    """Where the source's group cannot be set, group and others may do what both may do with the source."""
    source = save(shared / "n1_completions.npy", ["a"])
    os.chown(source, 0, 23_456)
    source.chmod(mode)
    with as_nobody():
        publish_like(source)
    assert stat.S_IMODE(os.stat(shared / NAME).st_mode) == allowed


def access_list(named_user: int, *, group: int = 0, mask: int = 4) -> bytes:
    """Make an access control list: the owner 6, one more user 4, the group, a mask, others nothing."""
    undefined = 0xFFFFFFFF
    entries = [
        (1, 6, undefined),
        (2, 4, named_user),
        (4, group, undefined),
        (16, mask, undefined),
        (32, 0, undefined),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def set_access_list(path: Path, value: bytes, name: str = ACCESS_LIST) -> None:
    """Give a path an access control list, or skip the test."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")


def access_list_of(path: Path) -> bytes | None:
    """Read a path's access control list."""
    return os.getxattr(path, ACCESS_LIST) if ACCESS_LIST in os.listxattr(path) else None


def test_a_sidecar_has_the_access_list_of_its_source(tmp_path: Path) -> None:
    """A user who is named in it may read; the group, whose bits show the mask, may not."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    set_access_list(source, access_list(12_345))
    publish_like(source)
    assert access_list_of(tmp_path / NAME) == access_list_of(source) is not None


def test_a_directory_adds_no_readers_to_those_of_the_source(tmp_path: Path) -> None:
    """A default access list of the directory does not reach the sidecar of a source that has none."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    source.chmod(0o640)
    set_access_list(tmp_path, access_list(12_345), "system.posix_acl_default")
    status = publish_like(source)
    assert access_list_of(tmp_path / NAME) is None
    assert stat.S_IMODE(status.st_mode) == 0o640


@needs_root
def test_an_access_list_of_another_group_is_not_copied(shared: Path) -> None:
    """Where the group cannot be kept, only the owner reads."""
    source = save(shared / "n1_completions.npy", ["a"])
    os.chown(source, 0, 23_456)
    set_access_list(source, access_list(65_534))
    with as_nobody():
        publish_like(source)
    assert stat.S_IMODE(os.stat(shared / NAME).st_mode) == 0o600


# --- what stands at the name


def test_a_link_at_the_name_is_replaced_never_followed(directory: int, tmp_path: Path) -> None:
    """The target of the link is not changed."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / NAME).symlink_to("secret")
    with draft_of(directory) as draft:
        draft.write(b"new")
        draft.publish(NAME)
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / NAME).is_symlink()


def test_a_directory_at_the_name_stays(directory: int, tmp_path: Path) -> None:
    """The error says so, and the draft is removed."""
    (tmp_path / NAME).mkdir()
    words = "cannot be renamed into place: Is a directory"
    with draft_of(directory) as draft, pytest.raises(Storage, match=words):
        draft.publish(NAME)
    assert os.listdir(tmp_path) == [NAME]


def test_the_old_file_is_whole_until_the_new_one_is(directory: int, tmp_path: Path) -> None:
    """A reader that holds the old file open keeps it; one that comes later gets the new one."""
    (tmp_path / NAME).write_text("old")
    with (tmp_path / NAME).open() as held, draft_of(directory) as draft:
        draft.write(b"new")
        draft.publish(NAME)
        assert held.read() == "old"
    assert (tmp_path / NAME).read_text() == "new"


# --- adopting


def test_adopting_sets_the_time_of_the_file_that_was_compared(directory: int, tmp_path: Path) -> None:
    """A file that changed after it was compared keeps its time."""
    (tmp_path / NAME).write_text("same")
    with open_file(directory, NAME) as file:
        set_stamp(file, LONG_AGO_NS)
        assert os.stat(tmp_path / NAME).st_mtime_ns == LONG_AGO_NS
        (tmp_path / NAME).write_text("other")
        set_stamp(file, LONG_AGO_NS + 1)
    assert os.stat(tmp_path / NAME).st_mtime_ns > LONG_AGO_NS + 1


def test_adopting_follows_no_link(directory: int, tmp_path: Path) -> None:
    """The time of the link's target is not changed."""
    (tmp_path / "other").write_text("x")
    (tmp_path / NAME).symlink_to("other")
    with pytest.raises(Unsafe, match="a symbolic link"), open_file(directory, NAME) as file:
        set_stamp(file, LONG_AGO_NS)
    assert os.stat(tmp_path / "other").st_mtime_ns > LONG_AGO_NS


def test_a_published_file_is_not_locked(directory: int, tmp_path: Path) -> None:
    """The lock is the draft's alone."""
    with draft_of(directory) as draft:
        draft.publish(NAME)
    with (tmp_path / NAME).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- the system refuses


def test_a_full_disk_leaves_no_litter(tmp_path: Path) -> None:
    """Writing fails with a reason and a hint, and the draft is removed."""
    with small_disk(tmp_path / "disk", "size=64k") as disk, open_directory(str(disk)) as directory:
        with draft_of(directory) as draft, pytest.raises(Storage) as caught:
            draft.write(b"x" * 1_000_000)
        assert caught.value.reason == "cannot be written: No space left on device"
        assert "full" in caught.value.hint
        assert os.listdir(disk) == []


def test_a_disk_without_inodes_is_reported(tmp_path: Path) -> None:
    """No draft can be made at all."""
    with small_disk(tmp_path / "disk", "nr_inodes=1") as disk, open_directory(str(disk)) as directory:
        with pytest.raises(Storage, match="no file can be made in its directory: No space left"):
            AtomicFile(directory)
        assert os.listdir(disk) == []


def test_a_read_only_disk_is_reported(tmp_path: Path) -> None:
    """Drafts, renames and times are refused with a hint."""
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        (disk / NAME).write_text("x")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with open_directory(str(disk)) as directory:
            with pytest.raises(Storage, match="Read-only") as caught:
                AtomicFile(directory)
            assert "read-only" in caught.value.hint
            with open_file(directory, NAME) as file, pytest.raises(Storage, match="its time cannot be set"):
                set_stamp(file, LONG_AGO_NS)


@needs_root
def test_a_directory_without_permission_is_reported(shared: Path) -> None:
    """A user who may not write gets a reason and a hint, not a traceback."""
    shared.chmod(0o755)
    with open_directory(str(shared)) as directory, as_nobody(), pytest.raises(Storage) as caught:
        AtomicFile(directory)
    assert caught.value.reason == "no file can be made in its directory: Permission denied"
    assert "permission" in caught.value.hint


def test_a_directory_that_is_gone_is_reported(tmp_path: Path) -> None:
    """No directory is made again."""
    (tmp_path / "run").mkdir()
    with open_directory(str(tmp_path / "run")) as directory:
        draft = AtomicFile(directory)
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(SidecarError, match="No such file"):
            draft.publish(NAME)
        draft.discard()
        with pytest.raises(SidecarError, match="No such file"):
            AtomicFile(directory)
    assert os.listdir(tmp_path) == []


LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)
NOT_OFFERED = (
    errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOTTY, errno.EROFS,
)  # fmt: skip


@pytest.mark.parametrize("number", LOST)
@pytest.mark.parametrize("call", ["fsync", "fchmod", "utime"])
def test_an_error_that_means_lost_data_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Nothing is published."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    refusing = Refusing(monkeypatch, number, f"os.{call}")
    with pytest.raises(SidecarError):
        publish_like(source)
    assert refusing.failed == 1
    assert os.listdir(tmp_path) == [source.name]


@pytest.mark.parametrize("number", NOT_OFFERED)
def test_what_a_mount_does_not_offer_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Owner, access list, mode, times and flushing are refused: the sidecar has the readers of its source."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    source.chmod(0o644)
    calls = ("fsync", "fchmod", "fchown", "setxattr", "removexattr", "utime")
    refusing = Refusing(monkeypatch, number, *(f"os.{call}" for call in calls))
    status = publish_like(source)
    with open_directory(str(tmp_path)) as directory:
        flush_directory(directory)
    assert refusing.failed >= 4
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert sorted(os.listdir(tmp_path)) == [NAME, source.name]


def test_a_mount_that_opens_files_to_more_people_gets_no_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is an error if the source itself has fewer readers."""
    source = save(tmp_path / "n1_completions.npy", ["a"])
    source.chmod(0o600)
    with open_directory(str(tmp_path)) as directory, open_file(directory, source.name) as file:
        draft = AtomicFile(directory, 0o644)
        monkeypatch.setattr(os, "fchmod", lambda *_: None)
        with pytest.raises(Storage, match="more people"):
            draft.seal([file], None)
        draft.discard()


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    """One that exists is fine; a file or a link in the way is an error, and the hint says so."""
    make_directories(str(tmp_path / "a" / "b"))
    make_directories(str(tmp_path / "a" / "b"))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    for path in (tmp_path / "file", tmp_path / "file" / "c", tmp_path / "link"):
        with pytest.raises(SidecarError, match="the directory cannot be made") as caught:
            make_directories(str(path))
        assert "move it away" in caught.value.hint or "never followed" in caught.value.hint
    assert (tmp_path / "a" / "b").is_dir()


def test_a_draft_whose_descriptor_is_closed_fails(directory: int) -> None:
    """It can only be discarded."""
    draft = AtomicFile(directory)
    os.close(draft._descriptor)
    for act in (lambda: draft.seal([], 1), lambda: draft.write(b"x")):
        with pytest.raises(Storage, match=os.strerror(errno.EBADF)):
            act()
    draft.discard()
