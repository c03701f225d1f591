"""The file of --config: the options in TOML."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.config import make_spec
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.cli.settings import settle
from notifywrap.cli.tomlfile import read_config
from notifywrap.errors import SpecError
from notifywrap.policy.probe import HttpProbe, TcpProbe
from tests.runtime.wrapped import clean_environment, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from notifywrap.policy.spec import Spec

    Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the file; returns its path."""

    def write(text: str) -> str:
        (tmp_path / "service.toml").write_text(text)
        return str(tmp_path / "service.toml")

    return write


def spec(path: str, *words: str) -> Spec:
    argv = ["--config", path, *words, "--", "daemon"]
    return make_spec(settle(parse_arguments(argv, OPTIONS), {})[0], None)


def refusal(path: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec(path)
    assert path in str(caught.value)
    assert caught.value.exit_status == 2
    return str(caught.value).replace(path, "FILE")


def test_keys_are_the_options_without_dashes(write: Write) -> None:
    """One name for one thing, on the command line, in the environment and here."""
    read = spec(
        write('period = "1min"\ntimeout = 2\nstable-for = 0.5\nfail-after = 3\n'
              'map-signal = ["TERM=QUIT", "USR1=0"]\ntarget-notify = "require"\nready = "tcp:80"\n')
    )  # fmt: skip
    assert (read.period_s, read.timeout_s, read.stable_for_s, read.fail_after) == (60, 2, 0.5, 3)
    assert read.signal_map == {15: 3, 10: 0}
    assert read.target_notify.value == "require"
    assert [probe.text for probe in read.ready] == ["tcp:80"]


def test_a_probe_may_have_settings_of_its_own(write: Write) -> None:
    """What the command line cannot say: a token for one URL only."""
    read = spec(
        write(
            """
            http-status = "200"
            [[ready]]
            probe = "http://127.0.0.1:1/a"
            http-header = ["X-Token: secret"]
            http-status = "204"
            [[ready]]
            probe = "tcp:80"
            [[live]]
            probe = "https://127.0.0.1:2/b"
            tls-insecure = true
            """
        )
    )
    first, second = read.ready
    assert isinstance(first, HttpProbe)
    assert isinstance(second, TcpProbe)
    assert (first.headers, first.statuses) == ((("X-Token", "secret"),), ((204, 204),))
    (live,) = read.live
    assert isinstance(live, HttpProbe)
    assert (live.headers, live.statuses) == ((), ((200, 200),)), "what holds for all probes"
    assert live.tls is not None
    assert not live.tls.verify


def test_files_lie_beside_the_file(write: Write, tmp_path: Path) -> None:
    """Whoever moves /etc/service moves all of it; the working directory has nothing to do with
    it."""
    read = spec(write('probe = "https://127.0.0.1:1/"\ntls-insecure = true\npidfile = "run/pid"\n'))
    assert read.pidfile == f"{tmp_path}/run/pid"
    read = spec(write('pidfile = "/run/pid"\n'))
    assert read.pidfile == "/run/pid"


def test_a_list_on_the_command_line_replaces_the_one_in_the_file(write: Write) -> None:
    """Also with the settings that its probes had."""
    path = write('[[probe]]\nprobe = "http://127.0.0.1:1/"\nhttp-status = "204"\n')
    read = spec(path, "--probe", "http://127.0.0.1:2/")
    (probe,) = read.ready
    assert isinstance(probe, HttpProbe)
    assert (probe.text, probe.statuses) == ("http://127.0.0.1:2/", ((200, 399),))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('perod = "2s"', "FILE: unknown key 'perod' (did you mean period?)"),
        ('config = "x"', "FILE: unknown key 'config'"),
        ("period = [1, 2]", "FILE: period: takes one value, not 2"),
        ("period = true", "FILE: period: must be text or a number"),
        ("period = 1979-05-27", "FILE: period: must be text or a number"),
        ("period = -1", "FILE: period: '-1' is not a time span"),
        ('tls-insecure = "yes"', "FILE: tls-insecure: must be true or false"),
        ("probe = 8080", "FILE: probe: needs a probe as text"),
        ('probe = ["tcp:80", "nonsense"]', "FILE: probe[2]: unknown probe 'nonsense'"),
        ('[[ready]]\nhttp-status = "200"', "FILE: ready[1]: needs a probe as text"),
        ('[[ready]]\nprobe = "tcp:80"\nperiod = 1', "FILE: ready[1]: unknown key 'period'"),
        ('[[ready]]\nprobe = "tcp:80"\nhttp-stats = 1', "(did you mean http-status?)"),
        ('[[ready]]\nprobe = "http://x.invalid:80/"', "FILE: ready[1]: cannot resolve"),
        ('[[ready]]\nprobe = "http://127.0.0.1/"\nhttp-status = "2"',
         "FILE: ready[1].http-status: '2'"),
        ('[[ready]]\nprobe = "tcp:80"\nhttp-status = "200"', "FILE: ready[1].http-status: "),
        ("\nperiod = x", "FILE: Invalid value (at line 2, column 10)"),
        ('period = "1s"\nperiod = "2s"', "FILE: Cannot overwrite a value"),
        ("a = " + "[" * 5000, "FILE: "),
        ("period = '\x00'", "FILE: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_file_and_key(write: Write, text: str, says: str) -> None:
    """A sysadmin opens the file at that place."""
    assert says in refusal(write(text))


def test_a_file_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    """The settings that somebody counts on would be missing."""
    assert "cannot read" in refusal(str(tmp_path / "nothing.toml"))
    assert "directory" in refusal(str(tmp_path)).lower()


def test_it_is_latin_nowhere(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    path = tmp_path / "service.toml"
    path.write_bytes(b'http-body = "\xe4"\n')
    assert "can't decode" in refusal(str(path))


def test_without_a_child_it_is_read_all_the_same(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LimitNPROC=1, or a jail: the memory is all that is lost."""

    def fork() -> int:
        raise BlockingIOError

    path = write('period = "2s"\n')
    monkeypatch.setattr(os, "fork", fork)
    assert read_config(path)[0] == {"--period": ["2s"]}


def test_the_wrapper_reads_it_before_anything_starts(write: Write) -> None:
    """And what cannot be read starts nothing."""
    path = write('log-level = "error"\n')
    done = run("--config", path, "--", "true", env=clean_environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run("--config", f"{path}x", "--", "touch", f"{path}y", env=clean_environment())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not os.path.exists(f"{path}y")
