"""Which values the chart's templates use, read from their text."""

import re

ACTION = re.compile(r"\{\{-?\s*(?P<text>.*?)\s*-?\}\}", re.DOTALL)
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/', re.DOTALL)
PATH = re.compile(r"(?<![\w.)])(?P<root>\$\w*|)(?P<keys>(?:\.\w+)+)")
BLOCK = re.compile(r"(?P<word>if|with|range|define|else|end)\b\s*(?P<rest>.*)", re.DOTALL)
# What templates hand to each other, and what it is of the values.
HANDED = {
    "group": [("static", "worker")],
    "of": [("static", "worker"), ("static", "scheduler")],
    "service": [("static", "service"), ("static", "dashboard", "service")],
    "monitor": [("metrics", "serviceMonitor"), ("metrics", "podMonitor")],
}
UNKNOWN = None


def used_values(text):
    """Return the paths, as tuples, of all values that a template's text uses, as far as it says which they are.

    Only `with` and `range` change what a dot stands for; what it stands for in a template that is defined is not known.
    """
    used, dots = set(), [UNKNOWN]
    for action in ACTION.finditer(text):
        code = TEXT.sub('""', action["text"])
        block = BLOCK.match(code)
        word = block["word"] if block else ""
        if word == "end":
            dots.pop()
            continue
        if word == "else":
            dots.pop()
            word, code = "if", code.removeprefix("else")
        paths = [path for found in PATH.finditer(code) for path in _paths(found, dots[-1])]
        used.update(paths)
        if word:
            dots.append(_dot(word, block["rest"], paths, dots[-1]))
    return used


def _paths(found, dot):
    keys = tuple(found["keys"].strip(".").split("."))
    if "Values" in keys:
        return [keys[keys.index("Values") + 1 :]]
    if dot is not UNKNOWN and not found["root"]:
        return [dot + keys]
    name, below = (found["root"][1:], keys) if found["root"] else (keys[0], keys[1:])
    return [(*handed, *below) for handed in HANDED.get(name, [])]


def _dot(word, rest, paths, dot):
    if word == "if":
        return dot
    alone = len(paths) == 1 and PATH.fullmatch(rest)
    return paths[0] if word == "with" and alone else UNKNOWN
