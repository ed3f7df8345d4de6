"""Files of the page are answered from memory, compressed, and asked for once; nothing else is answered."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "simulator" / "web" / "page"
SCRIPT = "app.js"


def test_a_file_is_sent_once_and_then_known(client):
    found = client.get(f"/static/{SCRIPT}")
    assert found.status_code == 200
    assert found.content == (PAGE / SCRIPT).read_bytes()
    assert found.headers["content-encoding"] == "gzip"
    assert found.headers["content-type"].startswith("text/javascript")
    assert found.headers["cache-control"] == "no-cache"
    again = client.get(f"/static/{SCRIPT}", headers={"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get(f"/static/{SCRIPT}", headers={"accept-encoding": "identity"})
    assert plain.content == found.content
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "name",
    ["page.html", "../app.py", "..%2fapp.py", "%2e%2e/settings.py", "/etc/passwd", "//etc/passwd", "vega-0.js", ""],
)
def test_nothing_else_is(client, name):
    """Templates aren't: they hold no answers."""
    assert client.get(f"/static/{name}").status_code == 404


def test_the_charts_libraries_have_a_name_of_their_version_and_may_be_kept(client):
    assets = client.app.state.server.assets
    assert re.fullmatch(r"vega-[0-9a-f]{16}\.js", assets.bundle)
    made = assets.make_bundle()
    assert made is assets.make_bundle()
    found = client.get(f"/static/{assets.bundle}")
    assert "vegaEmbed" in found.text
    assert "immutable" in found.headers["cache-control"]
