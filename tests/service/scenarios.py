"""What is tried on a machine with systemd: runs there as root, in order, and writes down how each one went.

It needs Python's standard library only.  ``findings.json`` maps each scenario's name to its seconds and, when
it failed, to the traceback; the tests outside read that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE = Path("/srv/clone")
WHEELS = "/srv/wheels"
FINDINGS = Path("/srv/findings/findings.json")
UNIT = "generation-sidecars.service"
BACKFILL = "generation-sidecars-backfill.service"
DATA = Path("/data/experiments")
HOME = Path('/home/alice/my runs 100% $HOME "x": y')
OTHER = Path("/data/others")
CONFIG = Path("/etc/generation-sidecars/config.toml")
PYTHON = "/opt/generation-sidecars/current/bin/python"
INSTALL = [str(CLONE / "systemd/install"), "--user", "alice", "--group", "lab", "--wheels", WHEELS]
SAVE = """
import numpy, os, sys
os.umask(0o666 & ~int(sys.argv[1], 8))
numpy.save(sys.argv[2], numpy.array(sys.argv[3:], dtype=object))
"""


def run(*words: str | Path, status: int | None = 0) -> str:
    """Run a program, hold it to an exit status, return all it said."""
    answer = subprocess.run(
        [str(word) for word in words],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert status is None or answer.returncode == status, f"{words}: {answer.returncode}\n{answer.stdout}"
    return answer.stdout


def poll(condition: Callable[[], object], what: str, seconds: float = 60.0) -> Any:
    """Ask again and again until the answer is true; return it."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        pause.wait(0.02)  # the outside world has no event to wait for
    return answer


def shown(name: str, unit: str = UNIT) -> str:
    """Ask systemd for one property of a unit."""
    return run("systemctl", "show", "--value", "-p", name, unit).strip()


def main_pid() -> int:
    """Return the process id of the service."""
    return int(shown("MainPID"))


def journal(*options: str, unit: str = UNIT) -> str:
    """Return the messages of a unit."""
    run("journalctl", "--sync")
    return run("journalctl", "-b", "-o", "cat", "-u", unit, *options)


def events(name: str, unit: str = UNIT) -> list[dict[str, Any]]:
    """Return the logged events of one name."""
    lines = [line for line in journal(unit=unit).splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event["event"] == name]


def save(user: str, path: Path, *texts: str, mode: int = 0o640) -> Path:
    """Have a user save an array with numpy, as a generation run does."""
    run("runuser", "-u", user, "--", PYTHON, "-c", SAVE, f"{mode:o}", path, *texts)
    return path


def wait_for_sidecars(source: Path, seconds: float = 60.0) -> None:
    """Wait until both sidecars are there and carry their stamp."""
    stamp = source.stat().st_mtime_ns

    def is_done() -> bool:
        sidecars = [source.with_suffix(suffix) for suffix in (".json", ".md")]
        return all(path.exists() and path.stat().st_mtime_ns == stamp for path in sidecars)

    poll(is_done, f"the sidecars of {source}", seconds)


def identity(path: Path) -> str:
    """Say who owns a file and who may do what."""
    status = path.stat()
    return f"{path.owner()}:{path.group()} {stat.S_IMODE(status.st_mode):o}"


def owner_of(process: Path) -> str | None:
    """Say whose a process is; None when it has just ended."""
    try:
        return process.owner()
    except OSError:
        return None


def files_of_the_machine() -> dict[str, tuple[int, int]]:
    """List every file where an installation could leave something, with inode and time."""
    found = {}
    tops = ("/etc", "/opt", "/usr/local", "/var/lib/systemd", str(CLONE), "/run/systemd/system")
    for top in tops:
        for directory, names, files in os.walk(top):
            names[:] = [name for name in names if name not in {".git", "__pycache__"}]
            for name in [*names, *files]:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                found[path] = (status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns)
    return found


def prepare() -> None:
    """Make two users of one group, a shared directory, and a directory that the service may not see."""
    run("groupadd", "lab")
    for user in ("alice", "bob"):
        run("useradd", "--create-home", "--groups", "lab", user)
        Path("/home", user).chmod(0o700)
    (DATA / "gemma").mkdir(parents=True)
    for path in (DATA, DATA / "gemma"):
        shutil.chown(path, "root", "lab")
        path.chmod(0o2775)
    for path in (OTHER, HOME):
        path.mkdir()
        shutil.chown(path, "alice", "alice")


