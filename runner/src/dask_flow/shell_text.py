"""The text of a shell's `-c`: where it is in a command line, and which words it has."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["index", "tokens"]

SHELLS = {"sh", "ash", "bash", "dash", "ksh", "zsh"}
VALUED = {"--rcfile", "--init-file"}
NESTED = r"[^()]*"
for _ in range(3):  # $(($(nproc) / 2))
    NESTED = rf"(?:[^()]|\({NESTED}\))*"
WORD = "|".join(
    [
        r"\\[^\n]",
        "'[^']*'",
        r"\"(?:\\.|[^\"\\])*\"",
        "`[^`]*`",
        rf"\$\({NESTED}\)",
        r"\$\{[^{}]*\}",
        r"\$(?![({])",
        r"[^\s;&|()<>'\"\\`$]",
    ]
)
TOKEN = re.compile(
    rf"""
    (?:[ \t]|\\\n)*
    (?: (?P<comment> \#[^\n]*)
      | (?P<redirection> \d* (?: &>>? | >> | >\| | [<>]&?) [ \t]* (?:{WORD})+)
      | (?P<word> (?:{WORD})+)
      | (?P<end> [;&|()\n]+)
      | (?P<rest> \Z)
    )""",
    re.DOTALL | re.VERBOSE,
)


def index(texts: Sequence[str]) -> int | None:
    """Return which of the words of a command line is the text of a shell's -c; None if none is."""
    at = next((place for place, text in enumerate(texts) if text.rpartition("/")[2] in SHELLS), len(texts)) + 1
    is_command = False
    while at < len(texts) and texts[at][:1] in {"-", "+"}:
        letters = texts[at][1:] if texts[at][1:2] != "-" else ""
        is_command |= "c" in letters
        at += 2 if "o" in letters.lower() or texts[at] in VALUED else 1  # -o pipefail
    return at if is_command and at < len(texts) else None


def tokens(text: str) -> list[tuple[str, str, str]] | None:
    """Split a text into its tokens; None if it has what is not understood, such as a function or a here-document.

    A token is its kind, itself with the blanks before it, and, of a word, that without quotes. What is between two of
    the kinds `end` and `rest` is one simple command.
    """
    found = []
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if not token or "()" in (token["end"] or ""):
            return None
        at = token.end()
        plain = re.sub(r"\\\n|['\"\\]", "", token["word"] or "")
        found.append((str(token.lastgroup), token[0], plain))
    return found
