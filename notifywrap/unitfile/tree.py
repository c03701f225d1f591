"""Where systemd finds a unit and its drop-ins (systemd.unit(5)): search path, aliases, masks,
templates. All of it below a root that need not be this machine's."""

from __future__ import annotations

import os
import re

from notifywrap.errors import SpecError
from notifywrap.unitfile.files import read_file
from notifywrap.unitfile.specifiers import Name, parse_name

__all__ = ["SEARCH_PATH", "Found", "Tree"]

# `systemd-analyze unit-paths`, for the system's manager: the first counts most.
SEARCH_PATH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
)
LIBRARIES = ("/usr/lib/systemd", "/lib/systemd", "/usr/lib/x86_64-linux-gnu/systemd")
MOST_LINKS = 40
MOST_PARTS = 1000  # of a path: symlinks may go round in circles


class Found:
    """A unit as it lies on disk.

    name      its main name: an alias has been followed
    fragment  path of the unit file, without the root
    dropins   paths of its drop-ins in the order in which they apply, without the root
    """

    def __init__(self, name: Name, fragment: str, dropins: list[str]) -> None:
        self.name = name
        self.fragment = fragment
        self.dropins = dropins


class Tree:
    """A file system that units lie in, seen through *root*."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        # Since /usr was merged they are the same, and systemd calls it /usr/lib.
        is_merged = os.path.islink(f"{self.root}/lib")
        self._search = [each for each in SEARCH_PATH if not (is_merged and each[:5] == "/lib/")]

    def find(self, asked: str) -> Found:
        """The unit called *asked*. Raises SpecError when there is none, or when it is masked."""
        name, fragment = self._find_fragment(parse_name(asked))
        return Found(name, fragment, self.find_dropins(name, self._aliases(name, asked, fragment)))

    def real(self, path: str) -> str:
        """The path on this machine that *path* leads to, symlinks followed below the root."""
        done: list[str] = []
        rest = path.split("/")[::-1]
        for _ in range(MOST_PARTS):
            if not rest:
                break
            part = rest.pop()
            if part == "..":
                done = done[:-1]
            elif part not in ("", "."):
                here = "/".join([self.root, *done, part])
                if os.path.islink(here):
                    goal = os.readlink(here)
                    done = [] if goal.startswith("/") else done
                    rest += goal.split("/")[::-1]
                else:
                    done.append(part)
        return "/".join([self.root, *done])

    def exists(self, path: str) -> bool:
        """Is there anything at *path*?"""
        return os.path.exists(self.real(path))

    def read(self, path: str) -> str:
        """The text of a file; "" for /dev/null. Raises OSError."""
        here = self.real(path)
        if here == f"{self.root}/dev/null":
            return ""
        return read_file(here)

    def systemd_version(self) -> int | None:
        """The version of the systemd that is installed there, read from its library's name."""
        for directory in LIBRARIES:
            for entry in self.entries(directory):
                found = re.match(r"libsystemd-shared-(\d+)", entry)
                if found:
                    return int(found[1])
        return None

    def _find_fragment(self, name: Name) -> tuple[Name, str]:
        for _ in range(MOST_LINKS):
            path = self._lookup(name.full)
            if not path and name.instance:
                path = self._lookup(name.template)
            if not path:
                raise SpecError(f"{name.full}: there is no such unit{self._where()}")
            goal = self._alias_goal(path)
            if goal == "/dev/null" or (not goal and self._is_empty(path)):
                raise SpecError(f"{name.full}: it is masked by {path}")
            if not goal:
                return name, path
            other = parse_name(goal.rpartition("/")[2])
            if other.instance == "" and name.instance:
                other = parse_name(f"{other.prefix}@{name.instance}{other.suffix}")
            if other.full == name.full or other.suffix != name.suffix:
                return name, path  # linked from elsewhere under its own name
            name = other
        raise SpecError(f"{name.full}: its symlinks go round in circles")

    def _where(self) -> str:
        place = f" below {self.root}" if self.root else ""
        return f" in systemd's search path{place} (for a file write a path with a slash: ./NAME)"

    def _lookup(self, full: str) -> str:
        for directory in self._search:
            if os.path.lexists(f"{self.root}{directory}/{full}"):
                return f"{directory}/{full}"
        return ""

    def _alias_goal(self, path: str) -> str:
        """What the symlink *path* names; "" for none."""
        here = self.root + path
        return os.readlink(here) if os.path.islink(here) else ""

    def _is_empty(self, path: str) -> bool:
        try:
            return os.path.getsize(self.real(path)) == 0
        except OSError:
            return False

    def _aliases(self, name: Name, asked: str, fragment: str) -> list[str]:
        """Further names of the unit: drop-ins for any of them count.

        The template's are an instance's too, unless that has a file of its own.
        """
        found = {asked}
        template = name.template if fragment.endswith(f"/{name.template}") else ""
        for directory in self._search:
            for entry in self.entries(directory):
                if not entry.endswith(name.suffix):
                    continue
                goal = self._alias_goal(f"{directory}/{entry}").rpartition("/")[2]
                if goal == name.full:
                    found.add(entry)
                elif goal and goal == template and name.instance:
                    other = parse_name(entry)
                    if other.instance == "":
                        found.add(f"{other.prefix}@{name.instance}{other.suffix}")
        return sorted(found - {name.full})

    def find_dropins(self, name: Name, aliases: list[str]) -> list[str]:
        """The drop-ins of a unit and its aliases; of one file name the first place counts."""
        directories = [
            f"{directory}/{dropin}"
            for each in (name, *map(parse_name, aliases))
            for directory in self._search
            for dropin in dropin_directories(each)
        ]
        directories += [f"{directory}/{name.suffix[1:]}.d" for directory in self._search]
        chosen: dict[str, str] = {}
        for directory in directories:
            for entry in self.entries(directory):
                if entry.endswith(".conf") and not entry.startswith("."):
                    chosen.setdefault(entry, f"{directory}/{entry}")
        return [chosen[entry] for entry in sorted(chosen)]

    def entries(self, directory: str) -> list[str]:
        """The names in a directory; [] for none."""
        try:
            return os.listdir(self.real(directory))
        except OSError:
            return []


def dropin_directories(name: Name) -> list[str]:
    """`foo-bar@x.service.d`, `foo-bar@.service.d`, `foo-.service.d`, ...: what counts most first.

    Source: systemd.unit(5), and tried: for an instance, both forms of each shortened prefix too.
    """
    found: list[str] = [f"{name.full}.d"]
    if name.instance:
        found.append(f"{name.template}.d")
    shortened = _shorten(name.prefix)
    found += [f"{prefix}{name.suffix}.d" for prefix in shortened]
    if name.instance:
        for prefix in shortened:
            found += [f"{prefix}@{name.instance}{name.suffix}.d", f"{prefix}@{name.suffix}.d"]
    return found


def _shorten(prefix: str) -> list[str]:
    """["foo-bar-", "foo-"] of "foo-bar-baz"."""
    found = []
    while "-" in prefix[:-1]:
        prefix = prefix[: prefix[:-1].rindex("-") + 1]
        if prefix.strip("-"):
            found.append(prefix)
    return found