def refuses_what_cannot_work() -> None:
    """Name every problem before anything is changed: no such user, no directory, not writable, not root."""
    before = files_of_the_machine()
    locked = Path("/data/locked")
    locked.mkdir(mode=0o700)
    words = [CLONE / "systemd/install", "--experiments", "/data/none", "--user", "carol"]
    said = run(*words, status=2)
    assert "no user 'carol'" in said, said
    assert "no directory /data/none" in said, said
    said = run(*INSTALL, "--experiments", locked, status=2)
    assert "/data/locked is not writable by alice" in said, said
    said = run("runuser", "-u", "alice", "--", *INSTALL, "--experiments", DATA, status=2)
    assert "sudo" in said, said
    assert "would build" in run(*INSTALL, "--experiments", DATA, "--dry-run")
    assert files_of_the_machine() == before


def installs_and_waits_until_ready() -> None:
    """One command: the service runs, is enabled, says so in words, and anybody can ask for its status."""
    said = run(*INSTALL, "--experiments", DATA)
    assert "generation-sidecars is running" in said, said
    assert shown("ActiveState") == "active"
    assert run("systemctl", "is-enabled", UNIT).strip() == "enabled"
    poll(
        lambda: "watching: 2 directories, 0 sources, 0 pending, 0 failed" in shown("StatusText"),
        "STATUS=",
        10,
    )
    assert events("service.ready")
    said = run("runuser", "-u", "nobody", "--", "generation-sidecars", "--status")
    assert str(DATA) in said, said
    assert json.loads(run("generation-sidecars", "--status", "--json"))[0]["mode"] == "watching"


def a_second_install_changes_nothing() -> None:
    """Give the same command again: no file is touched, the service runs on."""
    before, pid = files_of_the_machine(), main_pid()
    said = run(*INSTALL, "--experiments", DATA)
    assert "Nothing to change." in said, said
    assert files_of_the_machine() == before
    assert main_pid() == pid


def the_sandbox_scores_as_promised() -> None:
    """Have what runs, drop-in included, show an exposure of at most 0.3."""
    run("systemd-analyze", "security", "--no-pager", "--threshold=3", UNIT)
    run("systemd-analyze", "security", "--no-pager", "--threshold=3", BACKFILL)
    run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}", f"/etc/systemd/system/{BACKFILL}")


def shared_trees_keep_owner_group_and_mode() -> None:
    """Save as another user in a setgid directory: the sidecars get the source's group and mode."""
    for number, mode in enumerate((0o640, 0o664)):
        source = save("bob", DATA / "gemma" / f"n{number}_completions.npy", "Hello", "Grüße", mode=mode)
        wait_for_sidecars(source)
        assert identity(source) == f"bob:lab {mode:o}"
        for suffix in (".json", ".md"):
            assert identity(source.with_suffix(suffix)) == f"alice:lab {mode:o}"
    assert json.loads((DATA / "gemma/n0_completions.json").read_text("utf-8")) == ["Hello", "Grüße"]


def the_journal_has_levels_and_fields() -> None:
    """Log JSON without a prefix, with priorities; so far no errors, although chown is forbidden."""
    assert journal("-p", "warning") == ""
    run("journalctl", "--sync")
    lines = run("journalctl", "-b", "-o", "json", f"_SYSTEMD_UNIT={UNIT}").splitlines()
    records = [json.loads(line) for line in lines]
    written = [record for record in records if '"sidecars.written"' in record["MESSAGE"]]
    assert json.loads(written[0]["MESSAGE"])["records"] == 2
    assert {record["PRIORITY"] for record in written} == {"6"}
    assert {record["SYSLOG_IDENTIFIER"] for record in written} == {"generation-sidecars"}


PROBE = """
import ctypes, json, os, socket, sys
def outcome(attempt, *details):
    try:
        return repr(attempt(*details))
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
def write(path):
    with open(path, "w") as file:
        file.write("x")
places = ["/etc/x", "/usr/x", "/opt/generation-sidecars/x", "/etc/generation-sidecars/config.toml", "/data/x",
          "/data/others/x", "/home/alice/x", "/run/x", "/var/x", "/proc/sys/kernel/core_pattern"]
found = {path: outcome(write, path) for path in places}
found["root"] = outcome(write, sys.argv[1] + "/probe.txt")
found["others"] = outcome(os.listdir, "/data/others")
found["passwd"] = outcome(os.stat, "/etc/passwd")
found["home"] = outcome(os.listdir, "/home/alice")
found["devices"] = sorted(os.listdir("/dev"))
found["internet"] = outcome(socket.create_connection, ("127.0.0.1", 22), 1)
found["chown"] = outcome(os.chown, sys.argv[1] + "/probe.txt", -1, os.getgid())
found["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
found["scheduler"] = os.sched_getscheduler(0)
found["oom"] = open("/proc/self/oom_score_adj").read().strip()
found["ids"] = [os.getuid(), os.getgid()]
libc = ctypes.CDLL(None)
found["io"] = libc.syscall({"x86_64": 252}.get(os.uname().machine, 31), 1, 0) >> 13
sys.stdout.write("probe " + json.dumps(found) + "\\n")
"""


