"""Make the screenshots of the documents: a sweep and a service on a terminal, a page, and an index on GitHub.

    python docs/screenshots.py [pages | service]

Needs tmux and chromium, and of the extra ``dev`` cmarkgfm.  The pictures are made from a real sweep in a real
terminal, and from its real pages; they replace those beside this file.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Final

import cmarkgfm
import numpy as np

DOCS: Final = Path(__file__).resolve().parent
CHECKOUT: Final = DOCS.parent
COLUMNS: Final = 100
PROGRAM: Final = str(Path(sys.executable).with_name("generation-sidecars"))
COLOURS: Final = {"31": "#ff7b72", "33": "#e3b341", "32": "#7ee787"}
TERMINAL_STYLE: Final = """
body { margin: 0; background: #0d1117; }
pre { margin: 18px; color: #e6edf3; font: 14px/1.35 "DejaVu Sans Mono", monospace; }
"""
PAGE_STYLE: Final = """
body { margin: 28px 36px; color: #1f2328; font: 15px/1.5 "DejaVu Sans", sans-serif; }
h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em; }
hr { border: 0; height: 3px; background: #d1d9e0; }
pre { background: #f6f8fa; padding: 12px; font: 13px/1.4 "DejaVu Sans Mono", monospace; }
table { border-collapse: collapse; font-size: 13px; }
td, th { border: 1px solid #d1d9e0; padding: 5px 10px; }
a { color: #0969da; text-decoration: none; }
blockquote { margin: 0 0 16px; padding: 0 1em; border-left: 4px solid #d1d9e0; color: #59636e; }
code { background: #f6f8fa; font: 13px/1.4 "DejaVu Sans Mono", monospace; }
"""
CONFIG: Final = """
[sidecars]
summary = true
links = true
pairs = true

[index]
enabled = true
"""
DARK_STYLE: Final = """
body { background: #0d1117; color: #e6edf3; }
h1, h2, hr, td, th { border-color: #3d444d; }
hr { background: #3d444d; }
pre, code { background: #151b23; }
blockquote { border-color: #3d444d; color: #9198a1; }
a { color: #4493f8; }
"""
ANSWERS: Final = (
    "Three animals come to mind:\nA. a red panda\nB. an otter\nC. a heron",
    "# Red pandas\n\n**Size:** about 60 cm.\n\n1. They eat bamboo.\n2. They sleep in trees.",
    '<think>The user wants code.</think>\n\n```python\ndef animal() -> str:\n    return "otter"\n```',
    "| animal | legs |\n| --- | ---: |\n| otter | 4 |\n| heron | 2 |",
    "The mean length is $\\bar{x} = \\frac{1}{n}\\sum_i x_i$.",
    "الباندا الأحمر حيوان صغير يعيش في الأشجار.",
    "Sure! Here is the program:\n\n```c\nint main(void) {\n    return 0;",
    "",
)
ANIMALS: Final = ("A red panda.", "An otter, of course!", "", "A heron.\n\n# Why?\n\nIt stands so still.")


def make_tree(root: Path) -> None:
    """Save what an evening of experiments leaves: sound caches, a broken one, and one that is no text."""
    for number in range(6000):
        model = ("gemma-2-27b", "llama-3-70b", "mistral-7b")[number % 3]
        directory = root / "experiments" / model / "generations" / f"prompt{number % 7}" / "animals"
        directory.mkdir(parents=True, exist_ok=True)
        stem = directory / f"n{40 + number}_t1.0_maxtok100"
        completions = [ANIMALS[position % len(ANIMALS)] for position in range(40)]
        full_texts = [f"Name an animal that you like ({number}): {text}" for text in completions]
        for kind, texts in (("completions", completions), ("full_texts", full_texts)):
            np.save(f"{stem}_{kind}.npy", np.array(texts, dtype=object), allow_pickle=True)
        when = f"2026-01-{1 + number % 28:02d} 02:52:15"
        Path(f"{stem}_metadata.json").write_text(f'{{"model_name": "{model}", "timestamp": "{when}"}}')
    answers = root / "experiments/gemma-2-27b/generations/prompt0/animals/n8_t1.0_maxtok100"
    full_texts = np.array([f"Name an animal. {text}" for text in ANSWERS], dtype=object)
    np.save(f"{answers}_completions.npy", np.array(ANSWERS, dtype=object), allow_pickle=True)
    np.save(f"{answers}_full_texts.npy", full_texts, allow_pickle=True)
    run = {"model_name": "gemma-2-27b", "timestamp": "2026-01-31 02:52:15", "temperature": 1.0, "seed": 7}
    Path(f"{answers}_metadata.json").write_text(json.dumps(run))
    (root / "experiments/gemma-2-27b/cut_completions.npy").write_bytes(b"\x93NUMPY")
    np.save(root / "experiments/gemma-2-27b/ids_completions.npy", np.arange(9))
    (root / "my.toml").write_text(CONFIG)


def tmux(*words: str) -> str:
    """Run tmux on a server of our own."""
    return subprocess.run(
        ["tmux", "-L", "screenshots", *words], check=True, capture_output=True, text=True
    ).stdout


def look_until(words: str, looks: list[str]) -> None:
    """Look again and again until the terminal shows these words; keep the looks."""
    deadline = time.monotonic() + 120
    while words not in (looks[-1] if looks else ""):
        if time.monotonic() > deadline:
            raise TimeoutError(looks[-1])
        time.sleep(0.05)
        looks.append(tmux("capture-pane", "-e", "-p"))


def sweep_in_a_terminal(root: Path) -> list[str]:
    """Type the sweep, look while it works and when it is done; return both looks."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = f"env PATH={shlex.quote(path)} PS1='$ ' bash --norc"
    tmux("new-session", "-d", "-x", str(COLUMNS), "-y", "26", "-c", str(root), shell)
    try:
        look_until("$", [])
        tmux("send-keys", "generation-sidecars --backfill --config my.toml", "Enter")
        looks: list[str] = []
        look_until("It took", looks)
    finally:
        tmux("kill-server")
    working = [look for look in looks if re.search(r" [4-9]\d%", look)]
    return [working[0] if working else "", looks[-1]]


def terminal_html(look: str) -> str:
    """Turn what tmux shows into HTML; of the colours, those that we use."""
    text = html.escape(look.rstrip())
    coloured = re.sub(
        r"\x1b\[(\d+)m(.*?)(?=\x1b\[)",
        lambda found: f'<span style="color: {COLOURS.get(found[1], "inherit")}">{found[2]}</span>',
        text,
        flags=re.DOTALL,
    )
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    return f"<style>{TERMINAL_STYLE}</style><pre>{plain}</pre>"


def page_html(page: str, style: str = "") -> str:
    """Render a page as GitHub's own parser does."""
    options = cmarkgfm.Options.CMARK_OPT_UNSAFE
    body = cmarkgfm.github_flavored_markdown_to_html(page, options).replace("<details>", "<details open>", 1)
    return f"<meta charset=utf-8><style>{PAGE_STYLE}{style}</style>{body}"


def shoot(markup: str, name: str, width: int, height: int) -> None:
    """Have a browser draw it."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "page.html")
        source.write_text(f"<!doctype html><meta charset=utf-8>{markup}", encoding="utf-8")
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={directory}/profile", f"--window-size={width},{height}",
                f"--screenshot={DOCS / name}", source.as_uri(),
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
    print(DOCS / name)


def make_service_tree(root: Path) -> None:
    """Lay out five roots: 100,000 sources, failures of three kinds in two, nothing, and one missing."""
    for name in ("alice", "bob/llama-3-70b", "carol/mistral-7b", "dave"):
        (root / "data" / name).mkdir(parents=True)
    bob, carol = root / "data/bob/llama-3-70b", root / "data/carol/mistral-7b"
    np.save(bob / "cut_completions.npy", np.array(["x" * 9000] * 9))
    os.truncate(bob / "cut_completions.npy", 20_000)
    np.save(bob / "odd_full_texts.npy", np.array([Path], dtype=object), allow_pickle=True)
    np.save(carol / "n5_completions.npy", np.array(["a", "b"]))
    (carol / "n5_completions.md").mkdir()
    for number in range(40):
        np.save(carol / f"ids{number}_completions.npy", np.arange(9))
    for path in root.rglob("*.npy"):
        os.utime(path, (1.7e9, 1.7e9))
    for number in range(100):
        directory = root / f"data/alice/gemma-2-27b/generations/prompt{number}/animals"
        directory.mkdir(parents=True)
        np.save(directory / "n0_completions.npy", np.array(ANIMALS))
    subprocess.run([PROGRAM, "--backfill", "--formats", "md", root / "data/alice"], check=True, stderr=-3)
    for path in list((root / "data/alice").rglob("n0_*")):
        for other in range(1, 1000):
            os.link(path, path.with_name(path.name.replace("n0_", f"n{other}_")))


def service_in_a_terminal(root: Path) -> tuple[str, str]:
    """Watch the roots where the kernel allows 30 watches; return the log and what --status shows."""
    (root / "run").mkdir(mode=0o700)
    roots = [str(root / "data" / name) for name in ("alice", "bob", "carol", "dave", "erin")]
    watch = [PROGRAM, *roots, "--formats", "md", "--log-level", "warning", "--log-format", "console"]
    limited = f"echo 30 > /proc/sys/user/max_inotify_watches; exec {shlex.join(watch)}"
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(root / "run")}
    status = ["unshare", "-Ur", PROGRAM, "--status"]
    with (root / "log").open("w") as log:
        service = subprocess.Popen(["unshare", "-Ur", "sh", "-c", limited], env=environment, stderr=log)
        try:
            shown, deadline = "", time.monotonic() + 900
            while "sources      100,0" not in shown or "none yet" in shown:
                if time.monotonic() > deadline:
                    raise TimeoutError(shown)
                time.sleep(2)
                shown = subprocess.run(
                    status, env=environment, capture_output=True, text=True, check=False
                ).stdout
        finally:
            service.terminate()
            service.wait()
    return (root / "log").read_text().replace(str(root), ""), shown.replace(str(root), "")


def shoot_service() -> None:
    """Make the pictures of a service."""
    with tempfile.TemporaryDirectory() as directory:
        make_service_tree(Path(directory))
        log, status = service_in_a_terminal(Path(directory))
    wrapped = "\n".join(textwrap.fill(line, 118, subsequent_indent="    ") for line in log.splitlines())
    shoot(terminal_html(f"$ generation-sidecars --status\n{status}"), "status.png", 760, 920)
    command = '$ journalctl -u generation-sidecars -p warning -o cat     # log.format = "console"'
    shoot(terminal_html(f"{command}\n{wrapped}"), "log.png", 1060, 310)


def shoot_pages() -> None:
    """Make the pictures of a sweep, of a page in both colours, and of an index."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_tree(root)
        working, done = sweep_in_a_terminal(root)
        shoot(terminal_html(f"{working.rstrip()}\n\n{done}"), "terminal.png", 900, 560)
        page = root / "experiments/gemma-2-27b/generations/prompt0/animals/n8_t1.0_maxtok100_completions.md"
        text = page.read_text("utf-8")
        shoot(page_html(text), "page.png", 880, 1900)
        shoot(page_html(text, DARK_STYLE), "page-dark.png", 880, 1900)
        index = "\n".join((root / "experiments/generations.md").read_text("utf-8").splitlines()[:22])
        shoot(page_html(index), "index.png", 952, 620)


def main() -> None:
    """Make those that are asked for, or all."""
    makers = {"pages": shoot_pages, "service": shoot_service}
    for name in sys.argv[1:] or makers:
        makers[name]()


if __name__ == "__main__":
    main()
