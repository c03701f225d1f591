"""Values that are several words: separators, quotes and escapes as systemd.syntax(7) has them."""

from __future__ import annotations

__all__ = ["WordsError", "expand_words", "split_quoted", "split_words", "take_word"]

WHITESPACE = " \t\n\r"
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip
_CODES = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


class WordsError(ValueError):
    """Words that systemd cannot take apart."""


def split_words(text: str) -> list[str]:
    """Words of a list that knows quotes but no escapes, as ReadWritePaths= does."""
    return _split(text, unescape=False)


def split_quoted(text: str) -> list[str]:
    """Words with quotes and C-style escapes, as in Environment=. Raises WordsError."""
    return _split(text, unescape=True)


def _split(text: str, *, unescape: bool) -> list[str]:
    words: list[str] = []
    rest = text
    while True:
        word, rest = take_word(rest, unescape=unescape)
        if word is None:
            return words
        words.append(word)


def take_word(text: str, *, unescape: bool = True) -> tuple[str | None, str]:
    """(first word, what follows it and the space behind it); no word: (None, "").

    Escapes that are not known stay as they are. Raises WordsError for a quote without its partner.
    """
    rest = text.lstrip(WHITESPACE)
    if not rest:
        return None, ""
    word, quote, index = "", "", 0
    while index < len(rest):
        char = rest[index]
        index += 1
        if char == "\\" and unescape:
            piece, index = _unescape(rest, index)
            word += piece
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote = char
        elif char in WHITESPACE:
            return word, rest[index:].lstrip(WHITESPACE)
        else:
            word += char
    if quote:
        raise WordsError(f"a {quote} without its partner in {text!r}")
    return word, ""


def _unescape(text: str, index: int) -> tuple[str, int]:
    r"""(what the escape whose backslash stands before *index* means, where it ends)."""
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
    return f"\\{kind}", index + 1


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
                found += _split_relaxed(env[name])
            else:
                unknown.append(name)
            continue
        found.append(_expand(word, env, unknown))
    return found, unknown


def _split_relaxed(text: str) -> list[str]:
    try:
        return split_words(text)
    except WordsError:
        return text.split()


def _expand(word: str, env: dict[str, str], unknown: list[str]) -> str:
    result, index = "", 0
    while index < len(word):
        if word.startswith("$$", index):
            result += "$"
            index += 2
        elif word.startswith("${", index) and "}" in word[index:]:
            end = word.index("}", index)
            name = word[index + 2 : end]
            if name in env:
                result += env[name]
            else:
                unknown.append(name)
            index = end + 1
        else:
            result += word[index]
            index += 1
    return result
