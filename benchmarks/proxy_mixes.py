"""Do small proxies rank data mixes for a larger model? Mixes over five real domains, unseen ones at a larger size.

    python benchmarks/proxy_mixes.py

48 mixes are trained at 41k parameters on 0.5M tokens, 16 others at 177k on 1M. A regression from shares to a domain's
loss, fitted on the small runs, ranks the large ones: ridge, a Gaussian process, LightGBM with RegMix's settings. The
noise ceiling is what no regression is needed for: the same 16 mixes trained at the small size rank the large runs.
Trains for about ten minutes on two cores; interrupted, the same command goes on.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _proxies import WORK, corpora, train
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
TREES = {"n_estimators": 1000, "learning_rate": 0.01, "verbose": -1, "num_threads": 2, "seed": 0}  # RegMix, appendix


def main() -> None:
    """Train both sizes, then compare."""
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
    report(table)


def report(table: pd.DataFrame) -> None:
    """Print rank correlations on the unseen mixes at the large size, by domain and method."""
    columns = _mix_columns(table)
    small = table[table.part == "small"].groupby(columns, as_index=False).mean(numeric_only=True)
    large = table[table.part == "large"].groupby(columns, as_index=False).mean(numeric_only=True)
    keys = {tuple(row) for row in large[columns].round(6).to_numpy()}
    known = np.array([tuple(row) in keys for row in small[columns].round(6).to_numpy()])
    same = small[known].sort_values(columns).reset_index(drop=True)
    large = large.sort_values(columns).reset_index(drop=True)
    fitted = small[~known]
    print(
        f"{len(fitted)} mixes fitted at {small.params.iloc[0]:.0f} parameters, {len(large)} unseen ones ranked at ",
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
