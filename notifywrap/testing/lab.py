"""A real systemd in throwaway namespaces, booted in a fraction of a second for tests of services.

    with Lab() as lab:
        lab.install("x.service", "[Service]\\nType=notify\\nExecStart=/usr/bin/my-daemon\\n")
        lab.systemctl("start", "x.service", check=True)
        lab.wait("x.service", ActiveState="active", StatusText="serving")

What is in it: `/` is an overlay of the host's (or of a tree that script/make-rootfs built), writes
are gone with the lab. /run, /tmp, /dev, the journal, the machine-id and the network (loopback only)
are its own; the host's units are not there. The kernel's knobs are read-only.

Mind:
* Host files that change while a lab is up may or may not show up inside: give them as *binds*.
* Through `root` an absolute symlink leads back to the host: write to real paths.
* MainPID and friends are the lab's numbers: send signals with `systemctl kill`.
* DynamicUser= and ProtectHome= keep services from an interpreter below a home directory.
* Limits on memory, CPU and tasks take cgroup v2 controllers that the caller's cgroup hands down; on
  hosts with cgroup v1 there are none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from notifywrap.testing.entered import Entered
from notifywrap.testing.labroot import Bind, LabError, LabUnavailable, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

__all__ = ["Lab", "LabError", "LabUnavailable", "read_unit", "unavailable"]

# Without `site` the keeper starts in half the time, and finds this package wherever we found it.
KEEPER = "; ".join(
    [
        "import sys",
        "sys.path.insert(0, sys.argv[1])",
        "from notifywrap.testing.labkeeper import main",
        "main()",
    ]
)
# Of the caller's environment nothing: a unit test must not pass by a PATH that no service has.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
POLL_S = 0.01  # systemd tells of a property's change on D-Bus alone, which a lab does not have
KEEPER_LIMIT_S = (
    10.0  # to end every process of a lab and remove its cgroup; takes 50 ms on an idle machine
)


def unavailable(rootfs: str | Path = "/") -> str | None:
    """Why no lab can run here, or None when one can: a lab is booted to see.

    Raises LabError when nothing that a lab needs is missing and systemd does not come up.
    """
    try:
        with Lab(rootfs=rootfs):
            return None
    except LabUnavailable as error:
        return str(error)


def read_unit(path: str | Path) -> tuple[str, str]:
    """The name and the text of the unit, or the drop-in, that is in a file.

    Raises LabError when it cannot be read.
    """
    path = Path(path).absolute()
    home = f"{path.parent.name}/" if path.parent.name.endswith(".d") else ""
    try:
        return home + path.name, path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"cannot install {str(path)!r}: {error.strerror}") from None


class Lab:
    """One booted systemd: up on enter, down on exit and when this process ends, however it ends.

    rootfs  the tree to boot: "/" or the root of another Debian release
    binds   host paths to show as they are, `SRC[:DST][:rw]`; read-only unless it says rw
    net     "private" (loopback only) or "host"
    size    the most that all writes below / may take, in tmpfs' words
    """

    def __init__(
        self,
        *,
        rootfs: str | Path = "/",
        binds: Sequence[str | Path] = (),
        net: Literal["private", "host"] = "private",
        size: str = "1G",
        boot_timeout_s: float = 30.0,
    ) -> None:
        assert net in ("private", "host"), f"net is private or host, not {net!r}"
        self._plan = Plan(
            name=f"lab-{os.urandom(4).hex()}",
            owner=os.getpid(),
            rootfs=os.path.realpath(rootfs),
            binds=tuple(_parse_bind(os.fspath(bind)) for bind in binds),
            private_net=net == "private",
            size=size,
            boot_timeout_s=boot_timeout_s,
        )
        self._keeper: subprocess.Popen[str] | None = None
        self._enter: list[str] = []
        self.pid = 0

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    def __repr__(self) -> str:
        return f"<Lab {self._plan.name} of {self._plan.rootfs}, pid {self.pid or 'none: down'}>"

    @property
    def root(self) -> Path:
        """Its / as the host sees it."""
        return Path(f"/proc/{self._live_pid()}/root")

    @cached_property
    def version(self) -> int:
        """systemd's major version in there."""
        said = self.systemctl("--version", check=True).stdout
        found = re.match(r"systemd (\d+)", said)
        assert found, f"`systemctl --version` says {said!r}"
        return int(found[1])

    def up(self) -> Lab:
        """Boot it. Raises LabUnavailable where none can run, LabError when it does not come up."""
        assert self._keeper is None, f"{self!r} is up already"
        nsenter = shutil.which("nsenter")
        if nsenter is None:
            raise LabUnavailable("there is no nsenter here (Debian: apt-get install util-linux)")
        package_home = Path(__file__).resolve().parents[2]
        plan = self._plan._replace(owner=os.getpid())._asdict()
        # A process of its own and not a fork: it must not hold this one's memory, locks and files.
        self._keeper = subprocess.Popen(
            [sys.executable, "-IS", "-c", KEEPER, str(package_home), json.dumps(plan)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            self.pid = _read_report(self._keeper)
        except BaseException:
            self.down()
            raise
        self._enter = [nsenter, "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C", "--"]
        if self._plan.private_net:
            self._enter.insert(-1, "-n")
        return self

    def down(self) -> None:
        """End it with everything in it; returns when nothing is left. May be called twice."""
        keeper, self._keeper = self._keeper, None
        self.pid = 0
        self.__dict__.pop("version", None)
        if keeper is None:
            return
        assert keeper.stdout is not None, "it was started with a pipe"
        keeper.stdout.close()
        keeper.terminate()
        try:
            keeper.wait(KEEPER_LIMIT_S)
        except subprocess.TimeoutExpired:
            keeper.kill()  # the kernel ends the lab then
            keeper.wait()
            raise LabError(
                f"{self!r}: its keeper did not end within {KEEPER_LIMIT_S:g} s. Is there a zombie"
                " that its parent does not reap?"
            ) from None

    def run(
        self,
        *command: str | Path,
        check: bool = False,
        timeout_s: float = 60.0,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002  subprocess.run's word for it
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in there, as root in /; its stdout and stderr come as one text.

        env is added to a small fixed environment. With check, a status other than 0 raises LabError
        with the text. After timeout_s the command and what it started is killed, and
        subprocess.TimeoutExpired raised.
        """
        __tracebackhide__ = True
        process = self.popen(
            *command,
            env=env,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(input, timeout_s)
        except BaseException:
            process.kill_group()
            process.communicate()
            raise
        done = subprocess.CompletedProcess([*map(str, command)], process.returncode, output)
        if check and done.returncode != 0:
            words = " ".join(done.args)
            raise LabError(f"{words!r} ended with {done.returncode} in the lab:\n{output.strip()}")
        return done

    def popen(
        self, *command: str | Path, env: Mapping[str, str] | None = None, **options: Any
    ) -> Entered:
        """Start *command* in there, for clients that live longer; *options* as of subprocess.Popen.

        Its pid is that of nsenter, which mirrors the command's end and leads the process group that
        the command is in; send_signal(), terminate() and kill() reach the command.
        """
        self._live_pid()
        environment = {**ENVIRONMENT, **(env or {})}
        return Entered(
            [*self._enter, *map(str, command)], env=environment, start_new_session=True, **options
        )

    def systemctl(
        self, *arguments: str, check: bool = False, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """`run("systemctl", ...)`."""
        __tracebackhide__ = True
        return self.run("systemctl", *arguments, check=check, timeout_s=timeout_s)

    def install(self, unit: str | Path, text: str | None = None) -> None:
        """Write a unit, or a drop-in (`x.service.d/10.conf`), and have systemd read it.

        With *text* it is called *unit*; without, *unit* is the path of a file out here.
        """
        name, text = read_unit(unit) if text is None else (str(unit), text)
        path = self.root / "etc/systemd/system" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        self.systemctl("daemon-reload", check=True)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """These properties of a unit as `systemctl show` prints them; all when none is named."""
        wanted = [f"--property={name}" for name in properties]
        lines = self.systemctl("show", unit, *wanted, check=True).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def wait(self, unit: str, *, timeout_s: float = 15.0, **wanted: str) -> dict[str, str]:
        """Wait until the unit's properties are as wanted, and return them.

        Raises LabError with what they are instead, and the unit's journal, after timeout_s.
        """
        __tracebackhide__ = True  # pytest then shows the line that has waited
        deadline = time.monotonic() + timeout_s
        while (seen := self.show(unit, *wanted)) != wanted:
            if time.monotonic() > deadline:
                raise LabError(
                    f"{unit}: waited {timeout_s:g} s for {wanted}, still {seen}; its journal:\n"
                    + self.journal(unit)
                )
            time.sleep(POLL_S)
        return seen

    def journal(self, unit: str, *options: str) -> str:
        """What the unit has printed, and systemd about it, as `journalctl` shows it."""
        self.run("journalctl", "--sync", check=True)
        arguments = ("-u", unit, "--no-pager", "-q", "-o", "cat", *options)
        return self.run("journalctl", *arguments, check=True).stdout

    def _live_pid(self) -> int:
        if self._keeper is None or self._keeper.poll() is not None:
            raise LabError(f"{self!r} is not up")
        return self.pid


def _parse_bind(text: str) -> Bind:
    source, *rest = text.split(":")
    writable = rest[-1:] == ["rw"]
    target = rest[0] if len(rest) > writable else source
    return Bind(os.path.realpath(source), os.path.abspath(target), writable)


def _read_report(keeper: subprocess.Popen[str]) -> int:
    assert keeper.stdout is not None, "it was started with a pipe"
    text = keeper.stdout.read()
    try:
        report = json.loads(text)
    except ValueError:
        raise LabError(f"the lab's keeper failed: {text.strip() or 'it was killed'}") from None
    if "error" in report:
        raise (LabUnavailable if report["unavailable"] else LabError)(report["error"])
    return int(report["pid"])
