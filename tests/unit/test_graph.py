"""`dask-flow graph` and Flow.visualize: what the pictures say, and that other programs can read them."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from dask_flow import Flow, Parameter, flatten, task, unmapped
from dask_flow.errors import InputError
from dask_flow.graph import draw, format_of
from dask_flow.graph.layout import arrange
from dask_flow.graph.model import by_name, read
from dask_flow.targets import load
from dask_flow.tasks.control_flow import case, merge

EXAMPLES = Path(__file__).parents[2] / "examples"
SVG = "{http://www.w3.org/2000/svg}"
NASTY = 'a "b" <i>c</i> & d | e\n日本語 `f` \x00 \\ ]) #35; --> %%'
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@task
def numbers(n):
    return list(range(n))


@task
def add(x, y, unit="m"):
    return x + y


@task
def is_large(values):
    return sum(values) > 3


@task
def report(values):
    return str(values)


@task
def fail_if_odd(x):
    assert x % 2 == 0


def branches():
    with Flow("branches") as flow:
        found = numbers(Parameter("n", default=3))
        sums = add.map(flatten([found, found]), unmapped(2))
        large = is_large(sums)
        with case(large, True):
            long = report(sums)
        with case(large, False):
            short = report(found)
        merge(long, short)
    return flow


def named(name):
    tasks = [report.copy(name=f"{number} {name}") for number in range(2)]
    flow = Flow(name, tasks=tasks)
    tasks[1].bind(values=tasks[0], flow=flow)
    return flow


def thousand_tasks():
    with Flow("thousand") as flow:
        layer = [numbers(each) for each in range(40)]
        for depth in range(24):
            layer = [add(layer[each], layer[(each * 7 + depth) % 40]) for each in range(40)]
        is_large(layer)
    return flow


@pytest.fixture
def no_graphviz(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def parsed(svg):
    return ET.fromstring(svg)  # noqa: S314 - made by this test


def texts(svg):
    return ["".join(each.itertext()) for each in svg.iter(f"{SVG}text")]


def mermaid_nodes(text):
    """The labels of a flowchart's nodes, as Mermaid shows them. Every line must be one of those that are written."""
    head, *lines = text.split("flowchart LR\n")
    assert re.fullmatch(r'---\ntitle: ".*"\n---\n', head)
    node = re.compile(r' {4}t\d+(?:\["([^"]*)"\]|\[\["([^"]*)"\]\]|\(\["([^"]*)"\]\))(?::::\w+)?')
    link = re.compile(r' {4}t\d+ (?:-->|-\.->)(?:\|"[^"|]+"\|)? t\d+')
    style = re.compile(r" {4}classDef \w+ fill:#\w+,stroke:#\w+,color:#\w+")
    found = []
    for line in lines[0].splitlines():
        if match := node.fullmatch(line):
            label = next(each for each in match.groups() if each is not None)
            found.append(re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label))
        else:
            assert link.fullmatch(line) or style.fullmatch(line), line
    return found


class Page(HTMLParser):
    """What a page refers to, and the heads of its table's rows."""

    def __init__(self, text):
        super().__init__()
        self.references, self.rows, self.scripts, self.in_head = [], [], 0, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in {"href", "src", "srcset", "action", "data"}]
        self.scripts += tag == "script"
        self.in_head = ("scope", "row") in attrs

    def handle_data(self, text):
        if self.in_head:
            self.rows.append(text)
        self.in_head = False


def test_mermaid_has_each_task_and_dependency():
    text = draw(branches()).render("mermaid").decode()

    assert mermaid_nodes(text) == [
        "numbers", "n", "add[]", "is_large", "report", "case(True)", "report", "case(False)", "Merge"
    ]  # fmt: skip
    assert '    t0 -.->|"flatten(x)"| t2\n' in text
    assert '    t1 -->|"n"| t0\n' in text
    assert "    t5 --> t4\n" in text


def test_picture_in_the_docs_is_that_of_the_example():
    text = (EXAMPLES.parent / "docs/graph.md").read_text()
    shown = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)[1]

    assert str(draw(load(str(EXAMPLES / "hello.py")).flow)).endswith(f"---\n{shown}")


def test_order_is_not_drawn_beside_an_argument():
    flow = named("twice")
    first, second = flow.tasks
    second.set_upstream(first, flow=flow)

    assert len(flow.edges) == 2
    assert [link.label for link in draw(flow).graph.links] == ["values"]


def test_svg_without_graphviz_has_each_task_and_argument(no_graphviz):
    svg = parsed(draw(branches()).render("svg"))

    assert svg.tag == f"{SVG}svg"
    assert {"numbers", "n", "add[]", "case(True)", "Merge", "flatten(x)", "task_1", "task_2"} <= set(texts(svg))
    assert len([each for each in svg.iter(f"{SVG}path") if "mapped-edge" in each.get("class", "")]) == 1
    assert not list(svg.iter(f"{SVG}a"))


