"""What every picture must keep, whoever names its domains and runs."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from foretrain.simulator.report.charts.picture import Picture

MOST_WORDS = 12
LEAST_PX = 12
MOST_POINTS = 800
HOSTILE = ("</script><svg onload=alert(1)>", "x" * 500, "two\nlines", "\u202eright to left", "", 'a"b&c<d>')


def texts(svg: str) -> list[str]:
    """The lines that are read in a drawing; raises where it isn't well-formed."""
    root = ElementTree.fromstring(svg)
    return [line for one in root.iter("{http://www.w3.org/2000/svg}text") for line in one.itertext()]


def rows(spec: dict) -> list[int]:
    """How many rows each mark of a specification has."""
    own = [len(spec["data"]["values"])] if "data" in spec else []
    return own + [
        count for key in ("layer", "vconcat", "hconcat") for part in spec.get(key, []) for count in rows(part)
    ]


@pytest.fixture(scope="session")
def drawn():
    """`drawn(picture)` checks a picture at its widths, or those given, and gives the texts of the last drawing."""

    def check(picture: Picture, *widths: int) -> list[str]:
        assert 1 <= len(picture.title.split()) <= MOST_WORDS, picture.title
        assert "\n" not in picture.title + picture.subtitle + picture.caption
        assert re.fullmatch(r"[a-z0-9-]+", picture.name)
        assert all(len(row) == len(picture.numbers.columns) for row in picture.numbers.rows)
        assert picture.numbers.rows
        found: list[str] = []
        for width in widths or picture.widths:
            svg = picture.svg(width)
            found = texts(svg)
            assert found
            assert "\u202e" not in svg
            assert max(map(len, found)) < 80, "a name of any length is short"
            sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)]
            assert sizes
            assert min(sizes) >= LEAST_PX
            drawn_width = float(re.search(r'\bwidth="([\d.]+)"', svg)[1])
            assert abs(drawn_width - width) <= 3, (picture.name, width, drawn_width)
            assert max(rows(picture.spec(width)), default=0) <= MOST_POINTS
        return found

    return check


@pytest.fixture(params=HOSTILE, ids=["script", "long", "lines", "reversed", "empty", "marks"])
def hostile(request) -> str:
    """A name that somebody gave a domain, a run or a plan."""
    return request.param
