"""The reading edge: regular files only, no link followed, nobody waited for."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest
from support import MemoryBytes, Refusing, as_nobody, needs_root

from lib.errors import SidecarError, Storage, Unsafe, Vanished
from lib.files.reader import (
    FileBytes,
    file_type,
    open_directory,
    open_file,
    same_version,
    status_of,
    storage_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "n1_completions.npy"


def read(folder: Path, name: str = NAME) -> bytes:
    """Read a whole file through the edge."""
    with open_directory(str(folder)) as directory, open_file(directory, name) as file:
        return file.read_at(0, file.size)


def a_socket(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "link": (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
    "link to /dev/zero": (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
    "loop": (lambda path: path.symlink_to(path.name), "a symbolic link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
    "FIFO": (os.mkfifo, "a FIFO"),
    "directory": (lambda path: path.mkdir(), "a directory"),
    "socket": (a_socket, "a socket"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_anything_but_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Without following, blocking or reading."""
    make, words = KINDS[kind]
    make(tmp_path / NAME)
    with pytest.raises(Unsafe) as caught:
        read(tmp_path)
    assert caught.value.reason == f"it is {words}, not a file"
    assert ("Links" in caught.value.hint) == ("link" in words)


@needs_root
def test_a_device_is_refused(tmp_path: Path) -> None:
    """``/dev/zero`` under a source's name gives no bytes."""
    try:
        os.mknod(tmp_path / NAME, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(Unsafe, match="a device"):
        read(tmp_path)


def test_a_file_is_read_anywhere(tmp_path: Path) -> None:
    """Bytes in the middle, at the end and beyond it."""
    (tmp_path / NAME).write_bytes(b"0123456789")
    with open_directory(str(tmp_path)) as directory, open_file(directory, NAME) as file:
        memory = MemoryBytes(b"0123456789")
        for offset, length in ((0, 10), (3, 4), (8, 9), (10, 1), (99, 5), (2, 0)):
            assert file.read_at(offset, length) == memory.read_at(offset, length)
        assert file.size == memory.size == 10


def test_a_file_keeps_the_size_that_it_had(tmp_path: Path) -> None:
    """Bytes that were cut off are missing, and it is another version."""
    (tmp_path / NAME).write_bytes(b"0123456789")
    with open_directory(str(tmp_path)) as directory, open_file(directory, NAME) as file:
        os.truncate(tmp_path / NAME, 4)
        assert file.size == 10
        assert file.read_at(0, 10) == b"0123"
        assert not same_version(file.status, os.stat(tmp_path / NAME))


def test_a_disk_that_cannot_be_read_is_reported() -> None:
    """A descriptor that cannot be read is a Storage error with its reason."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(Storage, match="cannot be read: "):
            FileBytes(reading).read_at(0, 1)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_that_cannot_be_looked_at_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system, whose server may fail after the file was opened."""
    (tmp_path / NAME).write_bytes(b"0123456789")
    before = os.listdir("/proc/self/fd")
    with open_directory(str(tmp_path)) as directory, open_file(directory, NAME) as file:
        Refusing(monkeypatch, errno.EIO, "os.fstat")
        with pytest.raises(Storage, match="cannot be looked at: "):
            file.has_changed()
    with pytest.raises(Storage, match="cannot be looked at: "):
        read(tmp_path)
    monkeypatch.undo()
    assert os.listdir("/proc/self/fd") == before


@needs_root
def test_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    """The hint says what to give."""
    (tmp_path / NAME).touch(0o600)
    with open_directory(str(tmp_path)) as directory, as_nobody(), pytest.raises(Storage) as caught:
        open_file(directory, NAME).__enter__()
    assert caught.value.reason == "cannot be opened: Permission denied"
    assert "permission" in caught.value.hint


def test_what_is_gone_has_vanished(tmp_path: Path) -> None:
    """A file, a directory below the root, and the root itself."""
    with pytest.raises(Vanished, match="cannot be opened: No such file or directory"):
        read(tmp_path)
    for root, parts in ((tmp_path, ["a"]), (tmp_path / "a", [])):
        with pytest.raises(Vanished), open_directory(str(root), parts):
            pass


def test_directories_below_a_root_are_opened(tmp_path: Path) -> None:
    """The descriptor is that of the last one, and all are closed."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    with open_directory(str(tmp_path), ["a", "b"]) as directory:
        assert os.fstat(directory).st_ino == os.stat(tmp_path / "a" / "b").st_ino
    assert os.listdir("/proc/self/fd") == before


def test_a_link_leads_to_a_root_but_not_below_it(tmp_path: Path) -> None:
    """The user names the root; anybody may have put a link below it."""
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "root").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to("sub")
    (tmp_path / "real" / "file").touch()
    with open_directory(str(tmp_path / "root"), ["sub"]):
        pass
    before = os.listdir("/proc/self/fd")
    for name in ("link", "file"):
        with pytest.raises(Unsafe, match="stands in the way"), open_directory(str(tmp_path / "root"), [name]):
            pass
    assert os.listdir("/proc/self/fd") == before


def test_looking_up_follows_nothing(tmp_path: Path) -> None:
    """A link is a link, and nothing is None."""
    (tmp_path / "link").symlink_to("nowhere")
    with open_directory(str(tmp_path)) as directory:
        assert status_of(directory, "absent") is None
        link = status_of(directory, "link")
        assert link is not None
        assert stat.S_ISLNK(link.st_mode)
        with pytest.raises(Storage, match="cannot be looked up") as caught:
            status_of(directory, "x" * 300)
        assert "shorten" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOENT, Vanished),
        (errno.ESTALE, Vanished),
        (errno.ELOOP, Unsafe),
        (errno.ENOTDIR, Unsafe),
        (errno.EACCES, Storage),
        (errno.EPERM, Storage),
        (errno.EROFS, Storage),
        (errno.ENOSPC, Storage),
        (errno.EDQUOT, Storage),
        (errno.EIO, Storage),
        (errno.EMFILE, Storage),
        (errno.ENFILE, Storage),
        (errno.EFBIG, Storage),
        (errno.ENAMETOOLONG, Storage),
        (errno.EBUSY, Storage),
        (None, Storage),
    ],
)
def test_every_refusal_of_the_system_has_a_reason_and_a_way_out(
    number: int | None, error: type[SidecarError]
) -> None:
    """The type says who can mend it, the hint how."""
    made = storage_error(OSError(number, "words") if number else OSError("words"), "cannot be tried")
    assert type(made) is error
    assert made.reason.startswith("cannot be tried: ")
    assert made.hint.endswith(".")
    assert ("(dmesg)" in made.hint) == (number in {errno.EBUSY, None})  # there is no better way out
    assert str(made) == made.reason
    made.path = "some/file"
    assert str(made) == f"some/file: {made.reason}"


def test_a_rewritten_file_is_another_version(tmp_path: Path) -> None:
    """By its size, its time, or its place on the disk."""
    path = tmp_path / NAME
    path.write_bytes(b"a")
    os.utime(path, ns=(5, 5))
    first = os.stat(path)
    assert same_version(first, os.stat(path))
    os.utime(path, ns=(5, 6))
    assert not same_version(first, os.stat(path))
    other = tmp_path / "other"
    other.write_bytes(b"a")
    os.utime(other, ns=(5, 5))
    assert not same_version(first, os.stat(other))


def test_an_unknown_kind_of_file_has_a_name() -> None:
    """A sentence can be made about any."""
    assert file_type(stat.S_IFREG) == "a file"
    assert file_type(0) == "something unknown"
