"""What systemd-analyze says of a unit, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from notifywrap.harden.scores import measure_exposure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount(2) takes root")

# As systemd-analyze 252: it makes a directory in /tmp, whatever $TMPDIR says.
FAKE = """\
#!/bin/sh
mkdir "/tmp/$(cat "$4")"
echo "→ Overall exposure level for x.service: 1.5 OK"
"""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_a_score_is_that_of_the_text(tmp_path: Path) -> None:
    """0 is tight, and a unit without a sandbox is wide open."""
    text = "[Service]\nExecStart=/bin/sleep 1\n"
    tag = f"notifywrap-{tmp_path.name}"
    bare = measure_exposure("x.service", text, tag)
    private = measure_exposure("x.service", f"{text}PrivateNetwork=yes\n", tag)
    if bare is None or private is None:
        pytest.skip("systemd-analyze cannot judge files here (systemd 250 can)")
    assert 9.0 < private < bare < 10.0


def test_nothing_of_it_is_left_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cleans up, unless it is killed, as it is with harden."""
    name = f"notifywrap-{tmp_path.name}"
    with tempfile.TemporaryDirectory(dir="/run") as home:  # it does not see what is in /tmp
        fake = Path(home) / "systemd-analyze"
        fake.write_text(FAKE)
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
        assert measure_exposure("x.service", f"{name}-left", name) == 1.5
    assert not (Path("/tmp") / f"{name}-left").exists()
