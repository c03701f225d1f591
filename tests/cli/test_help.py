"""Help that a sysadmin can read, one screen a topic."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from notifywrap import __version__
from notifywrap.cli.about import TOPICS
from notifywrap.cli.options import OPTIONS
from tests.runtime.wrapped import clean_environment, command_line, run


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_fits_a_screen_and_is_plain_text(topic: str):
    """Nobody scrolls."""
    done = run("--help", *([topic] if topic else []))
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == TOPICS[topic]
    lines = done.stdout.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100
    assert done.stdout.isascii()
    assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_is_found_however_it_is_asked_for(word: str):
    """The first thing anyone types."""
    assert run(word).stdout == TOPICS[""]


@pytest.mark.parametrize("command", ["check", "drill", "harden", "probe", "try", "unit"])
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_a_command_has_help_of_its_own(command: str, word: str):
    """Where one looks for it."""
    done = run(command, word)
    assert (done.stdout, done.returncode) == (TOPICS[command], 0)


def test_the_topics_that_are_named_are_there():
    """A help that points nowhere is worse than none."""
    listed = re.search(r"--help \[(.*?)\]", TOPICS[""], re.DOTALL)
    assert listed
    assert set("".join(listed[1].split()).split("|")) == set(TOPICS) - {""}


def test_an_unknown_topic_says_which_there_are():
    """One line, exit 2, as for any other mistake."""
    done = run("--help", "nonsense")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(topic in done.stderr for topic in TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_option_that_help_mentions_exists(topic: str):
    """Help must not promise what is not built."""
    known = {*OPTIONS, "--help", "--version", "--for", "--watchdog", "--"}
    known |= {"--json", "--lab", "--list", "--max-allowed"}  # of `notifywrap drill`
    known |= {"--copy", "--exercise", "--exercise-timeout", "--max-rounds", "--state"}  # of harden
    known |= {"--force", "--json", "--name", "--output", "--root", "--user"}  # of check and unit
    known |= {"--notify-reload"}  # of unit install
    assert set(re.findall(r"(?<![\w-])--[a-z-]*", TOPICS[topic])) <= known


def test_the_version_is_one_line():
    """What a bug report begins with."""
    done = run("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"notifywrap {__version__}\n", "", 0)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["probe", "file:/"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str]):
    """`notifywrap --help | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command_line(*words), stdout=writer, stderr=subprocess.PIPE, text=True,
        env=clean_environment(), timeout=20, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["probe", "file:/"]])
def test_a_full_disk_does_not_look_like_an_answer(words: list[str]):
    """A script that keeps the answer in a file would go on with an empty one."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command_line(*words), stdout=full, stderr=subprocess.PIPE, text=True,
            env=clean_environment(), timeout=20, check=False,
        )  # fmt: skip
    assert done.stderr == "<3>notifywrap: cannot write to stdout: No space left on device\n"
    assert done.returncode == 125
