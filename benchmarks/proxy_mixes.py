"""Do small proxies rank data mixes for a larger model? Mixes over five real domains, unseen ones at a larger size.

    python benchmarks/proxy_mixes.py            trains, then compares
    python benchmarks/proxy_mixes.py --kept     compares from results/proxy_mixes.csv; trains nothing

48 mixes are trained at 41k parameters on 0.5M tokens, 16 others at 177k on 1M. A regression from shares to a domain's
loss, fitted on the small runs, ranks the large ones: ridge, a Gaussian process, LightGBM with RegMix's settings. The
noise ceiling is what no regression is needed for: the same 16 mixes trained at the small size rank the large runs.
Trains for about ten minutes on two cores; interrupted, the same command goes on.

End to end: `Predictor.fit` on the small runs, as `simulate fit` does it, predicts the loss of the large ones, with
intervals. It sees the sampled mixes alone, or with them the ladder (results/ladder.csv: an even mix at several sizes
and token counts), of which only sizes below the large one count, or also the even mix at the large size as an anchor.
Beside it, `own loss`: the small run of the same mix, its loss taken as it is, and moved by what the even mix says.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _proxies import WORK, corpora, train
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.predictor import Predictor
from scipy.stats import spearmanr

DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
SMALL, LARGE = 24, 56  # widths: 41k and 177k parameters, 4.4 times as many
LR = 0.005
COMMON = {
    "lr": LR,
    "mix": "uniform",
    "engine": {"compile": "always", "group_size": 4, "eval_tokens": 32768},
}
CONCENTRATION = [0.15, 0.3, 0.7, 1.5]
UNSEEN, SEEN = 16, 48
RESULTS = Path(__file__).parent / "results" / "proxy_mixes.csv"
LADDER = RESULTS.parent / "ladder.csv"
TREES = {"n_estimators": 1000, "learning_rate": 0.01, "verbose": -1, "num_threads": 2, "seed": 0}  # RegMix, appendix


def main() -> None:
    """Train both sizes, or take the kept table, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", action="store_true", help="compare from the kept results; train nothing")
    table = pd.read_csv(RESULTS) if parser.parse_args().kept else _trained()
    report(table)
    end_to_end(table, pd.read_csv(LADDER))


def _trained() -> pd.DataFrame:
    started = time.monotonic()
    large = _runs("large", LARGE, "1M", {"sample": UNSEEN, "concentration": CONCENTRATION, "seeds": 1}, seed=100)
    unseen = large.groupby(_mix_columns(large), as_index=False).first()[_mix_columns(large)]
    include = [dict(zip(DOMAINS, map(float, row), strict=True)) for row in unseen.to_numpy()]
    sampled = {"sample": SEEN, "concentration": CONCENTRATION, "include": include, "seeds": 1}
    small = _runs("small", SMALL, "0.5M", sampled, seed=0)
    table = pd.concat([large.assign(part="large"), small.assign(part="small")], ignore_index=True)
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(f"{len(small)} small and {len(large)} large runs, {(time.monotonic() - started) / 60:.1f} min (of this call)")
    return table


def report(table: pd.DataFrame) -> None:
    """Print rank correlations on the unseen mixes at the large size, by domain and method."""
    columns = _mix_columns(table)
    fitted, same, large = _parts(table)
    print(
        f"{len(fitted)} mixes fitted at {fitted.params.iloc[0]:.0f} parameters, {len(large)} unseen ones ranked at ",
        end="",
    )
    print(f"{large.params.iloc[0]:.0f}")
    print(f"{'target':<18}{'ceiling':>9}{'ridge':>9}{'GP':>9}{'LightGBM':>10}{'spread, nats':>14}")
    for target in [*(f"loss.{domain}" for domain in DOMAINS), "loss"]:
        truth = large[target].to_numpy()
        ranks = [spearmanr(same[target], truth).statistic]
        for method in (_ridge, _process, _trees):
            predicted = method(fitted[columns].to_numpy(), fitted[target].to_numpy(), large[columns].to_numpy())
            ranks.append(spearmanr(predicted, truth).statistic)
        cells = f"{ranks[0]:>9.3f}{ranks[1]:>9.3f}{ranks[2]:>9.3f}{ranks[3]:>10.3f}"
        print(f"{target:<18}{cells}{np.ptp(truth):>14.3f}")


def _parts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Small runs of mixes that the large size doesn't have; those that it has, and the large runs, in one order."""
    columns = _mix_columns(table)
    small = table[table.part == "small"].groupby(columns, as_index=False).mean(numeric_only=True)
    large = table[table.part == "large"].groupby(columns, as_index=False).mean(numeric_only=True)
    keys = {tuple(row) for row in large[columns].round(6).to_numpy()}
    known = np.array([tuple(row) in keys for row in small[columns].round(6).to_numpy()])
    same = small[known].sort_values(columns).reset_index(drop=True)
    return small[~known], same, large.sort_values(columns).reset_index(drop=True)


