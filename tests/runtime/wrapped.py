"""The wrapper as a real process, with a real target, and a real socket for what it tells systemd.

Nothing here sleeps: it reads a pipe or a socket, or looks again until something is so.
"""

from __future__ import annotations

import atexit
import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self


def _open_to_all() -> tuple[str, Path]:
    """An interpreter and a checkout that other users can read: a clone may lie in root's home."""
    root = Path(__file__).resolve().parents[2]
    if all(parent.stat().st_mode & 0o001 for parent in (root, *root.parents)):
        return sys.executable, root
    copy = Path(tempfile.mkdtemp(prefix="notifywrap-tests-"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    for part in ("notifywrap", "tests/targets"):
        shutil.copytree(root / part, copy / part)
    return os.path.realpath(sys.executable), copy


PYTHON, ROOT = _open_to_all()
TARGETS = ROOT / "tests" / "targets"
LIMIT_S = 20.0  # of every wait: longer than anything takes, shorter than the test's own timeout

# Works from any directory and for any user, installed or not.
START = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.path.append({sysconfig.get_path("purelib")!r})
from notifywrap.cli.__main__ import main
sys.exit(main())
"""

_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS")


def until(look: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Look again and again until *look* returns something true, and return that."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{limit_s:g} s passed without: {what}"
        pause.wait(0.002)
    return seen


def command_line(*words: str, start: str = START) -> list[str]:
    """What runs notifywrap with these arguments; *start* is the Python program that does."""
    return [PYTHON, "-c", start, *words]


def target(name: str, *words: str) -> list[str]:
    """The command of one of the programs in tests/targets."""
    return [PYTHON, "-I", "-S", str(TARGETS / f"{name}.py"), *words]


def clean_environment(**more: str) -> dict[str, str]:
    """Ours, without what is between systemd and a service."""
    ours = {k: v for k, v in os.environ.items() if k not in _OWN and k[:11] != "NOTIFYWRAP_"}
    return ours | more


def status_of(pid: int, field: str) -> str:
    """One line of /proc/PID/status; "" when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.partition(f"\n{field}:\t")[2].partition("\n")[0]


def state_of(pid: int) -> str:
    """The letter that ps(1) shows: R, S, T, Z ...; "" when it is gone."""
    return status_of(pid, "State")[:1]


def is_gone(pid: int) -> bool:
    """Has the process ended? Whoever inherits it may take his time to reap it."""
    return state_of(pid) in ("", "Z", "X")


def sleeper() -> list[str]:
    """A command that sleeps, and that no other test runs: see `running()`."""
    return ["sleep", f"1000.{os.getpid()}{next(_numbers):03}"]


def running(words: Sequence[str]) -> list[int]:
    """The processes that run exactly this command."""
    wanted = b"".join(word.encode() + b"\0" for word in words)
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and Path(f"/proc/{name}/cmdline").read_bytes() == wanted:
                found.append(int(name))
        except OSError:
            pass  # it has ended meanwhile
    return [pid for pid in found if not is_gone(pid)]


_numbers = itertools.count()


class Inbox:
    """What systemd would hear: datagrams on a path, or on an abstract @name."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.heard: list[bytes] = []
        self.stuffed = 0
        self.bind()

    def bind(self) -> None:
        """Be there (again), on a new socket at the same path."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path.replace("@", "\0"))

    def vanish(self) -> None:
        """Be gone: no socket, no file."""
        self.socket.close()
        Path(self.path).unlink()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next(self, limit_s: float = LIMIT_S) -> dict[str, str]:
        """The next datagram, as its assignments."""
        self.socket.settimeout(limit_s)
        datagram = self.socket.recv(65536)
        self.heard.append(datagram)
        return dict(line.partition("=")[::2] for line in datagram.decode().split("\n"))

    def wait(self, key: str, value: str | None = None, limit_s: float = LIMIT_S) -> dict[str, str]:
        """The next datagram that says *key*, with *value* (or with this in it, for a STATUS)."""
        deadline = time.monotonic() + limit_s
        while True:
            message = self.next(max(0.001, deadline - time.monotonic()))
            if key in message and (value is None or value in message[key]):
                return message

    def drain(self) -> list[dict[str, str]]:
        """All that has come and was not read yet."""
        messages = []
        try:
            while True:
                messages.append(self.next(0.0))
        except BlockingIOError:
            return messages

    def stuff(self) -> None:
        """Fill the queue, as when systemd is too busy to read it.

        One sender may reach the limit of its own buffer first (net.unix.max_dgram_qlen is 10 by
        default, and 512 where systemd has booted): it is full when a fresh one cannot send either.
        """
        before = -1
        while self.stuffed > before:
            before = self.stuffed
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                try:
                    while True:
                        sender.sendto(b"X_STUFFED=1", self.path)
                        self.stuffed += 1
                except BlockingIOError:
                    pass


class Wrapped:
    """A running wrapper. Ends with its `with` block, and its target with it."""

    def __init__(
        self,
        command: Sequence[str],
        *options: str,
        inbox: Inbox | None = None,
        watchdog_s: float | None = None,
        env: dict[str, str] | None = None,
        start: str = START,
        **popen: Any,
    ) -> None:
        env = clean_environment() if env is None else dict(env)
        if inbox is not None:
            env["NOTIFY_SOCKET"] = inbox.path
        if watchdog_s is not None:
            env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(
            command_line(*options, "--", *command, start=start), env=env, **streams | popen
        )
        self.pid = self.process.pid
        self.errors = ""
        self._target = 0
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._target == 0 and self.process.poll() is None:
            self._target = next(iter(self.children()), 0)
        for pid in (self._target, self.pid):
            if pid and (pid != self.pid or self.process.returncode is None) and not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    # --- the target ---------------------------------------------------------------------------

    @property
    def target_pid(self) -> int:
        """The target's pid: the wrapper's first child."""
        if not self._target:
            self._target = until(self.children, "a target was started")[0]
        return self._target

    def children(self) -> list[int]:
        """The wrapper's children, oldest first."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(word) for word in text.split()]

    def line(self, limit_s: float = LIMIT_S) -> str:
        """The next line that the target prints; "" at the end."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, f"{limit_s:g} s passed without a line of the target"
            if not (data := os.read(self.process.stdout.fileno(), 65536)):
                break
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def tell(self, line: str) -> None:
        """Write a line to the target's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    # --- the wrapper --------------------------------------------------------------------------

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def end(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the wrapper's end; its returncode as Popen has it: -N for death by a signal."""
        _, errors = self.process.communicate(timeout=limit_s)
        self.errors = (errors or b"").decode(errors="replace")
        return self.process.returncode

    def switches(self) -> int:
        """How often the wrapper has gone to sleep so far: its wake-ups."""
        return int(status_of(self.pid, "voluntary_ctxt_switches"))

    def cpu_s(self) -> float:
        """CPU time that the wrapper has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self) -> int:
        """How many file descriptors the wrapper has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def run(*words: str, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run notifywrap with these arguments to its end."""
    popen = {"env": clean_environment(), "stdin": subprocess.DEVNULL, "timeout": LIMIT_S} | popen
    return subprocess.run(
        command_line(*words), capture_output=True, text=True, check=False, **popen
    )