def the_sandbox_holds() -> None:
    """Run a probe under the unit's own directives: it can write experiments only, and reach nothing else."""
    units = Path("/run/systemd/system")
    probe = units / "probe.service"
    source = Path("/etc/systemd/system")
    (DATA / "probe.py").write_text(PROBE)
    probe.write_text((source / BACKFILL).read_text())
    drop_in = (source / f"{BACKFILL}.d/10-installed.conf").read_text()
    drop_in = drop_in[: drop_in.index("ExecStart=")]
    command = f"ExecStart=\nExecStart={PYTHON} -I {DATA}/probe.py {DATA}\n"
    Path(f"{probe}.d").mkdir()
    Path(f"{probe}.d/probe.conf").write_text(drop_in + command)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "probe.service")
    lines = [line for line in journal(unit="probe.service").splitlines() if line.startswith("probe ")]
    found = json.loads(lines[0].partition(" ")[2])
    shutil.rmtree(f"{probe}.d")
    for path in (probe, DATA / "probe.py", DATA / "probe.txt"):
        path.unlink()
    run("systemctl", "daemon-reload")
    written = [path for path, outcome in found.items() if path[0] == "/" and "Error" not in outcome]
    assert written == ["/run/x"], found  # a disk in memory, of the service alone
    assert not Path("/run/x").exists()
    for name in ("others", "passwd", "home", "internet", "chown"):
        assert "Error" in found[name], found
    assert found["root"] == "None", found
    usual = {
        "char",
        "core",
        "fd",
        "full",
        "hugepages",
        "log",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
    }
    usual |= {"stderr", "stdin", "stdout", "tty", "urandom", "zero"}
    assert set(found["devices"]) <= usual, found
    assert (found["nice"], found["scheduler"], found["oom"]) == (19, 5, "1000"), found
    assert found["io"] == 3, found


def a_poison_file_hurts_nobody_else() -> None:
    """Tell what cannot be read with its reason, exit status 1; the service runs on, and others are done."""
    pid = main_pid()
    poison = DATA / "gemma/poison_completions.npy"
    poison.write_bytes(b"no array at all")
    said = poll(
        lambda: "failed   /data" in (text := run("generation-sidecars", "--status", status=None)) and text,
        "it",
    )
    assert "does not begin like an .npy file" in said, said
    run("generation-sidecars", "--status", status=1)
    wait_for_sidecars(save("bob", DATA / "gemma/good_completions.npy", "fine"))
    assert main_pid() == pid
    assert shown("NRestarts") == "0"
    assert "poison_completions" in journal("-p", "err")
    assert "1 failed" in shown("StatusText"), shown("StatusText")
    poison.unlink()


def killed_it_comes_back_and_catches_up() -> None:
    """After kill -9 it is restarted, and does what was saved meanwhile."""
    for number in range(2):
        pid = main_pid()
        os.kill(pid, signal.SIGKILL)
        source = save("bob", DATA / "gemma" / f"killed{number}_completions.npy", "meanwhile")
        wait_for_sidecars(source)
        assert main_pid() not in {0, pid}
    assert shown("StartLimitIntervalUSec") in {"0", "infinity"}, shown("StartLimitIntervalUSec")