def end_to_end(table: pd.DataFrame, ladder: pd.DataFrame) -> None:
    """Print how `Predictor.fit` on small runs ranks and predicts the large ones, beside the small run's own loss."""
    _, same, large = _parts(table)
    observed = RunTable.from_frame(_runs_only(large.assign(run_id=[f"large-{i}" for i in range(len(large))])))
    print("\nend to end, errors in % of the large run's loss: mean over the five domains and `loss`")
    print(
        f"{'fitted on':<42}{'runs':>5}{'Spearman':>10}{'mean':>7}{'bias':>7}{'largest':>9}{'in 50 %':>9}{'in 90 %':>9}"
    )
    for name, runs in _fitted_on(table, ladder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = Predictor.fit(RunTable.from_frame(_runs_only(runs)))
        found = pd.DataFrame([_figures(f, large[t]) for t, f in score(predictor, observed)["targets"].items()]).mean()
        _line(name, len(runs), found)
    targets = [*(f"loss.{domain}" for domain in DOMAINS), "loss"]
    for name, moved in (("own loss at the small size", False), ("own loss, moved by the even mix", True)):
        found = pd.DataFrame([_own_loss(same, large, ladder, t, moved) for t in targets]).mean()
        _line(name, len(same), found)


def _fitted_on(table: pd.DataFrame, ladder: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    size = table[table.part == "large"].params.iloc[0]
    small = table[table.part == "small"]
    fitted, _, _ = _parts(table)
    unseen = small[small[_mix_columns(table)].round(6).apply(tuple, axis=1).isin(_keys(fitted, _mix_columns(table)))]
    below = ladder[ladder.params < 0.99 * size]
    yield "48 small mixes", unseen
    yield "48 small mixes, ladder below the size", pd.concat([unseen, below])
    yield "64 small mixes, ladder below the size", pd.concat([small, below])
    anchor = ladder[ladder.params < 1.01 * size]
    yield "48 small mixes, ladder up to the size", pd.concat([unseen, anchor])


def _keys(frame: pd.DataFrame, columns: list[str]) -> set[tuple]:
    return set(frame[columns].round(6).apply(tuple, axis=1))


def _runs_only(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that describe a run and its losses: what differs between the two campaigns by accident stays out."""
    wanted = ["run_id", "params", "tokens", *_mix_columns(frame), "loss", *(f"loss.{d}" for d in DOMAINS)]
    return frame[wanted].reset_index(drop=True)


def _figures(scored: dict, observed: pd.Series) -> dict[str, float]:
    mean = float(observed.mean())
    return {
        "spearman": scored["spearman"] or 0.0,
        "mean": 100 * scored["mae_nats"] / mean,
        "bias": 100 * scored["bias_nats"] / mean,
        "largest": 100 * scored["max_relative_error"],
        "half": scored["coverage"]["0.5"],
        "most": scored["coverage"]["0.9"],
    }


def _own_loss(same: pd.DataFrame, large: pd.DataFrame, ladder: pd.DataFrame, target: str, moved: bool) -> dict:
    """The small run's loss as the prediction; `moved` by the difference of the even mix's losses at the two sizes."""
    predicted, observed = same[target].to_numpy(), large[target].to_numpy()
    if moved:
        predicted = predicted + _even_mix(ladder, large, target) - _even_mix(ladder, same, target)
    error = predicted - observed
    return {
        "spearman": spearmanr(predicted, observed).statistic,
        "mean": 100 * np.abs(error).mean() / observed.mean(),
        "bias": 100 * error.mean() / observed.mean(),
        "largest": 100 * np.abs(error / observed).max(),
    }


def _even_mix(ladder: pd.DataFrame, like: pd.DataFrame, target: str) -> float:
    """The even mix's loss at the size and token count of these runs."""
    off = np.abs(np.log(ladder.params / like.params.iloc[0])) + np.abs(np.log(ladder.tokens / like.tokens.iloc[0]))
    return float(ladder[target][off < 0.02].mean())


def _line(name: str, runs: int, found: pd.Series) -> None:
    inside = f"{found['half']:>9.0%}{found['most']:>9.0%}" if "most" in found else ""
    print(f"{name:<42}{runs:>5}{found['spearman']:>10.3f}{found['mean']:>7.2f}{found['bias']:>+7.2f}"
          f"{found['largest']:>9.2f}{inside}", flush=True)  # fmt: skip


def _runs(name: str, width: int, tokens: str, mixes: dict, seed: int) -> pd.DataFrame:
    space = {**COMMON, "widths": [width], "tokens": [tokens], "mixes": mixes, "seed": seed}
    project, _ = train(WORK / f"mixes-{name}", corpora(DOMAINS), space)
    frame = project.table().frame
    return frame[frame.run_id.str.startswith("mix-")]


def _mix_columns(table: pd.DataFrame) -> list[str]:
    return [f"mix.{domain}" for domain in DOMAINS if f"mix.{domain}" in table]


def _features(shares: np.ndarray) -> np.ndarray:
    """Shares and their logarithms with an offset: a domain's loss falls steeply from its first per cent on."""
    return np.hstack([shares, np.log(shares + 0.01)])


def _ridge(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 3, 28)))
    return model.fit(_features(shares), loss).predict(_features(unseen))


def _process(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0) * Matern(np.ones(shares.shape[1]), (0.05, 50.0), nu=2.5) + WhiteKernel(1e-3, (1e-6, 1))
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length scale at its bound says that a domain doesn't matter
        return model.fit(np.log(shares + 0.01), loss).predict(np.log(unseen + 0.01))


def _trees(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    from lightgbm import LGBMRegressor

    model = LGBMRegressor(**TREES).fit(pd.DataFrame(shares), loss)
    return np.asarray(model.predict(pd.DataFrame(unseen)))


if __name__ == "__main__":
    main()
