"""A unit with its drop-ins merged: what holds in the end, and the line that says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from notifywrap.errors import SpecError
from notifywrap.unitfile.envfile import parse_environment_file
from notifywrap.unitfile.environment import keep_valid, parse_assignments
from notifywrap.unitfile.execline import parse_commands
from notifywrap.unitfile.files import is_utf8, read_file
from notifywrap.unitfile.specifiers import Name, SpecifierError, parse_name, resolve
from notifywrap.unitfile.syntax import Assignment, Outcome, Problem, parse_text
from notifywrap.unitfile.tree import SEARCH_PATH, Tree
from notifywrap.unitfile.values import parse_boolean, parse_span
from notifywrap.unitfile.words import Escapes, split_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.unitfile.execline import Command, ExecLine

__all__ = ["Unit", "load", "load_named", "load_path", "parse_unit"]

# Old names, which systemd still takes.
_OLD = {
    ("Service", "StartLimitInterval"): ("Unit", "StartLimitIntervalSec"),
    ("Unit", "StartLimitInterval"): ("Unit", "StartLimitIntervalSec"),
    ("Service", "StartLimitBurst"): ("Unit", "StartLimitBurst"),
    ("Service", "ReadWriteDirectories"): ("Service", "ReadWritePaths"),
    ("Service", "ReadOnlyDirectories"): ("Service", "ReadOnlyPaths"),
    ("Service", "InaccessibleDirectories"): ("Service", "InaccessiblePaths"),
    ("Service", "MemoryLimit"): ("Service", "MemoryMax"),
}


class Unit:
    """A unit as it holds. All questions are about [Service] unless a section is named.

    name      its name, taken apart
    path      the unit file, as findings call it
    dropins   what was merged into it, in order
    problems  what systemd does not accept in these files
    tree      the file system around it; None when the unit was judged alone
    """

    def __init__(
        self,
        name: Name,
        path: str,
        texts: Iterable[tuple[str, str]],
        tree: Tree | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.tree = tree
        self._own_path = path.removeprefix(tree.root) if tree else path
        self.dropins: list[str] = []
        self.problems: list[Problem] = []
        self._lines: dict[tuple[str, str], list[Assignment]] = {}
        self._exec: dict[Assignment, ExecLine] = {}
        for file, text in texts:
            parsed = parse_text(text, file)
            if file == path:
                self.problems += parsed.problems
            else:
                self.dropins.append(file)
                self.problems += [problem.in_dropin() for problem in parsed.problems]
            for line in parsed.assignments:
                place = _OLD.get((line.section, line.key), (line.section, line.key))
                self._lines.setdefault(place, []).append(line)
                if file != path and _is_exec(line) and self._read_exec(line).is_fatal:
                    break  # systemd reads no further in a drop-in

    def settings(self) -> list[tuple[str, str]]:
        """(section, key) of everything that is set."""
        return list(self._lines)

    def lines(self, *keys: str, section: str = "Service") -> list[Assignment]:
        """Every assignment to any of *keys*, in order."""
        if len(keys) == 1:
            return self._lines.get((section, keys[0]), [])
        # Two names of one thing, such as TimeoutSec=: in the order in which they were read.
        files = {file: number for number, file in enumerate([self.path, *self.dropins])}
        found = [line for key in keys for line in self.lines(key, section=section)]
        return sorted(found, key=lambda line: (files[line.path], line.line))

    def at(self, *keys: str, section: str = "Service") -> Assignment | None:
        """The assignment that counts in the end."""
        lines = self.lines(*keys, section=section)
        return lines[-1] if lines else None

    def text(self, key: str, default: str = "", section: str = "Service") -> str:
        """The last value, specifiers resolved; *default* when it is empty or not set."""
        said = default
        for line in self.lines(key, section=section):
            if not line.value:
                said = default
            for value in self._resolve_each([line.value] if line.value else []):
                said = value
        return said

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """The last value that is one of *choices*: systemd ignores all others."""
        known = set(choices)
        said = [line.value for line in self.lines(key) if line.value in known]
        return said[-1] if said else default

    def flag(self, key: str, section: str = "Service") -> bool:
        """A boolean; false when it is not set."""
        said = [parse_boolean(line.value) for line in self.lines(key, section=section)]
        return ([False] + [each for each in said if each is not None])[-1]

    def span(self, *keys: str, default: float, section: str = "Service") -> float:
        """A time span in seconds, of the last of *keys* that says one."""
        said = [parse_span(line.value) for line in self.lines(*keys, section=section)]
        return ([default] + [each for each in said if each is not None])[-1]

    def items(self, key: str, section: str = "Service") -> list[tuple[str, Assignment]]:
        """The words of a list with the lines they are from, resets applied, specifiers resolved."""
        found: list[tuple[str, Assignment]] = []
        for line in self.lines(key, section=section):
            if not line.value:
                found = []
                continue
            words, _ = split_words(line.value)
            found += [(word, line) for word in self._resolve_each(words)]
        return found

    def words(self, key: str, section: str = "Service") -> list[str]:
        """The words of a list."""
        return [word for word, _ in self.items(key, section)]

    def commands(self, key: str) -> list[tuple[Command, Assignment]]:
        """The commands of an Exec setting that systemd takes; see `exec_problems()`."""
        found: list[tuple[Command, Assignment]] = []
        for line in self.lines(key):
            if not line.value:
                found = []
            found += [(command, line) for command in self._read_exec(line).commands]
        return found

    def exec_problems(self) -> list[Problem]:
        """Command lines that systemd does not take."""
        lines = [line for lines in self._lines.values() for line in lines if _is_exec(line)]
        problems = [self._judge(line) for line in lines]
        return [problem for problem in problems if problem is not None]

    def _read_exec(self, line: Assignment) -> ExecLine:
        if line not in self._exec:
            self._exec[line] = parse_commands(line.value, self.name, self._own_path)
        return self._exec[line]

    def _judge(self, line: Assignment) -> Problem | None:
        """What is wrong with an Exec line, if anything."""
        read = self._read_exec(line)
        if not read.error:
            return None
        outcome = Outcome.PARTLY if read.commands else Outcome.IGNORED
        outcome = Outcome.REFUSED if read.is_fatal else outcome
        said = f"{line.key}=: {read.error}"
        fix = f"write {line.key}=/path/to/program ARGUMENT..., as systemd.service(5) has it"
        problem = Problem(line.path, line.line, said, fix, outcome)
        return problem if line.path == self.path else problem.in_dropin()

    def environment(self) -> tuple[dict[str, str], bool]:
        """(what Environment= and EnvironmentFile= say, is that all?)

        Not all when a file cannot be read here, or is that of an instance and this the template, or
        variables are passed on from the manager.
        """
        env: dict[str, str] = {}
        for line in self.lines("Environment"):
            if not line.value:
                env = {}
            env |= parse_assignments(self._resolve_each(split_words(line.value, Escapes.STRICT)[0]))
        is_of_instances = self.name.instance == "" and any(
            "%" in line.value for line in self.lines("EnvironmentFile")
        )
        is_all = not self.words("PassEnvironment") and not is_of_instances
        version = self.tree.systemd_version() if self.tree else None
        for item, _ in self._environment_files():
            text = self._read(item.removeprefix("-"))
            is_all = is_all and text is not None
            env |= keep_valid(parse_environment_file(text or "", version))
        for name in self.words("UnsetEnvironment"):
            env.pop(name, None)
        return env, is_all

    def _environment_files(self) -> list[tuple[str, Assignment]]:
        """One path a line, not split at spaces."""
        found: list[tuple[str, Assignment]] = []
        for line in self.lines("EnvironmentFile"):
            more = [(path, line) for path in self._resolve_each([line.value])]
            found = [*found, *more] if line.value else []
        return found

    def _read(self, path: str) -> str | None:
        """The variables at *path*; None where that is not known, or the service fails for it."""
        if self.tree is None or any(char in path for char in "*?["):
            return None
        try:
            text = self.tree.read(path)
        except FileNotFoundError:
            return "" if path else None
        except OSError:
            return None
        return None if "\0" in text or not is_utf8(text) else text

    def _resolve_each(self, words: Iterable[str]) -> list[str]:
        """*words* with their specifiers resolved; systemd ignores one that it cannot resolve."""
        found = []
        for word in words:
            try:
                found.append(resolve(word, self.name, self._own_path)[0])
            except SpecifierError:
                pass
        return found


def _is_exec(line: Assignment) -> bool:
    is_command = line.key.startswith("Exec") and line.key not in ("ExecPaths", "ExecSearchPath")
    return line.section == "Service" and is_command


def parse_unit(text: str, name: str = "test.service", path: str = "") -> Unit:
    """A unit from a text, without any drop-ins."""
    return Unit(parse_name(name), path or name, [(path or name, text)])


def load(what: str, root: str = "/") -> Unit:
    """The unit that a user means: a path if there is a slash in it, else a name to look up.

    Raises SpecError when there is no such thing, naming *what*.
    """
    if "/" in what:
        return load_path(what)
    return load_named(what if "." in what else f"{what}.service", root)


def load_named(name: str, root: str = "/") -> Unit:
    """The unit that systemd would load for *name*, drop-ins merged, in the tree below *root*."""
    tree = Tree(root)
    found = tree.find(name)
    paths = [found.fragment, *found.dropins]
    try:
        texts = [(tree.root + path, tree.read(path)) for path in paths]
    except OSError as error:
        raise SpecError(f"{name}: cannot read {error.filename}: {error.strerror}") from None
    return Unit(found.name, texts[0][0], texts, tree)


def load_path(path: str) -> Unit:
    """The unit in the file at *path*, with the drop-ins of the .d directory beside it.

    `x@y.service` is read from `x@.service` where there is no such file. A file that lies in
    systemd's search path is judged together with the system around it.
    """
    name = parse_name(os.path.basename(path))
    file = path
    if not os.path.exists(file) and name.instance:
        file = os.path.join(os.path.dirname(path), name.template)
    beside: dict[str, str] = {}
    for directory in (f"{path}.d", f"{file}.d"):  # of an instance and of its template
        for each in os.listdir(directory) if os.path.isdir(directory) else ():
            if each.endswith(".conf"):
                beside.setdefault(each, f"{directory}/{each}")
    try:
        texts = [(each, read_file(each)) for each in (file, *[beside[n] for n in sorted(beside)])]
    except OSError as error:
        what = path if error.filename == file else error.filename
        raise SpecError(f"{what}: cannot be read: {error.strerror}") from None
    if not texts[0][1]:
        raise SpecError(f"{path}: it is empty, which masks the unit: systemd does not start it")
    directory = os.path.dirname(os.path.abspath(file))
    tree = Tree() if directory in SEARCH_PATH else None
    return Unit(name, file, texts, tree)
