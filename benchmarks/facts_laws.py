"""Make everything in datasets/facts/laws from the shared run tables: the public prior, its scores, the predictors.

    python benchmarks/facts_laws.py            write the files
    python benchmarks/facts_laws.py --check    make them again elsewhere and compare byte for byte

What is written are parameters, draws of parameters and quantiles of errors; no row of a table.
"""

from __future__ import annotations

import filecmp
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from _architectures.crossing import joint_law
from _families import families, learn_population
from _tables import Task, read, tasks
from foretrain.core.files import write_json
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Fit, LawPrior, Scores, backtest, learn_prior
from foretrain.simulator.fitting import prior as prior_module
from foretrain.simulator.hierarchy import shipped
from foretrain.simulator.hierarchy.coordinates import REFERENCE
from foretrain.simulator.laws import get_law, terms
from foretrain.simulator.predictor import calibration as calibration_module
from foretrain.simulator.predictor.calibration import Calibration
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.predictor.textbook_parameters import rebase
from known_corpora import judged, quantiles

HERE = Path(__file__).resolve().parents[1] / "datasets" / "facts" / "laws"
COMMAND = "python benchmarks/facts_laws.py"
GENERAL = get_law("general")
UNLIKE = ("ice",)  # a multilingual validation set whose loss hardly falls: not what the prior is for
SOURCES = {
    "chinchilla": {
        "source": "Hoffmann et al. 2022 (arXiv 2203.15556) figure 4, read by Besiroglu et al. 2024 (arXiv 2404.10102)",
        "commit": "epoch-research/analyzing-chinchilla 92258837425e1b5f2851d624287f0120583a3d0e",
        "licence": "none stated; facts read off a published figure",
    },
    "olmo_ladder": {
        "source": "Bhagia et al. 2024 (arXiv 2412.04403), OLMo model ladder",
        "commit": "allenai/OLMo-ladder 67a3f440f787d020da35e3ca8eeae475fae754f5",
        "licence": "Apache-2.0",
    },
    "datablations": {
        "source": "Muennighoff et al. 2023 (arXiv 2305.16264)",
        "commit": "huggingface/datablations 13701315b163f1c54642b94ad237b2699187c3ee",
        "licence": "Apache-2.0",
    },
    "steplaw": {
        "source": "StepLaw (arXiv 2503.04715), dense runs",
        "commit": "step-law/steplaw 32a8f4cc50247695fb56cc6c9117abdf67c97763",
        "licence": "none stated in the repository",
    },
    "proxy_architectures": {
        "source": "our own proxies: python benchmarks/architectures.py",
        "licence": "Apache-2.0",
    },
    "routing_moe": {
        "source": "Clark et al. 2022 (arXiv 2202.01169)",
        "commit": "google-deepmind/scaling_laws_for_routing 42da0c392b127df2c01fa7b705f72396050d05e5",
        "licence": "CC-BY 4.0 (data)",
    },
}


def groups(found: list[Task], without: str | None = None) -> dict[str, list]:
    """Observations by source, for learning a prior."""
    grouped: dict[str, list] = {}
    for task in found:
        if task.source != without and task.target not in UNLIKE:
            grouped.setdefault(task.source, []).append(task.observations)
    return grouped


def leave_one_out_priors(found: list[Task]) -> dict[str, LawPrior]:
    """For each source, the prior learned on all the others."""
    return {source: learn_prior(GENERAL, groups(found, source)) for source in dict.fromkeys(t.source for t in found)}


def public_scores(found: list[Task], priors: dict[str, LawPrior]) -> dict[str, list[Scores]]:
    """Back-test scores of every task under the prior of the other sources, by source."""
    scores: dict[str, list[Scores]] = {}
    for task in found:
        scores.setdefault(task.source, []).append(backtest(GENERAL, task.observations, priors[task.source], draws=64))
    return scores


def make_prior(out: Path, found: list[Task]) -> None:
    """prior.json: the prior over all sources, and the pooled scores of the leave-one-out priors."""
    provenance = {
        "command": COMMAND,
        "tables": sorted(t.name for t in found if t.target not in UNLIKE),
        "method": "expectation-maximisation over sources, each counted once; scores leave one source out",
    }
    prior = learn_prior(GENERAL, groups(found), provenance=provenance)
    calibration = Calibration.pooled(public_scores(found, leave_one_out_priors(found)))
    rounded = LawPrior(prior.name, _rounded(prior.mean), _rounded(prior.covariance), provenance)
    write_json(out / "prior.json", {**rounded.to_dict(), "calibration": calibration.to_dict()})


