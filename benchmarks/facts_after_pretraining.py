"""Fit what ships of stages after pretraining: datasets/facts/feedback.json and continued.json, from our own proxies.

    python benchmarks/facts_after_pretraining.py

Reads the run tables that benchmarks/feedback.py and benchmarks/continued.py wrote to benchmarks/results/.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from _continued.campaigns import GENERAL, TARGET
from _continued.gates import continued_runs
from foretrain.core.errors import DataWarning
from foretrain.datasets import facts
from foretrain.simulator.after_pretraining.continued.fitting import fit_continued
from foretrain.simulator.after_pretraining.continued.storage import save_laws as save_continued
from foretrain.simulator.after_pretraining.feedback.fitting import fit_feedback
from foretrain.simulator.after_pretraining.feedback.measurements import Measurements
from foretrain.simulator.after_pretraining.feedback.storage import save_laws as save_feedback

FARTHEST_KL_NATS = 6.7
"""As far as best of n goes, of 2,048 answers."""
RESULTS = Path(__file__).parent / "results"
FACTS = Path(facts.__file__).parent


def main() -> None:
    """Fit and write both files."""
    warnings.simplefilter("ignore", DataWarning)  # sizes and losses of proxies look like slips of unit
    runs = continued_runs()
    source = f"proxies of ours that went on from {', '.join(GENERAL)} with {TARGET}: {runs.in_words}"
    save_continued(replace(fit_continued(runs), source=source), FACTS / "continued.json")
    # REINFORCE goes on to where its policies write nothing but one word, which no law of α and β is about
    rows = {
        method: one.where(one.kl_nats <= FARTHEST_KL_NATS)
        for method, one in Measurements.read(RESULTS / "feedback.csv").items()
    }
    save_feedback(
        {method: fit_feedback(one, standardised=True) for method, one in rows.items()}, FACTS / "feedback.json"
    )


if __name__ == "__main__":
    main()
