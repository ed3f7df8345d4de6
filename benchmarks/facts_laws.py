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
from _tables import Task, read, tasks
from foretrain.core.files import write_json
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import LawPrior, Scores, backtest, learn_prior
from foretrain.simulator.fitting import prior as prior_module
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor import calibration as calibration_module
from foretrain.simulator.predictor.calibration import Calibration, public_calibration
from foretrain.simulator.predictor.loss_model import fit_loss_model
from foretrain.simulator.predictor.pooling import held_out_scores, pool
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import save

HERE = Path(__file__).resolve().parents[1] / "datasets" / "facts" / "laws"
COMMAND = "python benchmarks/facts_laws.py"
GENERAL = get_law("general")
UNLIKE = ("ice",)  # a multilingual validation set whose loss hardly falls: not what the prior is for
WEB = {  # training and validation text of like kind, mostly web
    "chinchilla": ["chinchilla/massivetext"],
    "olmo_ladder": ["olmo_ladder/c4_en"],
    "overtraining": ["overtraining_c4/c4_val", "overtraining_redpajama/openlm_val"],
    "datablations": ["datablations/c4"],
    "misfitting": ["misfitting_dense/c4"],
    "steplaw": ["steplaw/train"],
}
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


def make_predictors(out: Path, found: list[Task]) -> None:
    """One folder for each shipped predictor."""
    chinchilla = read("chinchilla/runs.csv")
    olmo = read("olmo_ladder/runs.csv").query("val_domain == 'c4_en'")
    repeats = read("datablations/runs.csv")
    steps = read("steplaw/dense_runs.csv")
    routed = read("routing_moe/runs.csv")
    routed = routed[
        (routed.router_type.isin(["S-Base", "Dense"])) & (routed.k == 1) & (routed.routing_frequency == 0.5)
    ]
    made = {
        "chinchilla-massivetext": one(
            chinchilla[["run_id", "params", "tokens", "flops", "loss"]], "chinchilla", corpus="MassiveText",
            title="Chinchilla (70M to 16B) on MassiveText", val_domain="MassiveText (smoothed training loss)",
            tokenizer="SentencePiece, 32k", params_kind="total",
        ),
        "olmo-c4": one(
            olmo[["params", "tokens", "flops", "loss"]], "olmo_ladder", corpus="OLMo-2 pretraining mix",
            title="OLMo-2 ladder (190M to 1B) on C4", val_domain="C4 (English)", tokenizer="dolma2, 100k",
            params_kind="non_embedding",
        ),
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
    made["web-text"] = web_text(found, made)
    for name, predictor in made.items():
        save(predictor.renamed(name, {"command": COMMAND}), out / name)
        print(f"{name}: {', '.join(m.fit.law.name for m in predictor.models.values())}")


def one(frame, source: str, law: str = "auto", **about) -> Predictor:
    """A predictor of one table, fitted as `simulate fit --prior public` does."""
    table = RunTable.from_frame(frame.reset_index(drop=True), where=f"{source}/runs.csv")
    return Predictor.fit(table, law, prior="public", surrogate="none", about={**SOURCES[source], **about})


def web_text(found: list[Task], made: dict[str, Predictor]) -> Predictor:
    """The pooled predictor: general law over six sources, repeats and experts from the tables that show them."""
    by_name = {task.name: task for task in found}
    prior = prior_module.public_prior()
    items, models = {}, {}
    for source, names in WEB.items():
        for name in names:
            observations = by_name[name].observations
            model = fit_loss_model(observations, "general", prior, learner="none")
            top = observations.take(observations.compute > observations.compute.max() / 10)
            models.setdefault(source, []).append(model)
            items.setdefault(source, []).append((model, top.columns, top.loss))
    extra = {"repetition": made["repeats-c4"].models["loss"], "experts": made["routing-moe"].models["loss"]}
    scores = held_out_scores(items)
    pooled = replace(pool(models, extra), calibration=Calibration.from_scores(scores, public_calibration()))
    about = {
        "title": "English web text, pooled over the public tables: corpus and tokenizer unknown",
        "source": "; ".join(f"{s} ({', '.join(n.split('/')[1] for n in names)})" for s, names in WEB.items()),
        "corpus": "web text", "val_domain": "web text", "tokenizer": None, "params_kind": "active", "prior": "public",
        "table": "pooled", "seed": 0,
    }  # fmt: skip
    return Predictor("web-text", {"loss": pooled}, about)


def main() -> None:
    """Write, or with --check compare."""
    warnings.simplefilter("ignore")
    check = "--check" in sys.argv[1:]
    found = tasks()
    if not check:
        make_prior(HERE, found)
        _forget()
        make_predictors(HERE, found)
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make_prior(out, found)
        make_predictors(out, found)
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