def make_predictors(out: Path) -> None:
    """One folder for each shipped predictor."""
    repeats = read("datablations/runs.csv")
    steps = read("steplaw/dense_runs.csv")
    routed = read("routing_moe/runs.csv")
    routed = routed[
        (routed.router_type.isin(["S-Base", "Dense"])) & (routed.k == 1) & (routed.routing_frequency == 0.5)
    ]
    made = {
        "repeats-c4": one(
            repeats[["run_id", "params", "tokens", "unique_tokens", "loss"]], "datablations", corpus="C4",
            law="general+repetition",
            title="Data-constrained runs (7M to 9B, up to 1500 epochs) on C4", val_domain="C4", tokenizer="GPT-2, 50k",
            params_kind="total",
        ),
        "steplaw": one(
            steps[["run_id", "params", "tokens", "lr", "batch_tokens", "loss", "diverged"]], "steplaw",
            corpus="StepLaw pretraining data", title="StepLaw: learning rate and batch size (215M to 1.1B)",
            val_domain="training loss", params_kind="non_embedding",
        ),
        "routing-moe": one(
            routed[["run_id", "params", "tokens", "num_experts", "loss"]], "routing_moe", corpus="MassiveText",
            title="Routed transformers (S-Base, 15M to 370M per token, up to 512 experts)",
            val_domain="MassiveText validation", tokenizer="SentencePiece, 32k", params_kind="active",
        ),
    }  # fmt: skip
    made["proxy-architectures"] = of_proxies()
    for name, predictor in made.items():
        # what looks wrong with a public table is no warning to whoever forecasts a run of their own
        save(replace(predictor.renamed(name, {"command": COMMAND}), notes=()), out / name)
        print(f"{name}: {', '.join(m.fit.law.name for m in predictor.models.values())}")


def of_proxies() -> Predictor:
    """The law of the proxies of every mixer, from the table that benchmarks/architectures.py writes."""
    place = "benchmarks/results/architectures.csv"
    table = RunTable.from_frame(RunTable.read(Path(__file__).resolve().parents[1] / place).frame, where=place)
    about = {
        **SOURCES["proxy_architectures"],
        "title": f"Proxies of {len(set(table.frame['architecture']))} architectures (20k to 240k)",
        "corpus": "five domains in equal parts",
        "val_domain": "their mean",
        "tokenizer": "bytes",
        "params_kind": "non_embedding",
    }
    return joint_law(table, about=about)


def one(frame, source: str, law: str = "auto", **about) -> Predictor:
    """A predictor of one table, fitted as `simulate fit --prior public` does."""
    table = RunTable.from_frame(frame.reset_index(drop=True), where=f"{source}/runs.csv")
    return Predictor.fit(table, law, prior="public", surrogate="none", about={**SOURCES[source], **about})


def make_hierarchy(out: Path) -> None:
    """hierarchy.json: what the runs of every public table say of it, and how tables differ."""
    found = families()
    population = learn_population(found)
    terms = {}
    for name, predictor in {"repetition": "repeats-c4", "experts": "routing-moe"}.items():
        terms[name] = _term_moments(name, load(str(out / predictor)).models["loss"].fit)
    of_errors = quantiles(list(judged(found, population)))
    data = {"command": COMMAND, **shipped.to_dict(population), "terms": terms}
    data["quantiles"] = _rounded(of_errors).tolist()
    write_json(out / "hierarchy.json", data)


def _term_moments(name: str, fit: Fit) -> dict[str, list]:
    """Mean and covariance of a term's parameters at the reference point of the hierarchy."""
    law = fit.law
    places = [law.names.index(parameter.name) for parameter in terms()[name].parameters]
    draws = rebase(law, fit.draws, fit.reference, REFERENCE)[:, places]
    mean = rebase(law, fit.theta[None], fit.reference, REFERENCE)[0, places]
    return {"mean": _rounded(mean).tolist(), "covariance": _rounded(np.atleast_2d(np.cov(draws.T))).tolist()}


def main() -> None:
    """Write, or with --check compare."""
    warnings.simplefilter("ignore")
    check = "--check" in sys.argv[1:]
    found = tasks()
    if not check:
        make_prior(HERE, found)
        _forget()
        make_predictors(HERE)
        make_hierarchy(HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make_prior(out, found)
        make_predictors(out)
        make_hierarchy(out)
        names = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
        differ = filecmp.cmpfiles(out, HERE, names, shallow=False)
        print(f"{len(differ[0])} files the same, differing: {differ[1]}, missing: {differ[2]}")
        sys.exit(1 if differ[1] or differ[2] else 0)


def _forget() -> None:
    prior_module.public_prior.cache_clear()
    calibration_module.public_calibration.cache_clear()


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: float(f"{v:.6g}"))(values)


if __name__ == "__main__":
    main()
