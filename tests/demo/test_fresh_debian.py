"""The first thing that anybody does here: clone it on a fresh machine and run script/demo."""

from __future__ import annotations

import ast
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TREE = REPOSITORY / ".cache/rootfs/fresh-bookworm"

# Runs in a mount namespace of its own, which ends with it: nothing has to be taken down.
ENTER = r"""
set -eu
mount -t tmpfs -o mode=755 tmpfs "$BOX"
mkdir "$BOX/upper" "$BOX/work" "$BOX/root"
mount -t overlay -o "lowerdir=$TREE,upperdir=$BOX/upper,workdir=$BOX/work" overlay "$BOX/root"
mount -t proc proc "$BOX/root/proc"
mount --rbind /dev "$BOX/root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$BOX/root/tmp"
cat /etc/resolv.conf >"$BOX/root/etc/resolv.conf"
cat /etc/hosts >"$BOX/root/etc/hosts"
cat "$CA" >"$BOX/root/host-ca.crt"
for path in $SHOWN; do
    if [ -d "$path" ]; then
        mkdir -p "$BOX/root$path"
    else
        mkdir -p "$BOX/root${path%/*}"
        : >"$BOX/root$path"
    fi
    mount -o bind,ro "$path" "$BOX/root$path"
done
mkdir "$BOX/root/root/notifywrap"
tar -C "$BOX/root/root/notifywrap" -xf "$SOURCES"
exec chroot "$BOX/root" /bin/sh -c 'cd /root/notifywrap && "$@"' sh "$@"
"""


@pytest.fixture
def fresh_tree() -> Path:
    """Debian 12 with apt, git and python3: made once, some 15 s."""
    if os.geteuid() != 0:
        pytest.skip("making a Debian tree and entering it needs root")
    if not TREE.exists():
        command = [REPOSITORY / "script/make-rootfs", "--fresh", "bookworm", TREE]
        made = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if made.returncode != 0:
            last = (made.stdout.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"no fresh Debian tree to be had: {last}")
    return TREE


@pytest.fixture
def sources(tmp_path) -> Path:
    """What a clone would have, changes that are not committed yet included."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    archive = tmp_path / "sources.tar"
    pack = ["tar", "-cf", archive, "--null", "--ignore-failed-read", "-T", "-"]
    subprocess.run(pack, cwd=REPOSITORY, input=names, check=True)
    return archive


def pip_settings() -> dict[str, str]:
    """How this machine's pip reaches its packages, as environment variables for another pip."""
    lines = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = {}
    for line in lines:
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].upper().replace("-", "_")
        found[f"PIP_{name}"] = " ".join(str(ast.literal_eval(value)).split())
    # The new machine has no certificates at all until it installs them; this one's may be special.
    return {**found, "PIP_CERT": "/host-ca.crt"}


def local_paths(settings: dict[str, str]) -> list[str]:
    """What pip's settings name, a file of constraints for example; of an index (.../simple) its
    parent, with the files."""
    found = set()
    for word in " ".join(settings.values()).split():
        path = Path(word.removeprefix("file://"))
        path = path.parent if path.name == "simple" else path
        if path.is_absolute() and path.exists():
            found.add(str(path))
    return sorted(found)


@pytest.fixture
def run_fresh(fresh_tree, sources, tmp_path):
    """Runs a command in a fresh Debian, in a fresh clone; returns its output as one text."""
    settings = pip_settings()
    proxies = {key: os.environ[key] for key in os.environ if key.lower().endswith("_proxy")}
    box = tmp_path / "box"
    box.mkdir()
    ca = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "/dev/null"
    environment = {
        **settings,
        **proxies,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "BOX": str(box),
        "TREE": str(fresh_tree),
        "SOURCES": str(sources),
        "CA": ca,
        "SHOWN": " ".join(local_paths(settings)),
    }

    def run(*command: str, timeout_s: float) -> str:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--"]
        done = subprocess.run(
            [*unshare, "/bin/sh", "-c", ENTER, "sh", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        print(done.stdout)
        assert done.returncode == 0, f"{command} ended with {done.returncode}"
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux's unshare")
def test_demo_is_all_it_takes(run_fresh):
    """Who has to read before the first success does not come back; a second look must be quick."""
    mark = "-- second time --"
    script = f"script/demo && echo '{mark}' && date +%s && script/demo && date +%s"
    first, _, second = run_fresh("sh", "-c", script, timeout_s=850).partition(mark)
    assert "setup: installing Debian packages: " in first
    for timeline in (first, second):
        for words in (
            "READY=1",
            "WATCHDOG=1",
            "now freezing",
            "watchdog would fire",
            "demo: shown",
        ):
            assert words in timeline
    assert "setup:" not in second
    started, ended = int(second.split()[0]), int(second.split()[-1])
    assert ended - started < 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_setup_says_what_it_cannot_do(run_fresh):
    """On a machine without network, one clear line has to be the last one."""
    broken = "echo 'deb file:///nowhere bookworm main' >/etc/apt/sources.list; script/setup demo"
    said = run_fresh("sh", "-c", f"! ( {broken} )", timeout_s=250)
    assert said.splitlines()[-1].startswith("setup: cannot go on: ")
