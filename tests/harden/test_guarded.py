"""Commands of a round, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifywrap.harden.guarded import TOO_LONG, run_guarded, see_copies
from notifywrap.harden.trial import Copy
from tests.system.daemons import until


def tag_of(tmp_path: Path) -> str:
    return f"notifywrap-{tmp_path.name}"


# All that it opens to write, by the interpreter's own account (PEP 578).
WATCHED = """
import os, sys
def note(event, args):
    if event in ("open", "tempfile.mkstemp") and (event != "open" or args[2] & os.O_CREAT):
        print(event, args[0], file=sys.stderr)
sys.addaudithook(note)
from notifywrap.harden.guarded import run_guarded
print(run_guarded(["echo", "said"], sys.argv[1]))
"""


def is_alive(pid: str) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_status_and_last_words_of_a_command(tmp_path: Path) -> None:
    assert run_guarded(["sh", "-c", "echo first; echo last >&2; exit 7"], tag_of(tmp_path)) == (
        7,
        "first\nlast\n",
    )


def test_it_makes_no_file(tmp_path: Path) -> None:
    """Who is killed between making and removing one leaves it: `tempfile` tries the directory with
    a file that has a name, even for one that has none."""
    words = [sys.executable, "-B", "-c", WATCHED, tag_of(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(0, 'said\\n')\n", "")


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """`curl` without a time limit against a service that has lost its network."""
    words = ["sh", "-c", "setsid sleep 600 & echo $!; wait"]
    status, out = run_guarded(words, tag_of(tmp_path), limit_s=0.5)
    assert status == TOO_LONG
    until(lambda: not is_alive(out.strip()))


def test_the_limit_holds_for_one_without_an_environment(tmp_path: Path) -> None:
    """By that it is known; but its process group is known as well."""
    words = ["sh", "-c", "exec env -i sleep 600"]
    assert run_guarded(words, tag_of(tmp_path), limit_s=0.3) == (TOO_LONG, "")


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    """It holds stdout, and would meet the next round."""
    status, out = run_guarded(["sh", "-c", "sleep 600 & echo $!"], tag_of(tmp_path))
    assert status == 0
    until(lambda: not is_alive(out.strip()))


def test_a_flood_of_output_is_cut_at_the_front(tmp_path: Path) -> None:
    """The reason is in the last line, and memory is not for all of the others."""
    status, out = run_guarded(["sh", "-c", "yes | head -n 1000000; echo last"], tag_of(tmp_path))
    assert (status, out.splitlines()[-1]) == (0, "last")
    assert len(out) < 100_000


@pytest.mark.skipif(os.geteuid() != 0, reason="mount(2) takes root")
def test_an_exercise_finds_the_copy_where_it_looks_for_the_original(tmp_path: Path) -> None:
    """A socket in /run, or what a dump has left in the state directory; and it changes no real
    data either."""
    real, copy = tmp_path / "real", tmp_path / "copy"
    for each in (real, copy):
        each.mkdir()
        (each / "name").write_text(each.name)
    words = see_copies(f"cat {real}/name; touch {real}/new", [Copy(str(real), str(copy), True)])
    assert run_guarded(words, tag_of(tmp_path)) == (0, "copy")
    assert (copy / "new").exists()
    assert not (real / "new").exists()
