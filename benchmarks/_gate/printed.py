"""A printed forecast read back: its rows, its chances, its lines of parts; and whether they agree with each other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "%": 0.01, "d": 86_400.0}
_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0}
_NUMBER = r"-?[\d,]*\.?\d+(?:e[-+]?\d+)?"
_PART = re.compile(rf"(?P<name>[A-Za-z][^,;:=]*?) (?P<number>[-+]?{_NUMBER})(?P<unit>%?[kMBT]?)(?=,|$|;)")


@dataclass(frozen=True)
class Shown:
    """A number as it is written, and by how much it may be off for being rounded."""

    value: float
    half: float

    @property
    def off(self) -> float:
        """The rounding, relative."""
        return self.half / abs(self.value) if self.value else math.inf

    def agrees(self, number: float, more: float = 1e-6) -> bool:
        """Whether an exact number may have been written so."""
        return abs(number - self.value) <= self.half * 1.02 + more * abs(number)


@dataclass(frozen=True)
class Row:
    """A row of the table: its median, and the intervals that it has."""

    median: Shown
    half: tuple[Shown, Shown] | None
    ninety: tuple[Shown, Shown] | None


@dataclass(frozen=True)
class Page:
    """What `predict` or `cluster estimate` printed."""

    text: str
    rows: Mapping[str, Row]

    def line(self, start: str) -> str | None:
        """The rest of the one line that starts so; None without one."""
        found = [line.strip()[len(start) :] for line in self.text.splitlines() if line.strip().startswith(start)]
        assert len(found) <= 1, f"{len(found)} lines start with {start!r}"
        return found[0] if found else None

    def parts(self, start: str) -> dict[str, float]:
        """The named numbers of a line of parts."""
        line = self.line(start) or ""
        return {one["name"].strip(): number(one["number"] + one["unit"]).value for one in _PART.finditer(line)}

    def steps_row(self) -> tuple[Shown, Shown]:
        """How many steps, of how many tokens each."""
        for label, row in self.rows.items():
            if label.startswith("steps of "):
                return row.median, number(label.removeprefix("steps of ").removesuffix(" tokens"))
        raise AssertionError("no row of steps")


def number(text: str) -> Shown:
    """A number as it is printed: 1.78s, 1d12h, 154k, 63.1%, 476,837."""
    text = text.strip()
    if re.fullmatch(r"(?:\d+(?:d|h|min|s)){2}", text):
        parts = re.findall(r"(\d+)(d|h|min|s)", text)
        return Shown(sum(int(count) * _UNITS_S[unit] for count, unit in parts), 0.5 * _UNITS_S[parts[-1][1]])
    match = re.fullmatch(rf"([-+]?{_NUMBER})(min|[kMBT%dhs]?)", text)
    assert match is not None, f"no number: {text!r}"
    digits, unit = match[1].replace(",", ""), match[2]
    factor = _UNITS_S.get(unit) or _SUFFIXES[unit]
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    value = float(digits) * factor
    half = 0.5 * 10.0 ** (int(exponent or 0) - decimals) * factor
    if unit == "s" or (unit == "" and not decimals):  # written with three digits, ends of noughts left out
        third_digit = 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else half
        half = third_digit if unit == "s" else max(half, third_digit)
    if unit in ("d", "h", "min"):  # a whole unit may have had none of the next smaller one
        half = {"d": 1800.0, "h": 30.0, "min": 0.5}[unit]
    return Shown(value, half)


def read_page(text: str) -> Page:
    """The rows of a printed forecast, by label."""
    rows: dict[str, Row] = {}
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if line.startswith((" ", "!")) or not 2 <= len(cells) <= 4 or len(cells) == 3:
            continue
        try:
            median = number(cells[1])
            ends = [tuple(number(end) for end in cell.split(" to ")) for cell in cells[2:]]
        except AssertionError:
            continue
        assert cells[0] not in rows, f"two rows {cells[0]!r}"
        rows[cells[0]] = Row(median, *(ends or (None, None)))  # pyright: ignore[reportArgumentType]
    return Page(text, rows)


JSON_ROWS = {
    "step time": "step_time_s", "MFU": "mfu", "goodput": "goodput", "wall clock, days": "wall_clock_days",
    "GPU-hours": "gpu_hours", "cost, USD": "cost_usd", "energy, MWh": "energy_mwh", "CO2e, t": "co2e_t",
    "memory, GiB per device": "peak_memory_gib",
}  # fmt: skip


def check_rows(page: Page) -> None:
    """Medians lie inside intervals, and narrow intervals inside wide ones."""
    assert page.rows, "nothing was printed"
    for label, row in page.rows.items():
        if row.half is None or row.ninety is None:
            continue
        ends = [row.ninety[0], row.half[0], row.median, row.half[1], row.ninety[1]]
        for low, high in pairwise(ends):
            assert low.value <= high.value + low.half + high.half, f"{label}: {low.value} above {high.value}"


def check_json(page: Page, answer: Mapping[str, Any]) -> None:
    """Every number of the page is the one of `--json`."""
    for label, key in JSON_ROWS.items():
        assert (label in page.rows) == (answer.get(key) is not None), f"{label}: on the page or in JSON only"
        if label in page.rows:
            _same(label, page.rows[label], answer[key])
    for label, key in {"perplexity per token": "perplexity", "loss, nats per token": "loss_nats"}.items():
        if label in page.rows:
            _same(label, page.rows[label], answer[key])
    for target, domain in (answer.get("domains") or {}).items():
        label = f"perplexity per token on {target.removeprefix('loss.')}"
        if label in page.rows:
            _same(label, page.rows[label], domain["perplexity"])


def _same(label: str, row: Row, quantity: Mapping[str, Any]) -> None:
    assert row.median.agrees(quantity["median"]), f"{label}: {row.median.value} isn't {quantity['median']}"
    for ends, level in ((row.half, "0.5"), (row.ninety, "0.9")):
        assert ends is not None, f"{label}: no interval"
        for end, exact in zip(ends, quantity["intervals"][level], strict=True):
            assert end.agrees(exact), f"{label}: {end.value} isn't {exact} of {level}"


def check_machines(page: Page, answer: Mapping[str, Any]) -> None:
    """Rows multiply to rows, as far as they are rounded, and parts sum to the whole."""
    rows = {label: row.median for label, row in page.rows.items()}
    steps, batch = page.steps_row()
    _product("tokens", Shown(answer["steps"] * answer["step_tokens"], 0.0), steps, batch)
    outside = Shown(1 + rows["outside steps"].value, rows["outside steps"].half)
    day = Shown(86_400.0, 0.0)
    _product("wall clock", rows["step time"], steps, outside, over=(rows["goodput"], rows["wall clock, days"], day))
    devices = Shown(24.0 * answer["devices"], 0.0)
    waited = rows.get("waiting, not paid", Shown(0.0, 0.0))
    held = Shown(1 - waited.value, waited.half)
    _product("GPU-hours", rows["GPU-hours"], over=(rows["wall clock, days"], devices, held))
    flops = Shown(answer["mfu"]["median"] * answer["step_time_s"]["median"] * answer["devices"], 0.0)
    _product("MFU", rows["MFU"], rows["step time"], Shown(answer["devices"], 0.0), over=(flops,))
    if "cost, USD" in rows:
        _cost(page, rows)
    if "energy, MWh" in rows:
        found = re.search(r"energy: (\d+) W an accelerator, its host included, × GPU-hours × PUE ([\d.]+)", page.text)
        assert found, "no line of energy"
        power = (number(found[1]), Shown(float(found[2]), 0.0), rows["GPU-hours"])
        _product("energy", *power, over=(rows["energy, MWh"], Shown(1e6, 0.0)))
    for start in ("step:", "wall clock:"):
        assert round(100 * sum(page.parts(start).values())) == 100, f"{start} {page.parts(start)}"


def _cost(page: Page, rows: Mapping[str, Shown]) -> None:
    line = page.line("cost:") or ""
    parts = re.findall(rf"(compute|idle|storage|electricity) ({_NUMBER}[kMBT]?)", line)
    amounts = {name: number(text) for name, text in parts}
    if amounts:
        slack = sum(one.half for one in amounts.values()) + rows["cost, USD"].half
        assert abs(sum(one.value for one in amounts.values()) - rows["cost, USD"].value) <= 1.02 * slack, line
    price = re.search(rf"({_NUMBER}) USD a GPU-hour", line)
    if price and not amounts:
        _product("cost", Shown(float(price[1]), 0.0), rows["GPU-hours"], over=(rows["cost, USD"],))


def _product(what: str, *factors: Shown, over: tuple[Shown, ...] = ()) -> None:
    """Factors over others make one, or the first over the others where nothing divides, as far as rounding goes."""
    if not over:
        factors, over = factors[1:], factors[:1]
    made = math.prod(one.value for one in factors) / math.prod(one.value for one in over)
    off = sum(one.off for one in (*factors, *over))
    assert abs(made - 1) <= 1.05 * off + 1e-6, f"{what}: rows make {made:.5f} times what is printed, rounding {off:.1%}"


def check_loss(page: Page, answer: Mapping[str, Any]) -> None:
    """The terms of the loss sum to it as written; every loss's own parts to its median; domains to their mean."""
    line = (page.line("loss, nats = ") or "").replace("off its optimum", "").replace("batch off their optimum", "")
    terms = [float(text) for text in re.findall(r"[-+]?\d+\.\d{3}(?=,|$)", line)]
    assert abs(sum(terms) - round(answer["loss_nats"]["median"], 3)) < 5e-4, f"terms {terms} of {answer['loss_nats']}"
    for target, domain in answer["domains"].items():
        whole, parts = domain["loss_nats"]["median"], domain["decomposition_nats"]
        assert math.isclose(sum(parts.values()), whole, rel_tol=1e-6), f"{target}: parts {sum(parts.values())}, {whole}"
    if "average" in answer and answer["average"] is not None:
        losses = [domain["loss_nats"]["median"] for name, domain in answer["domains"].items() if name != "loss"]
        mean = answer["average"]["loss_nats"]["median"]
        assert math.isclose(sum(losses) / len(losses), mean, rel_tol=1e-6), f"mean {mean} of {losses}"


def check_chance(chance: float, expected: float, off: float = 0.015) -> None:
    """A chance is the one that the printed interval says."""
    assert abs(chance - expected) <= off, f"chance {chance:.3f} at a quantile of {expected}"
