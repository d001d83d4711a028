"""SVG in fewer bytes: matplotlib repeats the style of each line, and writes millionths of a point.

A page holds dozens of figures, so that half of its bytes were these. What is drawn stays the same to a
hundredth of a point, and every text stays a text.
"""

from __future__ import annotations

import re
from collections import Counter

LONG = re.compile(r"-?\d+\.\d{3,}(?![\de])")
"""A number of more decimals than a screen or a printer shows of a point."""
PLACES = re.compile(r'( (?:d|x|y)=")([^"]*)"')
"""Attributes that hold places, in points."""
COMMAND = re.compile(r"\s*([A-Za-z])\s*")
"""A command of a path, with the spaces around it that mean nothing."""
NEITHER = re.compile(r"<!DOCTYPE.*?>\s*|\s*<metadata>.*?</metadata>", re.DOTALL)
"""What is neither drawn nor read: the type of the document, and that matplotlib made it."""
STYLE = re.compile(r'(?: clip-path="([^"]*)")? style="([^"]*)"')
TAG = re.compile(r"<[^>]*>")
"""A tag, to leave alone what stands between tags: names that people gave."""
SHEET = "</style>"


def compact(text: str) -> str:
    """Write an SVG of matplotlib's with a hundredth of a point, and styles that recur as classes."""
    text = TAG.sub(lambda tag: PLACES.sub(_rounded, tag[0]), NEITHER.sub("", text))
    return re.sub(r"\n\s+(?=<)", "\n", _classes(text))


def _rounded(attribute: re.Match[str]) -> str:
    name, places = attribute.groups()
    places = LONG.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), places)
    return name + (COMMAND.sub(r"\1", places) if name == ' d="' else places) + '"'


def _classes(text: str) -> str:
    """Turn styles that several elements have, with their clip path, into classes."""
    head, end, body = text.partition(SHEET)
    found = Counter(style.groups() for tag in TAG.findall(body) for style in STYLE.finditer(tag))
    recurring = [style for style, times in found.items() if times > 1]
    if not end or not recurring:
        return text
    names = {style: f"s{number}" for number, style in enumerate(recurring)}

    def named(style: re.Match[str]) -> str:
        name = names.get(style.groups())
        return f' class="{name}"' if name else style[0]

    rules = [f".{name}{{{_rule(*style)}}}" for style, name in names.items()]
    return "\n".join([head, *rules]) + end + TAG.sub(lambda tag: STYLE.sub(named, tag[0]), body)


def _rule(clip: str | None, style: str) -> str:
    return f"clip-path: {clip}; {style}" if clip else style


def uri(text: str) -> str:
    """Write an SVG as a data URI for a quoted HTML attribute: readable, and a quarter less than in base64."""
    text = TAG.sub(lambda tag: tag[0].translate(SWAPPED), text)
    return "data:image/svg+xml;charset=utf-8," + text.replace("\n<", "<").translate(ESCAPED)


SWAPPED = str.maketrans("\"'", "'\"")
"""Quotes in a tag, which XML has either way."""
ESCAPED = str.maketrans({mark: f"%{ord(mark):02X}" for mark in '%#&"\n\r\t'})
"""Marks that mean something to a URI or an HTML attribute, or that its reader would leave out."""
