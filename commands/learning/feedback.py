"""`simulate feedback`: what policies gained by learning from comparisons, as a law that plans can name."""

from __future__ import annotations

import click

from .._shared import chart_option, json_option, show


@click.group()
def feedback() -> None:
    """Learning from comparisons: the law of what it gains, fitted to your own measurements.

    \b
    Example:  simulate feedback fit policies.csv --out feedback.json
    """


@feedback.command()
@click.argument("measurements", metavar="TABLE")
@click.option("--out", metavar="FILE", help="Write the law here, as JSON; a plan names it as post_training.law.")
@click.option(
    "--standardised",
    is_flag=True,
    help="Rewards are in standard deviations of the true reward among the start's answers.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of the draws.")
@chart_option("the measured gains by KL divergence, and the law with its interval")
@json_option
def fit(measurements: str, out: str | None, standardised: bool, seed: int, chart: str | None, as_json: bool) -> None:
    """Fit α and β of R = d (α − β d) (best of n) or d (α − β ln d) (ppo, dpo), d = √KL, to a table.

    TABLE is a CSV file, one row a policy: method, gold (the mean true reward), kl_nats or n (of best_of_n), and perhaps
    comparisons, reward_params, seed, gold_se. At least three KL divergences a method; rows at KL 0 say what the start
    has. α and β of other numbers of comparisons follow from those that differ in them.

    \b
    Example:  simulate feedback fit policies.csv --out feedback.json
              simulate predict --config run.yaml --set post_training.law=feedback.json
    """
    from ...simulator.after_pretraining.feedback.fitting import fit_feedback
    from ...simulator.after_pretraining.feedback.measurements import Measurements
    from ...simulator.after_pretraining.feedback.storage import save_laws
    from ...simulator.after_pretraining.feedback.summary import FeedbackSummary

    rows = Measurements.read(measurements)
    laws = {method: fit_feedback(one, seed, standardised=standardised) for method, one in rows.items()}
    if out is not None:
        save_laws(laws, out)
    if chart is not None:
        from ...simulator.report.charts.after_pretraining.feedback import feedback_pictures
        from ...simulator.report.charts.writing import save_pictures

        save_pictures(feedback_pictures(rows, laws), chart)
    found = {method: FeedbackSummary.of(law) for method, law in laws.items()}
    facts = {"laws": {method: one.to_dict() for method, one in found.items()}, "out": out}

    def view():
        from ...simulator.report.tables.after_pretraining import feedback_view

        return feedback_view(found, out)

    show(as_json, facts, view)
