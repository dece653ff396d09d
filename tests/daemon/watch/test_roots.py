"""The roots: which directory is at each path, who holds its lock, and what is mounted below it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest
from support import as_nobody, mounted, needs_root

from daemon.watch.roots import UNKNOWN, Mount, Root, Roots, mounts_of, read_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def roots() -> Iterator[Roots]:
    """Yield roots that are closed, twice, at the end."""
    roots = Roots(lambda: [Mount("/", "ext4", "8:1")])
    yield roots
    roots.close()
    roots.close()


def look(roots: Roots) -> Root:
    """Look again, and return the only root."""
    roots.look()
    [root] = roots.found
    return root


def refusal(*paths: Path) -> str:
    """Return why these roots are refused, "" if they are not; none stays locked."""
    roots = Roots()
    refused = roots.use([str(path) for path in paths])
    roots.close()
    assert refused is None or refused.hint
    return refused.obstacle if refused else ""


def taken(path: Path) -> str:
    """Return the words for a root that another service watches."""
    return f"another service watches {path} already"


def test_a_look_finds_which_directory_stands_there(roots: Roots, tmp_path: Path) -> None:
    """No directory, one, another one, none, a file; nothing changes between two looks at the same."""
    path = tmp_path / "root"
    assert roots.use([str(path)]) is None
    missing = look(roots)
    assert (missing.identity, missing.obstacle) == (None, "no such directory")
    path.mkdir()
    first = look(roots)
    assert first == Root(str(path), first.identity, (Mount("/", "ext4", "8:1"),))
    assert roots.usable == [first]
    assert look(roots) == first
    path.rename(tmp_path / "old")
    path.mkdir()
    second = look(roots)
    assert second.identity not in {first.identity, None}
    path.rmdir()
    assert look(roots) == missing
    path.touch()
    assert look(roots) == missing
    assert roots.usable == []


@needs_root
def test_a_root_that_becomes_unreadable_or_readable_has_changed(roots: Roots) -> None:
    """So the watch is made anew, and a sweep follows within seconds."""
    with tempfile.TemporaryDirectory() as path:

        def has_changed(mode: int) -> bool:
            os.chmod(path, mode)
            with as_nobody():
                return roots.look()

        roots.use([path])
        assert [has_changed(mode) for mode in (0o700, 0o700, 0o755, 0o755)] == [True, False, True, False]
        roots.close()


def test_a_root_may_be_a_link(roots: Roots, tmp_path: Path) -> None:
    """The way to a root is followed; pointing it elsewhere is a change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    roots.use([str(link)])
    before = look(roots).identity
    link.unlink()
    link.symlink_to("two")
    assert look(roots).identity not in {before, None}


def test_one_service_a_root(roots: Roots, tmp_path: Path) -> None:
    """The second one is refused until the first one lets go; no file is left."""
    assert roots.use([str(tmp_path)]) is None
    second = Roots()
    refused = second.use([str(tmp_path)])
    assert refused is not None
    assert refused.is_taken
    assert refused.obstacle == taken(tmp_path)
    roots.close()
    assert second.use([str(tmp_path)]) is None
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_another_service_has_is_not_swept(roots: Roots, tmp_path: Path) -> None:
    """It came while nobody held it; a missing one is swept, which tells what is wrong with its path."""
    gone, came = tmp_path / "gone", tmp_path / "came"
    roots.use([str(gone), str(came)])
    came.mkdir()
    other = Roots()
    other.use([str(came)])
    roots.look()
    assert [root.obstacle for root in roots.found] == ["no such directory", taken(came)]
    assert roots.to_sweep == [str(gone)]
    other.close()
    roots.look()
    assert roots.to_sweep == [str(gone), str(came)]


