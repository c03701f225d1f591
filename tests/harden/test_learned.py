"""What is made of what was seen of a service."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.harden.learned import add_usage, generalise, read_usage
from notifywrap.harden.model import Process, Usage

WRAPPER, TARGET, WORKER, PROBE = 10, 11, 12, 13
PROCESSES = (
    Process(WRAPPER, 1, ("/usr/bin/python3.11",), ("/opt/notifywrap/lib/x.py",)),
    Process(TARGET, WRAPPER, ("/usr/sbin/web",), ("/etc/web/site.conf", "/var/lib/web/data")),
    Process(WORKER, TARGET, ("/usr/bin/convert",), ("/srv/images/one.png",)),
    Process(PROBE, WRAPPER, ("/usr/bin/curl",), ("/etc/curlrc",)),
)
names = st.sampled_from(("etc", "usr", "var", "lib", "srv", "run", "a", "b.c", "x y"))
paths = st.lists(names, min_size=1, max_size=6).map(lambda words: "/" + "/".join(words))


def test_the_targets_own_is_told_from_the_wrappers_and_its_probes() -> None:
    """The jail is around the target alone; the root directory has to hold all of them."""
    usage = read_usage(PROCESSES, WRAPPER, TARGET, without=["/var/lib/web"])
    assert set(usage.own) == {
        *("/etc/web/site.conf", "/srv/images/one.png", "/usr/sbin/web", "/usr/bin/convert"),
    }
    assert {"/opt/notifywrap/lib/x.py", "/usr/bin/curl", "/etc/curlrc"} <= set(usage.opened)
    assert usage.programs == ("/usr/bin/convert",)
    assert usage.forks


def test_a_service_that_is_its_own_main_process_owns_all() -> None:
    usage = read_usage(PROCESSES[1:3], TARGET, TARGET)
    assert "/srv/images/one.png" in usage.own
    assert not read_usage(PROCESSES[1:2], TARGET, TARGET).forks


def test_a_file_stands_for_what_it_belongs_to() -> None:
    """Else the next file of the same application is missing."""
    seen = [
        "/etc/web/conf.d/a.conf",
        "/etc/hosts",
        "/srv/app/venv/lib/x.so",
        "/var/lib/other/deep/f",
    ]
    assert generalise(seen) == ("/etc/hosts", "/etc/web", "/srv/app", "/var/lib/other")


def test_programs_are_named_one_by_one_and_the_kernels_files_never() -> None:
    """A directory of programs is what an intruder looks for; /proc is there anyway."""
    assert generalise(["/usr/bin/a", "/usr/bin/b", "/proc/stat", "/sys/x/y", "/dev/null"]) == (
        "/usr/bin/a",
        "/usr/bin/b",
    )


@given(st.lists(paths, max_size=8))
def test_nothing_needs_quoting_and_nothing_is_everything(seen: list[str]) -> None:
    """It is written into unit files, where blanks and percent signs mean something."""
    for path in generalise(seen):
        assert " " not in path
        assert path not in ("/", "/etc", "/usr", "/var", "/var/lib", "/srv", "/run")


@given(st.lists(paths, max_size=8), st.randoms())
def test_the_order_in_which_files_were_opened_does_not_matter(
    seen: list[str], random: object
) -> None:
    """Threads open them as they come."""
    again = list(seen)
    random.shuffle(again)  # type: ignore[attr-defined]
    assert generalise(again) == generalise(seen)
    one, other = Usage(opened=tuple(sorted(seen))), Usage(opened=tuple(sorted(again[:3])))
    assert add_usage(one, other) == add_usage(other, one)
