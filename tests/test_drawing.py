"""draw_dot: boxes and arrows are those of the tape, the layout is sound, the SVG is valid and escaped."""

import itertools
import random
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import minidl
from minidl import draw_dot, nn
from minidl.drawing import layout as layouts

SVG = "{http://www.w3.org/2000/svg}"


def titles(drawing) -> list[str]:
    return [node.lines[0] for node in drawing.nodes]


def arrows(drawing) -> set[tuple[str, str]]:
    names = titles(drawing)
    return {(names[first], names[last]) for first, last in drawing.edges}


def node(drawing, title: str):
    return next(node for node in drawing.nodes if node.lines[0] == title)


def test_boxes_and_arrows_are_those_of_the_expression() -> None:
    a, b, c = (minidl.tensor(value, requires_grad=True) for value in (2.0, -3.0, 10.0))
    d = a * b
    loss = (d + c).exp()
    loss.backward(retain_graph=True)
    drawing = draw_dot(loss, names={"a": a, "b": b, "c": c, "d": d})
    assert arrows(drawing) == {
        ("a", "mul"),
        ("b", "mul"),
        ("mul", "add"),
        ("c", "add"),
        ("add", "exp"),
        ("exp", "output"),
    }
    assert [n.kind for n in drawing.nodes].count("leaf") == 3
    assert node(drawing, "a").lines == ["a", "number float32", "value 2", f"grad {a.grad.item():.4g}"]
    assert node(drawing, "mul").lines == ["mul", "d: number", "value -6"]
    assert node(drawing, "output").lines == ["output", "number float32", f"value {loss.item():.4g}"]
    plain = draw_dot(loss, names={"a": a}, show_values=False)
    assert node(plain, "a").lines == ["a", "number float32"]


def test_a_model_shows_its_parameters_by_name_and_the_batch_on_demand() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2))
    x = minidl.randn(4, 3)
    loss = nn.functional.cross_entropy(model(x), minidl.zeros(4).long())
    drawing = draw_dot(loss, dict(model.named_parameters()))
    assert arrows(drawing) == {
        ("0.weight", "linear"),
        ("0.bias", "linear"),
        ("linear", "gelu"),
        ("gelu", "linear"),
        ("2.weight", "linear"),
        ("2.bias", "linear"),
        ("linear", "cross_entropy"),
        ("cross_entropy", "output"),
    }
    assert node(drawing, "0.weight").lines == ["0.weight", "5x3 float32"]
    assert "4x5" in node(drawing, "linear").lines or "4x2" in node(drawing, "linear").lines
    with_batch = draw_dot(loss, dict(model.named_parameters()), names={"batch": x}, show_saved=True)
    assert ("batch", "linear") in arrows(with_batch)
    assert node(with_batch, "batch").kind == "constant"
    loss.backward(retain_graph=True)
    norm = np.linalg.norm(model[0].weight.grad.numpy())
    assert node(draw_dot(loss, dict(model.named_parameters())), "0.weight").lines[-1] == f"grad norm {norm:.4g}"


def test_a_tensor_used_twice_is_one_box_with_two_arrows() -> None:
    x = minidl.ones(2, requires_grad=True)
    drawing = draw_dot(x * x)
    assert titles(drawing) == ["mul", "leaf", "output"]
    assert len(drawing.edges) == 3


def test_several_outputs_share_their_graph() -> None:
    x = minidl.ones(2, requires_grad=True)
    hidden = x.exp()
    drawing = draw_dot([hidden.sum(), hidden.sin()], names={"x": x})
    assert titles(drawing).count("exp") == 1
    assert titles(drawing).count("output") == 2


def test_what_cannot_be_drawn_is_refused() -> None:
    x = minidl.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="the tensor has no graph"):
        draw_dot(minidl.ones(2))
    with pytest.raises(ValueError, match="the tensor has no graph"):
        draw_dot([])
    y = x.exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed the graph \(sum\).*backward\(retain_graph=True\)"):
        draw_dot(y)
    with pytest.raises(ValueError, match="more than max_nodes = 3 nodes"):
        draw_dot(x.exp().sin().cos(), max_nodes=3)


def test_long_chains_do_not_recurse() -> None:
    y = minidl.ones(1, requires_grad=True)
    for i in range(100_000):
        y = y + 1.0
        if i == 4_999:
            drawing = draw_dot(y, max_nodes=5_002)
            assert len(drawing.nodes) == 5_002
    with pytest.raises(ValueError, match="max_nodes = 1000"):
        draw_dot(y)


# ---- SVG


def test_svg_is_valid_and_text_is_escaped(tmp_path) -> None:
    x = minidl.ones(2, requires_grad=True)
    name = 'a<b & "c">\x00\x1b\ud800é'
    drawing = draw_dot(x.exp(), names={name: x})
    drawing.save(tmp_path / "graph.svg")
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    assert root.tag == SVG + "svg"
    texts = [text.text for text in root.iter(SVG + "text")]
    assert 'a<b & "c">???é' in texts
    assert len(list(root.iter(SVG + "g"))) == len(drawing.nodes)
    assert len([p for p in root.iter(SVG + "path") if p.get("marker-end")]) == len(drawing.edges)
    assert drawing._repr_svg_() == drawing.svg
    with pytest.raises(ValueError, match=r"must end in \.svg"):
        drawing.save(tmp_path / "graph.png")