def test_a_lock_is_never_let_go_while_its_directory_stands(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No system call of a second look is about the lock, so nobody can slip in."""
    roots.use([str(tmp_path)])
    monkeypatch.setattr(fcntl, "flock", None)
    monkeypatch.setattr(os, "close", None)
    for _ in range(3):
        assert look(roots).obstacle == ""
    monkeypatch.undo()


def test_a_replaced_root_is_locked_before_the_old_one_is_let_go(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service holds one of the two at every moment."""
    path = tmp_path / "root"
    path.mkdir()
    roots.use([str(path)])
    old = tmp_path / "old"
    path.rename(old)
    path.mkdir()
    free: list[bool] = []
    flock = fcntl.flock

    def observe(descriptor: int, operation: int) -> None:
        other = os.open(old, os.O_RDONLY)
        try:
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        finally:
            os.close(other)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", observe)
    assert look(roots).obstacle == ""
    assert free == [False, False]  # when the new one is locked, and when the old one is about to be let go
    monkeypatch.undo()
    assert refusal(path) == taken(path)
    assert refusal(old) == ""


def test_a_root_that_is_let_go_is_not_held_by_a_worker(roots: Roots, tmp_path: Path) -> None:
    """A process that was forked meanwhile, like a worker, has the descriptor of the lock too."""
    old, path = tmp_path / "old", tmp_path / "root"
    path.mkdir()
    roots.use([str(path)])
    worker = os.fork()
    if worker == 0:
        signal.pause()
        os._exit(0)
    try:
        path.rename(old)
        assert look(roots).obstacle == "no such directory"
        assert refusal(old) == ""
        path.symlink_to(old)
        assert look(roots).obstacle == ""
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_a_removed_root_that_a_mount_still_shows_needs_a_restart(roots: Roots, tmp_path: Path) -> None:
    """The service's sandbox mounts it: a new directory in its place is not seen."""
    path = tmp_path / "root"
    path.mkdir()
    with mounted(tmp_path / "sandbox", "--bind", str(path)) as shown:
        roots.use([str(shown)])
        path.rmdir()
        root = look(roots)
        assert (root.identity, root.obstacle) == (None, "it was removed; a restart watches a new one")
        assert "restart the service" in root.hint
        roots.close()


def test_a_renamed_root_that_a_mount_still_shows_is_reported(tmp_path: Path) -> None:
    """The service's sandbox mounts it: work goes on in it, and a new directory in its place is not seen."""
    path = tmp_path / "root"
    path.mkdir()
    roots = Roots()
    with mounted(tmp_path / "sandbox", "--bind", str(path)) as place:
        roots.use([str(place)])
        before = look(roots).shared
        path.rename(tmp_path / "old")
        root = look(roots)
        assert root.obstacle == ""
        assert f"{place} was renamed to " in root.shared
        assert "/old; restart the service" in root.shared
        (tmp_path / "old").rename(path)
        assert look(roots).shared == before
        roots.close()


def test_fault_53_where_directories_cannot_be_locked_it_does_without(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS wants a writable descriptor for an exclusive lock, which a directory never has."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert roots.use([str(tmp_path)]) is None
    assert look(roots).obstacle == ""


def test_other_roots_lock_what_comes_and_let_go_what_is_no_root_any_more(
    roots: Roots, tmp_path: Path
) -> None:
    """Those that stay are locked all the while; those that go, until the next look."""
    kept, gone, came = (tmp_path / name for name in ("kept", "gone", "came"))
    for path in (kept, gone, came):
        path.mkdir()
    roots.use([str(kept), str(gone)])
    assert roots.use([str(came), str(kept)]) is None
    assert [refusal(path) for path in (kept, gone, came)] == [taken(kept), taken(gone), taken(came)]
    roots.look()
    assert [refusal(path) for path in (kept, gone, came)] == [taken(kept), "", taken(came)]


def test_roots_that_are_refused_change_nothing(roots: Roots, tmp_path: Path) -> None:
    """The present ones stay locked, and nothing of the others does."""
    present, free, theirs = (tmp_path / name for name in ("present", "free", "theirs"))
    for path in (present, free, theirs):
        path.mkdir()
    other = Roots()
    other.use([str(theirs)])
    roots.use([str(present)])
    before = roots.found
    assert roots.use([str(free), str(theirs)]) is not None
    assert roots.found == before
    assert [refusal(path) for path in (present, free)] == [taken(present), ""]
    other.close()


def test_another_name_of_a_root_takes_its_lock_over(roots: Roots, tmp_path: Path) -> None:
    """When the configuration calls the directory by another path from now on."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    roots.use([str(tmp_path / "real")])
    assert roots.use([str(tmp_path / "link")]) is None
    assert look(roots).obstacle == ""
    assert refusal(tmp_path / "real") == taken(tmp_path / "real")


def test_two_names_of_one_directory_and_nested_roots_are_told_as_that(tmp_path: Path) -> None:
    """Through links too; what merely begins alike is apart, and so is what is not there."""
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real-2").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "deep").symlink_to("real/inner")
    real, link, deep, apart, gone, gone_too = (
        tmp_path / name for name in ("real", "link", "deep", "real-2", "gone", "gone-2")
    )
    assert refusal(link, real) == f"{link} is the same directory as {real}"
    assert refusal(real, deep) == refusal(deep, real) == f"{deep} lies inside {real}"
    assert refusal(real, apart, gone, gone_too) == ""


def test_of_two_names_that_come_at_once_one_is_watched(roots: Roots, tmp_path: Path) -> None:
    """They were missing at the start; the one that was watched stays."""
    (tmp_path / "link").symlink_to("real")
    roots.use([str(tmp_path / "real"), str(tmp_path / "link")])
    (tmp_path / "real").mkdir()
    for _ in range(2):
        roots.look()
        assert len(roots.usable) == 1
    (tmp_path / "real").rename(tmp_path / "was-real")
    (tmp_path / "other").mkdir()
    (tmp_path / "real").symlink_to("other")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("was-real")
    roots.look()
    assert len(roots.usable) == 2


def table_of(*mounts: tuple[str, str]) -> list[Mount]:
    """List mounts: where, and of which type; the devices are numbered."""
    return [Mount(where, kind, f"0:{number}") for number, (where, kind) in enumerate(mounts)]


def shared(path: Path, mounts: list[Mount]) -> str:
    """Return why changes below a path may give no event."""
    return Root(str(path), mounts=mounts_of(str(path), mounts)).shared


LOCAL = ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "vfat", "overlay", "fuseblk", "fuse.fuse-overlayfs"]
SHARED = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse", "fuse.sshfs", "fuse.glusterfs"]
LITTLE_KNOWN = ["wekafs", "fuse.grpcfuse", "fakeowner", "pvfs2", "beegfs", "next-years-fs"]


@pytest.mark.parametrize("kind", LOCAL)
def test_a_disk_of_this_machine_is_relied_on(tmp_path: Path, kind: str) -> None:
    """All that goes into it goes through this kernel."""
    assert shared(tmp_path, table_of(("/", kind))) == ""


@pytest.mark.parametrize("kind", SHARED + LITTLE_KNOWN)
def test_fault_52_a_type_that_is_not_known_to_be_local_is_shared(tmp_path: Path, kind: str) -> None:
    """Network file systems, FUSE, and what nobody has heard of."""
    words = shared(tmp_path, table_of(("/", "ext4"), (str(tmp_path), kind)))
    assert f": {kind} is mounted in {tmp_path}" in words


def test_the_mount_of_a_directory_is_the_deepest_above_it_and_the_last_at_its_place(tmp_path: Path) -> None:
    """What is mounted beside it, or on the way and covered, does not count."""
    path = str(tmp_path)
    rows = [("/", "nfs"), (path, "ext4"), (path, "xfs"), (f"{path}-2", "nfs4")]
    assert mounts_of(path, table_of(*rows)) == (Mount(path, "xfs", "0:2"),)


@pytest.mark.parametrize("odd", ["a b", "a\\", "a\n\tb", "a\r\x0b\x85\u2028b", "\udcff"])
def test_what_is_mounted_below_a_root_is_found(tmp_path: Path, odd: str) -> None:
    """Its path has octal escapes; the root may be a link; a sibling with the same start is not below."""
    root, table = tmp_path / odd, tmp_path / "mountinfo"
    root.mkdir()
    (tmp_path / "link").symlink_to(odd)
    escaped = re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", str(root))
    rows = [("/", "ext4"), (f"{escaped}/team\\134a", "nfs4"), (f"{escaped}-2", "cifs")]
    text = "".join(
        f"{30 + number} 1 0:{number} / {where} rw,relatime shared:{number} - {kind} server:/export rw\n"
        for number, (where, kind) in enumerate(rows)
    )
    table.write_text(text, "utf-8", "surrogateescape")
    found = mounts_of(str(tmp_path / "link"), read_mounts(table))
    assert found == (Mount("/", "ext4", "0:0", "/"), Mount(f"{root}/team\\a", "nfs4", "0:1", "/"))


def test_what_cannot_be_known_is_taken_for_shared(tmp_path: Path) -> None:
    """More sweeps than needed harm nobody."""
    assert f": {UNKNOWN} is mounted in {tmp_path}" in shared(tmp_path, read_mounts(tmp_path / "absent"))


def test_the_table_of_this_machine_can_be_read() -> None:
    """Every line of it."""
    own, *below = mounts_of("/", read_mounts())
    assert own.path == "/"
    assert all(mount.kind and mount.path.startswith("/") for mount in below)