@needs_graphviz
def test_svg_with_graphviz_is_graphvizs():
    content = draw(branches()).render("svg")

    assert b"Generated by graphviz" in content
    assert {"numbers", "add[]", "flatten(x)"} <= set(texts(parsed(content)))


@needs_graphviz
def test_svg_is_drawn_here_if_graphviz_takes_too_long(monkeypatch):
    monkeypatch.setattr("dask_flow.graph.picture.GRAPHVIZ_SECONDS", 0.001)

    assert draw(branches()).render("svg").startswith(b'<svg class="dask-flow"')


@needs_graphviz
def test_dot_is_read_by_graphviz():
    done = subprocess.run(
        ["dot", "-Tplain"], input=draw(named(NASTY)).render("dot"), capture_output=True, check=True, timeout=60
    )

    assert done.stderr == b""
    assert len(re.findall(rb"^node ", done.stdout, re.MULTILINE)) == 2


def test_html_refers_to_nothing_outside_it():
    text = draw(branches()).render("html").decode()
    page = Page(text)

    assert page.references
    assert all(each.startswith("#") for each in page.references)
    assert set(re.findall(r"\w+://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.rows) == 9


def test_html_tells_arguments_defaults_and_triggers():
    text = draw(branches()).render("html").decode()

    assert "<td>x from numbers, y = 2</td>" in text
    assert "<td>not_all_skipped</td>" in text
    assert "<td>3</td>" in text
    assert "all_successful" not in text


def test_names_are_read_back_as_they_were(no_graphviz):
    drawing = draw(named(NASTY))
    plain = NASTY.replace("\n", " ").replace("\x00", r"\x00")
    wanted = [f"0 {plain}", f"1 {plain}"]
    shown = [name if len(name) <= 40 else f"{name[:39].rstrip()}…" for name in wanted]

    assert mermaid_nodes(drawing.render("mermaid").decode()) == shown
    assert [each for each in texts(parsed(drawing.render("svg"))) if "日本語" in each] == shown
    assert [each for each in Page(drawing.render("html").decode()).rows if "日本語" in each] == wanted


def test_script_in_a_name_does_not_run():
    page = Page(draw(named("</script><script>alert(1)</script>")).render("html").decode())

    assert page.scripts == 1


def test_long_name_is_cut_in_the_picture_and_whole_in_the_table():
    text = draw(named("n" * 100)).render("html").decode()

    assert f">0 {'n' * 37}…<" in text
    assert f">0 {'n' * 100}<" in text


def test_constant_that_is_not_simple_is_shown_by_its_type():
    with Flow("constants") as flow:
        add(object(), [1, 2], unit="x" * 100)

    assert draw(flow).graph.nodes[0].details["Arguments"] == f"x = (object), y = (list), unit = '{'x' * 38}…"


def test_drawings_are_the_same_in_each_process():
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); from test_graph import *\n"
        "for each in ('mermaid', 'svg', 'html', 'dot'):\n"
        "    print(hashlib.sha256(draw(branches()).render(each)).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(seen) == 1


def test_thousand_tasks_are_drawn_in_seconds():
    flow = thousand_tasks()
    start = time.perf_counter()
    text = draw(flow).render("html").decode()

    assert text.count('class="node ') == 1001
    assert time.perf_counter() - start < 10  # 0.3 s on an idle core


def test_boxes_do_not_overlap():
    sizes = [(60.0 + each % 7 * 10, 34.0) for each in range(60)]
    layout = arrange(sizes, [(each // 3, each) for each in range(3, 60)], [0.0] * 60)
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.places, sizes, strict=True)]

    assert not [
        (one, other)
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]
    assert min(box[0] for box in boxes) >= 0
    assert min(box[1] for box in boxes) >= 0
    assert max(box[2] for box in boxes) <= layout.width
    assert max(box[3] for box in boxes) <= layout.height


def test_labels_do_not_overlap(no_graphviz):
    with Flow("crowded") as flow:
        first, second = numbers(1), numbers(2)
        for _ in range(3):
            add(first, second)
    svg = parsed(draw(flow).render("svg"))
    places = [(float(each.get("x")), float(each.get("y"))) for each in svg.iter(f"{SVG}text") if each.get("class")]

    assert len(places) == 6
    assert all(abs(x - a) > 8 or abs(y - b) > 11 for (x, y), (a, b) in itertools.combinations(places, 2))


def test_arrows_lead_rightwards_from_box_to_box():
    links = [(0, 1), (1, 2), (0, 2), (2, 50), (0, 50), *((each, each + 1) for each in range(2, 50))]
    sizes = [(100.0, 34.0)] * 51
    layout = arrange(sizes, links, [0.0] * 51)

    for (upstream, downstream), points in layout.routes.items():
        assert points[0] == (layout.places[upstream][0] + 50, layout.places[upstream][1])
        assert points[-1] == (layout.places[downstream][0] - 50, layout.places[downstream][1])
        assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_visualize_colours_tasks_by_state():
    with Flow("states") as flow:
        fail_if_odd.map(numbers(3))
    drawing = flow.visualize(flow_state=flow.run())

    assert [(node.kind, node.state) for node in drawing.graph.nodes] == [
        ("success", "Success"),
        ("failed", "1 Failed, 2 Success"),
    ]
    assert ":::failed" in str(drawing)
    mermaid_nodes(str(drawing))


@pytest.mark.parametrize(
    ("filename", "wanted", "written"),
    [
        ("flow", None, "flow.html"),
        ("flow.svg", None, "flow.svg"),
        ("flow", "svg", "flow.svg"),
        ("v1.2", "mermaid", "v1.2.mermaid"),
        ("flow.mmd", "mermaid", "flow.mmd"),
    ],
)
def test_visualize_writes_the_file_that_prefect_would(tmp_path, filename, wanted, written):
    branches().visualize(filename=str(tmp_path / filename), format=wanted)

    assert [each.name for each in tmp_path.iterdir()] == [written]


def test_visualize_needs_graphviz_for_other_formats(tmp_path, no_graphviz):
    with pytest.raises(InputError, match="pdf is drawn by Graphviz, whose program `dot` is not on the PATH"):
        branches().visualize(filename=str(tmp_path / "flow.pdf"))


@needs_graphviz
def test_visualize_names_a_format_that_graphviz_lacks(tmp_path):
    with pytest.raises(InputError, match='Graphviz cannot draw nonsense: Format: "nonsense" not recognized'):
        branches().visualize(filename=str(tmp_path / "flow"), format="nonsense")


def test_graph_by_name_has_a_node_for_all_tasks_of_a_name():
    with Flow("many") as flow:
        first = [add(number, 1) for number in range(1000)]
        add(add(first[0], first[1]), 2, task_args={"name": "last"})

    graph = by_name(read(flow))

    assert [node.label for node in graph.nodes] == ["add ×1,001", "last"]
    assert [(link.upstream, link.downstream) for link in graph.links] == [(0, 1)]


def test_graph_by_name_that_would_have_a_cycle_is_none():
    with Flow("round") as flow:
        add(add(add(1, 1), 1, task_args={"name": "other"}), 1)

    assert by_name(read(flow)) is None


def test_cycle_is_refused():
    first, second = report.copy(name="first"), report.copy(name="second")
    with Flow("round") as flow:
        first.set_upstream(second)
        second.set_upstream(first)

    with pytest.raises(InputError, match=r"flow 'round' has a cycle: (first|second) → "):
        draw(flow)


def test_flow_without_tasks_is_refused():
    with pytest.raises(InputError, match="flow 'empty' has no tasks"):
        draw(Flow("empty"))


def test_unknown_suffix_is_refused():
    with pytest.raises(InputError, match=r"flow.png: the name does not say what to draw; let it end in \.mmd, "):
        format_of(Path("flow.png"))


def dask_flow(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "dask_flow", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
        timeout=120,
    )


def test_graph_command_prints_mermaid():
    done = dask_flow("graph", EXAMPLES / "flights.py")

    assert done.returncode == 0, done.stderr
    assert mermaid_nodes(done.stdout).count("month_of_flights") == 12


@pytest.mark.parametrize("suffix", ["html", "svg", "md", "mmd", "dot"])
def test_graph_command_writes_what_the_suffix_says(tmp_path, suffix):
    done = dask_flow("graph", EXAMPLES / "hello.py", "-o", tmp_path / f"flow.{suffix}", PATH=str(tmp_path))
    beginnings = {"html": "<!doctype html>", "svg": "<svg ", "md": "```mermaid\n", "mmd": "---\n", "dot": "digraph "}

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / f"flow.{suffix}").read_text().startswith(beginnings[suffix])


def test_graph_command_keeps_what_the_file_prints_out_of_the_drawing(tmp_path):
    (tmp_path / "loud.py").write_text("print('hello')\n" + (EXAMPLES / "hello.py").read_text())
    done = dask_flow("graph", tmp_path / "loud.py", "--format", "mermaid")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("---\n")
    assert "hello" in done.stderr


FILES = {
    "function": "def main(client): pass\n",
    "script": "from dask.distributed import Client\nif __name__ == '__main__':\n    Client()\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_graph_command_refuses_what_has_no_tasks_before_it_runs(tmp_path, kind):
    (tmp_path / "other.py").write_text(FILES[kind])
    done = dask_flow("graph", tmp_path / "other.py")

    assert done.returncode == 2
    assert f"is a {kind}, whose tasks are known only while it runs" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-o", "FOLDER/flow.png"], "the name does not say what to draw"),
        (["-o", "FOLDER/absent/flow.svg"], "No such file or directory"),
        (["--format", "png"], "is not one of 'mermaid', 'svg', 'html', 'dot'"),
    ],
)
def test_graph_command_with_bad_options_exits_with_2(tmp_path, args, reason):
    done = dask_flow("graph", EXAMPLES / "hello.py", *(each.replace("FOLDER", str(tmp_path)) for each in args))

    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