def frozen_it_is_restarted_with_a_traceback() -> None:
    """Stop the main process: the watchdog ends it, and the journal shows as an error where it stood."""
    override = Path(f"/run/systemd/system/{UNIT}.d/watchdog.conf")
    override.parent.mkdir(parents=True)
    override.write_text("[Service]\nWatchdogSec=3\nRestartSec=1\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    pid, restarts = main_pid(), int(shown("NRestarts"))
    os.kill(pid, signal.SIGSTOP)
    poll(lambda: int(shown("NRestarts")) > restarts and shown("ActiveState") == "active", "a restart", 30)
    assert main_pid() != pid
    errors = journal("-p", "err")
    assert "Fatal Python error: Aborted" in errors, errors
    assert "daemon/service.py" in errors, errors
    shutil.rmtree(override.parent)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    assert not list(Path("/var/lib/systemd/coredump").glob("*")), "a core dump would hold the texts"


def a_good_configuration_is_reloaded() -> None:
    """`systemctl reload` puts an edited file into force, without a restart."""
    pid, text = main_pid(), CONFIG.read_text()
    CONFIG.write_text(text.replace("# limit = 10", "limit = 1"))
    run("systemctl", "reload", UNIT)
    poll(lambda: events("config.reloaded"), "config.reloaded")
    source = save("bob", DATA / "gemma/limited_completions.npy", "one", "two")
    wait_for_sidecars(source)
    assert "showing first 1 of 2" in source.with_suffix(".md").read_text()
    assert main_pid() == pid
    poll(lambda: shown("ActiveState") == "active", "the end of the reload")


def index_and_metrics_work_under_the_sandbox() -> None:
    """With a directory bound in for node_exporter; the manual and the completions are there for everybody."""
    textfile = Path("/var/lib/node_exporter/generation_sidecars.prom")
    textfile.parent.mkdir()
    shutil.chown(textfile.parent, "alice")
    override = Path(f"/etc/systemd/system/{UNIT}.d/metrics.conf")
    override.write_text(f"[Service]\nBindPaths={textfile.parent}\n")
    before = CONFIG.read_text()
    text = before.replace("enabled = false", "enabled = true")
    CONFIG.write_text(text.replace("# textfile =", "textfile ="))
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    wait_for_sidecars(save("bob", DATA / "gemma/private_completions.npy", "one"))
    wait_for_sidecars(save("bob", DATA / "gemma/listed_completions.npy", "one", "", mode=0o644))
    index = DATA / "generations.md"
    poll(lambda: index.exists() and "gemma/listed_completions.md" in index.read_text(), "the index")
    watching = "generation_sidecars_watching 1.0"
    poll(lambda: textfile.exists() and watching in textfile.read_text(), "metrics")
    assert identity(index) == "alice:lab 644"
    assert "private_completions" not in index.read_text()
    CONFIG.write_text(before)
    override.unlink()
    index.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    for page in ("generation-sidecars.1", "decode-generations.1"):
        assert ".SH SYNOPSIS" in Path("/usr/local/share/man/man1", page).read_text()
    for place in (
        "bash-completion/completions/generation-sidecars",
        "zsh/site-functions/_decode-generations",
    ):
        assert "--dry-run" in Path("/usr/local/share", place).read_text()


def a_bad_configuration_is_rejected() -> None:
    """Fail the reload, log all problems, show them until they are mended; what was in force stays."""
    pid, text = main_pid(), CONFIG.read_text()
    CONFIG.write_text(text.replace("limit = 1", 'limit = "many"\nlimt = 3'))
    try:
        run("systemctl", "reload", UNIT, status=1)
        problems = poll(lambda: events("config.rejected"), "config.rejected")[0]["problems"]
        poll(lambda: "rejected" in run("generation-sidecars", "--status", status=None), "--status")
        run("generation-sidecars", "--status", status=1)
    finally:
        CONFIG.write_text(text.replace("limit = 1", "# limit = 10"))
    assert len(problems) == 2, problems
    assert "config.rejected" in journal("-p", "err")
    source = save("bob", DATA / "gemma/still_limited_completions.npy", "one", "two")
    wait_for_sidecars(source)
    assert "showing first 1 of 2" in source.with_suffix(".md").read_text()
    assert main_pid() == pid
    run("systemctl", "reload", UNIT)
    poll(lambda: "rejected" not in run("generation-sidecars", "--status", status=None), "a mended --status")


def drafts() -> list[Path]:
    """List the files that are in work."""
    return list((DATA / "gemma").glob(".generation-sidecars-*.tmp"))


def it_stops_within_seconds_in_the_middle_of_a_large_file() -> None:
    """Wait for the end of a block only, leave no litter, and take nothing of the user's own along."""
    shared = Path("/dev/shm/a-training-job")
    shared.write_text("of alice")
    shutil.chown(shared, "alice", "lab")
    large = DATA / "gemma/large_completions.npy"
    header = "{'descr': '<U16', 'fortran_order': False, 'shape': (100000000,), }".ljust(117) + "\n"
    with large.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
        file.truncate(file.tell() + 64 * 100_000_000)
    seconds = []
    while not seconds or (seconds[-1] > 5 and len(seconds) < 3):  # again, as the machine may have stood still
        run("systemctl", "start", UNIT)
        poll(lambda: any(path.stat().st_size > 1_000_000 for path in drafts()), "the middle")
        began = time.monotonic()
        run("systemctl", "stop", UNIT)
        seconds.append(time.monotonic() - began)
        assert drafts() == []
    assert seconds[-1] < 5, seconds
    assert shown("Result") == "success"
    assert events("service.stopped")
    assert shared.exists(), "RemoveIPC= would take shared memory from the user's own jobs"
    assert run("generation-sidecars", "--status", status=3)
    large.unlink()
    shared.unlink()


def a_backfill_sweeps_and_tells_by_its_status() -> None:
    """With the service at rest: sidecars appear, progress is in the journal, a failure in the exit status."""
    source = save("bob", DATA / "gemma/old_completions.npy", "from before")
    run("systemctl", "start", BACKFILL)
    wait_for_sidecars(source, 0.1)
    assert shown("Result", BACKFILL) == "success"
    assert events("sweep.finished", BACKFILL)[-1]["rendered"] == 2
    bad = DATA / "gemma/bad_completions.npy"
    bad.write_bytes(b"no array at all")
    os.utime(bad, (1, 1))
    run("systemctl", "start", BACKFILL, status=1)
    assert shown("ExecMainStatus", BACKFILL) == "1"
    assert "bad_completions" in journal("-p", "err", unit=BACKFILL)
    bad.unlink()
    run("systemctl", "reset-failed", BACKFILL)
    run("systemctl", "start", UNIT)


def experiments_in_a_home_work_too() -> None:
    """Another directory, under /home and with an odd name, is taken in; the rest of the home stays unseen."""
    pid = main_pid()
    run(*INSTALL, "--experiments", DATA, HOME)
    assert main_pid() != pid
    wait_for_sidecars(save("alice", HOME / "n1_completions.npy", "at home"))
    wait_for_sidecars(save("bob", DATA / "gemma/both_completions.npy", "and here"))
    list_home = "import os; print(os.listdir('/home/alice'))"
    seen = run("nsenter", "-t", str(main_pid()), "-m", "-r", PYTHON, "-c", list_home)
    assert seen.strip() == repr([HOME.name]), seen
    run("systemctl", "start", BACKFILL)


def an_edited_configuration_is_never_overwritten(tmp: Path = Path("/srv/findings/mine.toml")) -> None:
    """Not by an installation, and not by one that names another file: that is refused."""
    CONFIG.write_text("# edited\n" + CONFIG.read_text())
    tmp.write_text("[sidecars]\nlimit = 3\n")
    text = CONFIG.read_text()
    run(*INSTALL, "--experiments", DATA, HOME)
    said = run(*INSTALL, "--experiments", DATA, HOME, "--config", tmp, status=2)
    assert "never overwritten" in said, said
    assert CONFIG.read_text() == text


def an_upgrade_switches_versions_and_a_broken_one_does_not() -> None:
    """Build the new version beside the old one; one that cannot be built leaves the service as it is."""
    newer = Path("/root/newer")
    shutil.copytree(CLONE, newer)
    command = [newer / "systemd/install", *INSTALL[1:], "--experiments", DATA, HOME]
    (newer / "pyproject.toml").write_text("no project at all")
    pid, version = main_pid(), os.readlink("/opt/generation-sidecars/current")
    said = run(*command, status=1)
    assert "Run the same command again to continue." in said, said
    assert (main_pid(), os.readlink("/opt/generation-sidecars/current")) == (pid, version)
    shutil.copy(CLONE / "pyproject.toml", newer)
    with (newer / "daemon/__init__.py").open("a") as file:
        file.write("# newer\n")
    run(*command)
    current = os.readlink("/opt/generation-sidecars/current")
    assert current != version
    assert main_pid() not in {0, pid}
    assert sorted(os.listdir("/opt/generation-sidecars")) == sorted(["current", "root", current])
    wait_for_sidecars(save("bob", DATA / "gemma/newer_completions.npy", "by the newer one"))
    shutil.rmtree(newer)


def a_user_without_root_can_run_it() -> None:
    """Run the user unit under a user's own service manager: ready, sidecars, status, reload, stop."""
    run("systemctl", "stop", UNIT)
    home = Path("/home/alice")
    (home / "experiments").mkdir()
    (home / ".config/systemd/user").mkdir(parents=True)
    shutil.copy(CLONE / "systemd/user/generation-sidecars.service", home / ".config/systemd/user")
    (home / ".local/share").mkdir(parents=True)
    version = os.readlink("/opt/generation-sidecars/current")
    (home / ".local/share/generation-sidecars").symlink_to(f"/opt/generation-sidecars/{version}")
    run("chown", "-R", "alice:alice", home)
    properties = [
        "User=alice",
        "Delegate=yes",
        "RuntimeDirectory=alice",
        "Environment=XDG_RUNTIME_DIR=/run/alice",
    ]
    manager = "/lib/systemd/systemd" if Path("/lib/systemd/systemd").exists() else "/usr/lib/systemd/systemd"
    run("systemd-run", "--unit=alice", *(f"-p{text}" for text in properties), manager, "--user")
    as_alice = ["runuser", "-u", "alice", "--", "env", "XDG_RUNTIME_DIR=/run/alice"]
    poll(lambda: Path("/run/alice/systemd/private").exists(), "alice's service manager")
    run(*as_alice, "systemctl", "--user", "daemon-reload")
    run(*as_alice, "systemctl", "--user", "start", "generation-sidecars")
    wait_for_sidecars(save("alice", home / "experiments/n1_completions.npy", "by myself"))
    run(*as_alice, "systemctl", "--user", "reload", "generation-sidecars")
    assert "experiments" in run(*as_alice, "generation-sidecars", "--status")
    run(*as_alice, "systemctl", "--user", "stop", "generation-sidecars")
    run("systemctl", "stop", "alice.service")
    run("systemctl", "start", UNIT)


def uninstalling_leaves_configuration_and_nothing_else() -> None:
    """One command: no unit, program, process or failed state stays; a second one has nothing to do."""
    run(str(CLONE / "systemd/install"), "--uninstall")
    left = set(files_of_the_machine()) - set(json.loads(FINDINGS.with_name("before.json").read_text()))
    # directories that others may use by now
    left -= {path for path in left if path.startswith("/usr/local/share/") and Path(path).is_dir()}
    assert left == {"/etc/generation-sidecars", str(CONFIG)}, left
    assert "generation-sidecars" not in run("systemctl", "list-units", "--all", "--plain")
    assert run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""
    assert not Path("/run/generation-sidecars").exists()
    alive = [path for path in Path("/proc").glob("[0-9]*") if owner_of(path) == "alice"]
    assert alive == []
    assert (DATA / "gemma/good_completions.md").exists()
    assert "Nothing to change." in run(str(CLONE / "systemd/install"), "--uninstall")


SCENARIOS: tuple[Callable[[], None], ...] = (
    refuses_what_cannot_work,
    installs_and_waits_until_ready,
    a_second_install_changes_nothing,
    the_sandbox_scores_as_promised,
    shared_trees_keep_owner_group_and_mode,
    the_journal_has_levels_and_fields,
    the_sandbox_holds,
    a_poison_file_hurts_nobody_else,
    killed_it_comes_back_and_catches_up,
    frozen_it_is_restarted_with_a_traceback,
    a_good_configuration_is_reloaded,
    index_and_metrics_work_under_the_sandbox,
    a_bad_configuration_is_rejected,
    it_stops_within_seconds_in_the_middle_of_a_large_file,
    a_backfill_sweeps_and_tells_by_its_status,
    experiments_in_a_home_work_too,
    an_edited_configuration_is_never_overwritten,
    an_upgrade_switches_versions_and_a_broken_one_does_not,
    a_user_without_root_can_run_it,
    uninstalling_leaves_configuration_and_nothing_else,
)


def main() -> None:
    """Run every scenario; write the findings after each, so that a dead machine tells how far it came."""
    findings: dict[str, dict[str, Any]] = {}
    prepare()
    FINDINGS.with_name("before.json").write_text(json.dumps(list(files_of_the_machine())))
    for scenario in SCENARIOS:
        began, error = time.monotonic(), ""
        try:
            scenario()
        except Exception:  # noqa: BLE001  # whatever it is, it is this scenario's finding
            error = traceback.format_exc() + "\n" + tail_of_the_journal()
        seconds = round(time.monotonic() - began, 1)
        findings[scenario.__name__] = {"seconds": seconds, "error": error}
        FINDINGS.write_text(json.dumps(findings, indent=1))


def tail_of_the_journal() -> str:
    """Return what may explain a failure."""
    with contextlib.suppress(Exception):
        return run("journalctl", "-b", "--no-pager", "-n", "60", status=None)
    return ""


if __name__ == "__main__":
    main()
