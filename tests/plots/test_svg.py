"""SVG in fewer bytes: the same lines, texts and styles, also as a page has them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from harness import plots
from harness.plots import svg

NAME = """it's 50 % #1 <"a" & 'b'> style="x" \N{GREEK SMALL LETTER MU}"""
"""A text with all that means something to XML, HTML or a URI, and what looks like an attribute."""
LINE = '<path d="M 1.2345678 -0.001 \nL 20 3.5e-07 \nz\n" clip-path="url(#p1)" style="stroke: #de8f05"/>'


def drawn() -> Figure:
    figure = Figure(figsize=(3, 2))
    ax = figure.subplots()
    for number in range(20):
        ax.plot([0, 1, 2], [number, number / 3, 1], color="#de8f05", alpha=0.45)
    ax.imshow([[0.0, 1.0]])
    ax.set_title(NAME)
    return figure


def before(figure: Figure, tmp_path: Path) -> str:
    """What matplotlib writes."""
    path = tmp_path / "before.svg"
    with mpl.rc_context(plots.STYLE):
        figure.savefig(path, metadata={"Date": None})
    return path.read_text(encoding="utf-8")


def root(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 (made here)


def elements(text: str) -> list[tuple[str, str]]:
    """Tags and texts of a document, but those of styles and metadata."""
    there = [element for element in root(text).iter() if "svg}" in element.tag]
    names = [(element.tag.partition("}")[2], (element.text or "").strip()) for element in there]
    return [(tag, words) for tag, words in names if tag not in {"style", "metadata"}]


def styles(text: str) -> list[str]:
    """The style of each element that has one, with its clip path, be it written there or as a class."""
    rules = dict(re.findall(r"\.(s\d+)\{(.*?)\}", text))
    found = []
    for element in root(text).iter():
        clip = element.get("clip-path")
        if "class" in element.attrib:
            found.append(rules[element.attrib["class"]])
        elif "style" in element.attrib:
            found.append(f"clip-path: {clip}; {element.attrib['style']}" if clip else element.attrib["style"])
    return [style.replace("'", '"') for style in found]


def test_a_figure_keeps_its_elements_texts_and_styles(tmp_path: Path) -> None:
    figure = drawn()
    plain = before(figure, tmp_path)
    small = svg.compact(plain)
    assert elements(small) == elements(plain)
    assert ("text", NAME) in elements(small)
    assert styles(small) == styles(plain)
    assert len(small) < 0.7 * len(plain)


def test_what_is_saved_is_compact_and_the_same_each_time(tmp_path: Path) -> None:
    _, first = plots.save(drawn(), tmp_path / "first")
    _, second = plots.save(drawn(), tmp_path / "second")
    assert "<metadata>" not in first.read_text(encoding="utf-8")
    assert 'class="s0"' in first.read_text(encoding="utf-8")
    ids = re.compile(r"\b[pm][0-9a-f]{10}\b")  # matplotlib's, of a salt
    assert ids.sub("", first.read_text()) == ids.sub("", second.read_text())


def test_places_are_rounded_to_a_hundredth_and_styles_that_recur_become_classes() -> None:
    text = (
        f'<svg><defs><style>*{{}}</style></defs>{LINE}\n   {LINE}<use x="7.12999" style="fill: red"/></svg>'
    )
    line = '<path d="M1.23 -0L20 3.5e-07z" class="s0"/>'
    assert svg.compact(text) == (
        "<svg><defs><style>*{}\n.s0{clip-path: url(#p1); stroke: #de8f05}</style></defs>"
        f'{line}\n{line}<use x="7.13" style="fill: red"/></svg>'
    )


def test_what_is_no_place_is_not_rounded() -> None:
    text = '<svg><g transform="scale(0.015625)"><text x="0.125">d="0.123456"</text></g></svg>'
    assert svg.compact(text) == text.replace('x="0.125"', 'x="0.12"')


def test_a_uri_is_the_same_document_again(tmp_path: Path) -> None:
    _, path = plots.save(drawn(), tmp_path / "figure")
    text = path.read_text(encoding="utf-8")
    uri = svg.uri(text)
    head, _, body = uri.partition(",")
    assert head == "data:image/svg+xml;charset=utf-8"
    assert not set(uri) & set('"#&\n')
    again = unquote(html.unescape(body))
    assert elements(again) == elements(text)
    assert styles(again) == styles(text)


@pytest.mark.parametrize("mark", list('%#&"\n'))
def test_marks_of_a_uri_or_an_attribute_are_escaped(mark: str) -> None:
    uri = svg.uri(f"<svg><text>a{mark}b</text></svg>")
    assert uri.endswith(f"<text>a%{ord(mark):02X}b</text></svg>")
