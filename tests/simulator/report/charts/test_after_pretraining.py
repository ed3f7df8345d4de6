"""Pictures of what comes after pretraining: the finding says what the numbers say, whatever the width and the names."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.quantity import Quantity
from foretrain.simulator.after_pretraining.continued.law import ContinuedLaw
from foretrain.simulator.after_pretraining.continued.outlook import ContinuedOutlook
from foretrain.simulator.after_pretraining.continued.runs import ContinuedRuns
from foretrain.simulator.after_pretraining.continued.storage import ContinuedLaws
from foretrain.simulator.after_pretraining.continued.summary import ContinuedSummary
from foretrain.simulator.after_pretraining.feedback.fitting import fit_feedback
from foretrain.simulator.after_pretraining.feedback.gain import FORMS
from foretrain.simulator.after_pretraining.feedback.measurements import Measurements
from foretrain.simulator.after_pretraining.feedback.outlook import feedback_outlook
from foretrain.simulator.after_pretraining.feedback.storage import save_laws
from foretrain.simulator.after_pretraining.feedback.summary import FeedbackSummary
from foretrain.simulator.after_pretraining.machine_time import MachineTime
from foretrain.simulator.config.after_pretraining.feedback import FeedbackConfig
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.report import words
from foretrain.simulator.report.charts.after_pretraining.continued import continued_pictures, shares_picture
from foretrain.simulator.report.charts.after_pretraining.feedback import feedback_pictures, gain_picture

KLS = np.array([0.1, 0.6, 1.8, 3.2, 4.6, 6.0])


def measured(method="best_of_n", alpha=0.5, beta=0.14, comparisons=(np.nan,), kls=KLS, seeds=2) -> Measurements:
    """Policies of several seeds by a law; α rises with the comparisons, if there are several numbers of them."""
    kls = np.tile(kls, seeds)
    d, rows = np.sqrt(kls), []
    for number in comparisons:
        more = 0.0 if len(comparisons) == 1 else 0.06 * math.log(number / comparisons[0])
        rows.append(FORMS[method].gain(d, alpha + more, beta))
    n, empty = len(comparisons), np.full(len(comparisons) * len(kls), np.nan)
    return Measurements(
        method,
        np.tile(kls, n),
        np.concatenate(rows),
        np.full(n * len(kls), 0.01),
        np.repeat(comparisons, len(kls)),
        empty,
        np.tile(np.repeat(np.arange(seeds, dtype=float), len(kls) // seeds), n),
    )


def picture_of(rows: Measurements):
    (picture,) = feedback_pictures({rows.method: rows}, {rows.method: fit_feedback(rows)})
    return picture


def test_the_finding_is_where_the_gain_turns(drawn):
    rows = measured()
    picture = picture_of(rows)
    peak = FeedbackSummary.of(fit_feedback(rows)).quantities["KL at which the gain is largest, nats"]
    at, low, high = map(
        float, re.fullmatch(r".* turns at KL ([\d.]+) \(([\d.]+) to ([\d.]+)\)", picture.title).groups()
    )
    assert (at, low, high) == pytest.approx((peak.median, *peak.intervals[0.9]), rel=0.06)
    assert at == pytest.approx((0.5 / 0.28) ** 2, rel=0.1)
    assert any(text.startswith("peak KL") for text in drawn(picture))
    of_law = [row for row in picture.numbers.rows if row[0].startswith("KL ") and row[1]]
    assert len(of_law) == len(KLS)
    for _, gold, law, _ in of_law:
        assert float(gold) == pytest.approx(float(law), abs=0.02)


@pytest.mark.parametrize(
    ("alpha", "beta", "says", "labelled"),
    [(0.5, 0.02, "no turn seen up to KL 6", "peak beyond"), (-0.3, 0.1, "the gain only falls", "only falls")],
)
def test_a_gain_that_does_not_turn_is_said_not_to(alpha, beta, says, labelled, drawn):
    picture = picture_of(measured(alpha=alpha, beta=beta))
    assert says in picture.title
    assert any(text.startswith(labelled) for text in drawn(picture))


def test_each_number_of_comparisons_has_a_plot(drawn):
    rows = measured("ppo", 0.45, 0.14, (300.0, 2000.0, 12000.0), np.array([0.5, 2.0, 6.0, 15.0, 40.0, 90.0]))
    picture = picture_of(rows)
    texts = drawn(picture)
    assert list(dict.fromkeys(text for text in texts if text.endswith("comparisons"))) == [
        "300 comparisons", "2k comparisons", "12k comparisons"
    ]  # fmt: skip
    few, many = map(
        float, re.search(r"most gain ([\d.]+) with 300 comparisons, ([\d.]+) with 12k", picture.title).groups()
    )
    best = [rows.gold[rows.comparisons == number].max() for number in (300.0, 12000.0)]
    assert (few, many) == pytest.approx(best, rel=0.1)
    assert "by the number of comparisons" in picture.subtitle


def test_many_numbers_of_comparisons_share_plots(drawn):
    picture = picture_of(measured(comparisons=tuple(100.0 * 2.0**k for k in range(7))))
    assert len({text for text in drawn(picture) if text.endswith("comparisons")}) == 3


# continued pretraining


def ratio_law(of: str, slope: float, rise: float) -> ContinuedLaw:
    """The ratio falls by `slope` with the share of its own text, to `1 + rise` where it is all of it."""
    values = [*np.log([1.0 + rise, 1e-6, 0.3, 1e-6, 0.3, slope * 0.05 / 0.95, 1e-6, 0.05]), 1.0]
    spread = 0.002 * np.random.default_rng(0).standard_normal((200, 1)) * np.eye(9)[0]
    ends = {"params": (1e8, 1e9), "tokens": (1e8, 1e9), "share": (0.0, 1.0)}
    return ContinuedLaw(of, 3e8, 3e8, values + spread, np.full(200, 0.002), ends)


def laws_and_runs(domain="law", sizes=(1e8, 3e8, 1e9)) -> tuple[ContinuedRuns, ContinuedLaws]:
    """Runs that lie on their law."""
    both = ratio_law("domain", 0.15, -0.05), ratio_law("general", 0.1, -0.005)
    before = np.array([(size, 3.0 - 0.1 * k, 2.6 - 0.1 * k) for k, size in enumerate(sizes)])
    rows = []
    for size, _, general in before:
        for tokens in (1e8, 1e9):
            for share in (0.0, 0.1, 0.5, 0.9, 1.0):
                losses = (general * float(np.median(law.ratio(size, tokens, share))) for law in both)
                rows.append((size, tokens, share, *losses, 0.0))
    runs = ContinuedRuns(domain, *np.array(rows).T, before, 1e10)
    return runs, ContinuedLaws(domain, *both, before, 1e10, "made up")


def test_both_losses_are_drawn_by_share(drawn):
    runs, laws = laws_and_runs()
    own, general = continued_pictures(runs, laws)
    largest = ContinuedSummary.of(laws).largest[1e9][0.01]
    assert 0.0 < largest.median < 1.0
    share = f"{100 * largest.median:.0f} %"
    assert general.title == f"General loss keeps within 1 % up to a {share} share"
    start, end = map(float, re.search(r"falls from ([\d.]+) to ([\d.]+) at", own.title).groups())
    assert f"a {share} share" in own.title
    assert start == pytest.approx(2.8, abs=0.006)
    assert end == pytest.approx(2.4 * np.median(laws.domain.ratio(1e9, 1e9, largest.median)), rel=0.01)
    for picture in (own, general):
        texts = drawn(picture)
        assert {"100M parameters", "300M parameters", "1B parameters"} <= set(texts)
        assert len({text for text in texts if text.startswith("before ")}) == 3
        measured_rows = [row for row in picture.numbers.rows if row[1] and row[2]]
        assert len(measured_rows) == 15
        assert all(float(row[1]) == pytest.approx(float(row[2]), rel=0.01) for row in measured_rows)


def test_a_general_loss_that_never_rises_has_no_largest_share(drawn):
    runs, laws = laws_and_runs(sizes=(1e9,))
    flat = replace(laws, general=ratio_law("general", 0.001, -0.1))
    picture = continued_pictures(runs, flat)[1]
    assert picture.title == "General loss keeps within 1 % at every share"
    drawn(picture)


def test_a_domain_may_have_any_name(hostile, drawn):
    for picture in continued_pictures(*laws_and_runs(hostile)):
        drawn(picture)
    drawn(shares_picture(outlook(hostile)))


# what a plan is to gain


def outlook(domain="law", share=0.8) -> ContinuedOutlook:
    def around(value: float, half: float) -> Quantity:
        return Quantity(value, {0.5: (value - half / 2, value + half / 2), 0.9: (value - half, value + half)})

    curve = tuple(
        (s, 1.03 - 0.2 * s, 1.0 - 0.2 * s, 1.06 - 0.2 * s, 0.99 + 0.05 * s, 0.97 + 0.05 * s, 1.01 + 0.05 * s)
        for s in np.linspace(0.0, 1.0, 21).tolist()
    )
    return ContinuedOutlook(
        domain=domain, tokens=5e10, share=share, share_stated=True,
        domain_ratio=around(1.03 - 0.2 * share, 0.03), general_ratio=around(0.99 + 0.05 * share, 0.02),
        domain_loss_nats=around(2.0, 0.1), general_loss_nats=around(2.1, 0.1), domain_loss_known=True,
        most_general_rise=0.01, largest_share=around(0.4, 0.2), p_within_limit=0.1, generalist_loss_nats=None,
        machines=MachineTime(1e20, None, None, None), beyond_decades={}, source="made up", curve=curve, notes=(),
    )  # fmt: skip


def test_a_plans_share_and_its_limit_are_in_the_picture(drawn):
    picture = shares_picture(outlook())
    assert picture.title == "Domain loss −13.0 %, general loss +3.0 % at share 80 %"
    texts = drawn(picture)
    assert "limit +1 %" in texts
    assert "+3.0 % (+1.0 % to +5.0 %)" in texts
    assert picture.numbers.rows[-1][-2:] == ("40 %", "20 % to 60 %")


@pytest.mark.parametrize("method", ["best_of_n", "ppo", "dpo"])
@pytest.mark.parametrize("kl", [0.5, 300.0])
def test_a_guess_is_called_one(method, kl, plan, drawn):
    stage = {"method": method, "comparisons": "30k", "kl_nats": kl}
    found = feedback_outlook(plan("7B", "2T").model_copy(update={"post_training": stage_of(stage)}), None)
    picture = gain_picture(found)
    assert picture.title.startswith("Unmeasured guess: feedback ")
    assert picture.title.endswith("nothing is decided")
    assert "nothing is measured" in picture.subtitle
    texts = drawn(picture)
    assert any(text.startswith("plan, KL") for text in texts)
    points = [row for row in every_row(picture.spec(500)) if "gain" in row]
    assert {row["d"] for row in points} == {math.sqrt(kl)}
    assert {row["gain"] for row in points} == {found.gain.median}


def stage_of(stated: dict):
    return FeedbackConfig.model_validate(stated)


def every_row(spec: dict) -> list[dict]:
    found = list(spec["data"]["values"]) if "data" in spec else []
    return found + [
        row for key in ("layer", "vconcat", "hconcat") for part in spec.get(key, []) for row in every_row(part)
    ]


def test_a_measured_gain_says_how_far_past_its_peak(drawn, tmp_path):
    rows = measured()
    save_laws({"best_of_n": fit_feedback(rows)}, tmp_path / "law.json")
    stage = {"method": "best_of_n", "comparisons": "2k", "kl_nats": 5.0, "law": "law.json"}
    stated = {"model": {"params": "7B"}, "data": {"tokens": "2T"}, "post_training": stage}
    found = feedback_outlook(RunConfig.from_mapping(stated, folder=tmp_path), None)
    picture = gain_picture(found)
    assert picture.title.startswith("Feedback gains ")
    assert f"at KL 5.0; past its peak: {words.percent(found.p_past_peak)}" in picture.title
    assert any(text.startswith("peak KL") for text in drawn(picture))
    assert json.dumps(picture.spec(320))
