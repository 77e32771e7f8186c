"""Every reason why a run ends has its entry in docs/troubleshooting.md, and every entry its reason."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runner/src/dask_flow"
CHART = ROOT / "charts/dask-flow"
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
# An entry with fewer letters fits anything, so it stands only for a text that has no more itself.
LEAST_LETTERS = 4

# Functions and constants that make a text, or a part of one, which an error is raised with elsewhere.
MAKERS = {
    "clusters/operator_objects.py": {"NOT_INSTALLED"},
    "out_of_memory.py": {"_text", "killed_for_memory"},
    "clusters/run_cluster.py": {"_count", "_still_none", "_unheard", "scheduler_died"},
    "clusters/scheduler.py": {"_changed", "_ended"},
    "clusters/static.py": {"_wait_for_scheduler", "_refused_by_tls", "_not_reached"},
    "clusters/temporary.py": {"wait_for_worker"},
    "dask_commands.py": {"problems", "_bad_amounts", "_problems_of"},
    "errors.py": {"__init__"},
    "graph/model.py": {"_no_graph"},
    "kube_refusals.py": {"refusal_of", "__init__"},
    "not_here.py": {"__init__"},
    "remote/releases.py": {"_why_none", "_elsewhere"},
    "pod_status.py": {"problem", "mount_problem", "refusal", "_ending", "_terminated", "_unscheduled"},
    "run.py": {"_outcome", "_outcome_of"},
    "specs.py": {"_command_line_problems", "__init__"},
    "targets/import_errors.py": {"missing", "_of_dask_flow"},
    "targets/urls.py": {"_reason"},
    "validate.py": {"_missing_rights", "_quota_problems"},
}
# Where an error is raised with a text that was made elsewhere: by one of the above, or by the checks of a spec.
CARRIERS = {
    "clusters/operator_cluster.py: connected",
    "clusters/operator_objects.py: create_cluster",
    "out_of_memory.py: _watch",
    "clusters/run_cluster.py: _lose",
    "clusters/run_cluster.py: cannot_start",
    "graph/model.py: read",
    "remote/releases.py: template_of",
    "specs.py: _checked",
    "specs.py: _parsed",
    "specs.py: read_templates",
    "targets/urls.py: fetch",
    "validate.py: _refused_cluster",
    "validate.py: cluster_problems",
}
# What is in these functions too, and no reason.
NO_REASONS = {
    "the flow succeeded",
    r"cannot import name '(\w+)'",
}
# What begins with punctuation is said behind a reason; what is shorter is a word in one.
LEAST_LETTERS_OF_A_PART = 14


def template(node):
    """Return the text of an expression, with … for what varies; None if it has no text."""
    text = _template(node)
    return text and re.sub("…+", "…", text)


def _template(node):
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{template(left) or '…'}{template(right) or '…'}"
        case ast.Call(func=ast.Attribute(value=text, attr="format")):
            return re.sub(r"\{\w*\}", "…", template(text))
        case ast.Call(func=ast.Name(id="one_line"), args=[text]):
            return template(text)
    return None


@functools.cache
def tree(path):
    return ast.parse((SOURCE / path).read_text(encoding="utf-8"))


def functions(node):
    return [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef)]


def kinds_of_errors():
    """Return the names of DaskFlowError and of all classes below it."""
    classes = [each for path in SOURCE.rglob("*.py") for each in ast.walk(tree(path)) if isinstance(each, ast.ClassDef)]
    bases = {each.name: {getattr(base, "id", "") for base in each.bases} for each in classes}
    kinds: set[str] = set()
    found = {"DaskFlowError"}
    while found - kinds:
        kinds |= found
        found = {name for name, above in bases.items() if above & kinds}
    return kinds - {"NotHere"}  # which is made with a name: its text is in MAKERS


def errors_made():
    """Return where each error is made, and its text; None if that comes from elsewhere."""
    found = set()
    kinds = kinds_of_errors()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        for function in functions(tree(name)):
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Name(id=kind), args=[text]) if kind in kinds:
                        found.add((f"{name}: {function.name}", template(text)))
    return found


def texts(node):
    """Return the texts in this code, but for docstrings and what is logged; a text in an f-string is a part of it."""
    text = template(node)
    if text:
        return {text}
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
            return set()
    inner = ast.iter_child_nodes(node)
    doc = ast.get_docstring(node, clean=False) if isinstance(node, ast.FunctionDef) else None
    return {each for child in inner for each in texts(child) if each != doc}


def parts_made():
    """Return the sentences, and parts of such, in MAKERS."""
    found = set()
    for name, wanted in MAKERS.items():
        code = tree(name)
        named = {each.name: each for each in functions(code)}
        named |= {getattr(each.targets[0], "id", ""): each.value for each in code.body if isinstance(each, ast.Assign)}
        found |= {text for each in wanted for text in texts(named[each])}
    return {text for text in found if " " in text.strip()} - NO_REASONS


def reasons():
    """Return what needs an entry: all that an error is made with, and the longer parts."""
    parts = (text for text in parts_made() if letters(text) >= LEAST_LETTERS_OF_A_PART and text[0] not in " ,;")
    return sorted({text for _, text in errors_made() if text} | set(parts))


def refusals_of_helm():
    """Return the texts that the chart's templates fail with."""
    text = "".join(path.read_text(encoding="utf-8") for path in CHART.rglob("templates/**/*.*"))
    found = re.findall(r'\bfail (?:\(printf )?"((?:[^"\\]|\\.)+)"', text)
    return sorted(re.sub(r"%[vsdq]", "…", each.replace(r"\"", '"').replace(r"\\", "\\")) for each in found)


def letters(text):
    return sum(map(str.isalpha, text))


def entries(heading):
    """Return the code in the first column of the tables below this heading."""
    section = re.search(rf"^## {heading}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    first = re.findall(r"^\| (.*?) \| .* \|$(?!\n\|---)", section, re.MULTILINE)
    return [code for cell in first for code in re.findall(r"`([^`]+)`", cell)]


def fits(entry, reason):
    if letters(entry) < LEAST_LETTERS:
        return entry == reason
    pattern = ".*".join(map(re.escape, entry.split("…")))
    return re.fullmatch(pattern, reason, re.DOTALL) is not None


REASONS, PARTS = reasons(), parts_made()
HEADINGS = ["Bad input", "The cluster could not start", "The cluster was lost", "The flow failed", "Interrupted"]
ENTRIES = [each for heading in HEADINGS for each in entries(heading)]
# Click's own texts, which no code here has.
CLICKS = {"No such option", "Missing argument", "Invalid value for"}


@pytest.mark.parametrize("reason", REASONS)
def test_reason_has_an_entry(reason):
    assert any(fits(entry, reason) for entry in ENTRIES), f"docs/troubleshooting.md has no entry for: {reason}"


@pytest.mark.parametrize("entry", sorted(set(ENTRIES) - CLICKS))
def test_entry_is_of_a_reason(entry):
    assert any(fits(entry, text) for text in {*REASONS, *PARTS}), f"no reason says: {entry}"


def test_every_other_error_passes_on_a_text_that_is_made_in_a_known_place():
    assert {where for where, text in errors_made() if text is None} == CARRIERS


@pytest.mark.parametrize("refusal", refusals_of_helm())
def test_refusal_of_helm_has_an_entry(refusal):
    assert any(fits(entry, refusal) for entry in entries("Helm refuses the values"))


def test_a_new_reason_has_no_entry_by_chance():
    assert not any(fits(entry, "the moon is in the wrong house; wait until …") for entry in ENTRIES)