def test_every_box_is_inside_the_picture_and_holds_its_text() -> None:
    drawing = draw_dot(random_graph(3))
    root = ElementTree.fromstring(drawing.svg)
    width, height = float(root.get("width")), float(root.get("height"))
    for node in drawing.nodes:
        assert node.x - node.width / 2 > 0
        assert node.x + node.width / 2 < width
        assert node.y - node.height / 2 > 0
        assert node.y + node.height / 2 < height
        assert node.width > max(map(len, node.lines)) * 7.2  # a letter of 12 px monospace is 0.6 of that wide


# ---- layout


def random_graph(seed: int) -> minidl.Tensor:
    choose = random.Random(seed)
    tensors = [minidl.rand(2, requires_grad=True) for _ in range(5)]
    for _ in range(25):
        a, b = choose.sample(tensors[-8:], 2)
        tensors.append(a * b if choose.random() < 0.5 else a + b)
    return minidl.stack(tensors[-4:]).sum()


@pytest.mark.parametrize("seed", range(5))
def test_arrows_lead_down_and_boxes_do_not_overlap(seed: int) -> None:
    drawing = draw_dot(random_graph(seed))
    for first, last in drawing.edges:
        upper, lower = drawing.nodes[first], drawing.nodes[last]
        assert upper.y + upper.height / 2 < lower.y - lower.height / 2
    for a, b in itertools.combinations(drawing.nodes, 2):
        is_apart_x = abs(a.x - b.x) >= (a.width + b.width) / 2
        is_apart_y = abs(a.y - b.y) >= (a.height + b.height) / 2
        assert is_apart_x or is_apart_y


def test_arrows_pass_by_the_boxes_between_their_ends() -> None:
    """Vertical pieces within a layer keep clear of its boxes."""
    sizes = [(100.0, 40.0)] * 6
    edges = [(0, 1), (1, 2), (2, 3), (0, 3), (4, 2), (5, 3)]
    found = layouts.arrange(sizes, edges, [0, 4, 5, 1, 2, 3])
    for (first, last), pieces in zip(edges, found.pieces, strict=True):
        for x, top, bottom in pieces:
            for box, (middle_x, middle_y) in enumerate(found.positions):
                if box not in (first, last) and top <= middle_y <= bottom:
                    assert abs(middle_x - x) > 50
    assert len(found.pieces[3]) == 4


def test_ranks_are_longest_paths_and_leaves_stay_near_their_use() -> None:
    #        0 -> 1 -> 2 -> 3, 0 -> 3, leaf 4 -> 3
    edges = [(0, 1), (1, 2), (2, 3), (0, 3), (4, 3)]
    assert layouts._ranks(5, edges, [0, 4, 1, 2, 3]) == [0, 1, 2, 3, 2]


@pytest.mark.parametrize("seed", range(4))
def test_crossings_are_counted_and_become_fewer(seed: int) -> None:
    choose = random.Random(seed)
    upper, lower = list(range(7)), list(range(7, 15))
    below = [[] for _ in range(15)]
    above = [[] for _ in range(15)]
    pairs = [(a, b) for a in upper for b in lower if choose.random() < 0.3]
    for a, b in pairs:
        below[a].append(b)
        above[b].append(a)

    def count(layers: list[list[int]]) -> int:
        place = {box: i for layer in layers for i, box in enumerate(layer)}
        return sum(
            (place[a] - place[c]) * (place[b] - place[d]) < 0 for (a, b), (c, d) in itertools.combinations(pairs, 2)
        )

    choose.shuffle(lower)
    before = [list(upper), list(lower)]
    assert layouts._crossings(before, below) == count(before)
    after = layouts._with_fewer_crossings([list(upper), list(lower)], above, below)
    assert sorted(after[1]) == sorted(lower)
    assert count(after) < count(before)


def test_a_graph_that_can_be_drawn_without_crossings_is() -> None:
    below = [[5], [4], [3], [], [], []]
    above = [[], [], [], [2], [1], [0]]
    layers = layouts._with_fewer_crossings([[0, 1, 2], [3, 4, 5]], above, below)
    assert layouts._crossings(layers, below) == 0


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_the_nearest_places_that_keep_order_and_gaps(seed: int) -> None:
    """No feasible step leads to a smaller sum of squares."""
    numbers = np.random.default_rng(seed)
    count = 40
    widths = numbers.uniform(10, 80, count).tolist()
    wanted = np.linspace(0, 70 * count, count) + numbers.normal(0, 40, count)
    x = [0.0] * count
    layouts._place(list(range(count)), wanted.tolist(), widths, x)
    offsets = np.r_[0, np.cumsum([(a + b) / 2 + layouts.GAP_X for a, b in itertools.pairwise(widths)])]
    assert (np.diff(x - offsets) >= -1e-9).all()
    best = ((np.array(x) - wanted) ** 2).sum()
    for step in (0.01, 1.0):
        for place in range(count):  # one gap wider, by either side
            for shift in (step * (np.arange(count) >= place), -step * (np.arange(count) < place)):
                assert ((x + shift - wanted) ** 2).sum() >= best - 1e-9
        for _ in range(200):
            other = np.maximum.accumulate(x - offsets + numbers.normal(0, step, count)) + offsets
            assert ((other - wanted) ** 2).sum() >= best - 1e-9
