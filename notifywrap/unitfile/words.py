"""Values that are several words: separators, quotes and escapes as systemd.syntax(7) has them."""

from __future__ import annotations

from notifywrap.lean import Enum

__all__ = [
    "Escapes",
    "WordsError",
    "expand_words",
    "shorten",
    "skip_space",
    "split_words",
    "take_word",
]

WHITESPACE = " \t\n\r"
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip
_CODES = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


LONGEST_SHOWN = 120


class Escapes(Enum):
    """What a backslash is."""

    MEANT = "C-style; one that is not known stays as it is"
    STRICT = "C-style; one that is not known is a mistake"
    KEPT = "a character like others"
    DROPPED = "left out, and what follows stays; a quote without its partner is no mistake then"


class WordsError(ValueError):
    """Words that systemd cannot take apart."""


def split_words(text: str, escapes: Escapes = Escapes.KEPT) -> tuple[list[str], str]:
    """(the words of a list, what is wrong with the next one).

    systemd ignores that and what follows; "" where nothing is wrong.
    """
    words: list[str] = []
    try:
        word, end = take_word(text, 0, escapes)
        while word is not None:
            words.append(word)
            word, end = take_word(text, end, escapes)
    except WordsError as error:
        return words, str(error)
    return words, ""


def take_word(
    text: str, start: int = 0, escapes: Escapes = Escapes.MEANT
) -> tuple[str | None, int]:
    """(the first word from *start* on, where the next one begins); no word: (None, length).

    Escapes that are not known stay as they are. Raises WordsError for a quote without its partner.
    """
    index = skip_space(text, start)
    if index >= len(text):  # beyond, behind a backslash at the end
        return None, index
    pieces, quote = list[str](), ""
    while index < len(text):
        char = text[index]
        index += 1
        if char == "\\" and escapes is not Escapes.KEPT:
            piece, index = _read_escape(text, index, escapes)
            pieces.append(piece)
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char in WHITESPACE:
            return "".join(pieces), skip_space(text, index)
        else:
            pieces.append(char)
    if quote and escapes is not Escapes.DROPPED:
        raise WordsError(f"a {quote} without its partner in {shorten(text[start:])}")
    return "".join(pieces), index


def skip_space(text: str, start: int) -> int:
    """Where what is no space comes next."""
    while start < len(text) and text[start] in WHITESPACE:
        start += 1
    return start


def shorten(text: str) -> str:
    """*text* in quotes, for a message: its beginning where it is long."""
    return repr(text) if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]!r}..."


def _read_escape(text: str, index: int, escapes: Escapes) -> tuple[str, int]:
    kind = text[index : index + 1]
    if escapes is Escapes.DROPPED:
        return kind, index + 1
    meant, end = _unescape(text, index)
    if meant is None and escapes is Escapes.STRICT:
        raise WordsError(f"\\{kind} is no escape (write \\\\ for a backslash)")
    return (f"\\{kind}", index + 1) if meant is None else (meant, end)


def _unescape(text: str, index: int) -> tuple[str | None, int]:
    r"""(what the escape whose backslash stands before *index* means, where it ends); None for one
    that is not known."""
    kind = text[index : index + 1]
    if kind in _SIMPLE and kind:
        return _SIMPLE[kind], index + 1
    if kind in _CODES:
        digits, base = _CODES[kind]
        code, end = text[index + 1 : index + 1 + digits], index + 1 + digits
    else:
        digits, base = 3, 8
        code, end = text[index : index + 3], index + 3
    try:
        number = int(code, base) if len(code) == digits and code.isalnum() else 0
        if number and (base == 16 or number < 256):
            return chr(number), end
    except (ValueError, OverflowError):
        pass  # no number, or none of Unicode
    return None, index


def expand_words(words: list[str], env: dict[str, str]) -> tuple[list[str], list[str]]:
    """(the words that the program gets, variables in them that nothing is known of).

    Source: systemd.service(5), COMMAND LINES: "$FOO" as a word of its own is split, "${FOO}" is
    put in anywhere, "$$" is a dollar.
    """
    found: list[str] = []
    unknown: list[str] = []
    for word in words:
        if word.startswith("$") and word[1:2] not in ("{", "$"):
            name = word[1:]
            if name in env:
                found += split_words(env[name], Escapes.DROPPED)[0]
            else:
                unknown.append(name)
            continue
        found.append(_expand(word, env, unknown))
    return found, unknown


def _expand(word: str, env: dict[str, str], unknown: list[str]) -> str:
    pieces, index = list[str](), 0
    while (dollar := word.find("$", index)) >= 0:
        pieces.append(word[index:dollar])
        index = dollar + 1
        if word.startswith("$", index):
            pieces.append("$")
            index += 1
        elif word.startswith("{", index):
            end = word.find("}", index)
            if end < 0:  # systemd leaves all of it as it is then
                return "".join([*pieces, word[dollar:]])
            name = word[index + 1 : end]
            if name in env:
                pieces.append(env[name])
            else:
                unknown.append(name)
            index = end + 1
        else:
            pieces.append("$")
    return "".join([*pieces, word[index:]])
