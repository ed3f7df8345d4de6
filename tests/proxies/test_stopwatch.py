import contextlib
from types import SimpleNamespace

from foretrain.proxies import stopwatch
from foretrain.proxies.stopwatch import Stopwatch, added


def test_each_second_is_counted_once_under_the_innermost_kind(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watch = Stopwatch()
    now[0] += 1
    with watch.timing("steps"):
        now[0] += 2
        with contextlib.suppress(OSError), watch.timing("evaluation"):
            now[0] += 4
            raise OSError("full")
        now[0] += 8
    now[0] += 16
    seconds = watch.seconds()
    assert seconds == {"start": 17, "compile": 0, "steps": 10, "scoring": 0, "evaluation": 4, "writing": 0}
    now[0] += 1
    assert watch.seconds()["start"] == 18
    assert added(seconds, {"steps": 0.5}) == {**seconds, "steps": 10.5}
