"""Make datasets/facts/curve_laws.json, the laws of the public loss curves, from the shared curves.

    python benchmarks/facts_curves.py            write the file
    python benchmarks/facts_curves.py --check    make it again elsewhere and compare byte for byte

What is written are fitted parameters, their covariance and the spread about them, per recipe and size; no row of a
table.
"""

from __future__ import annotations

import filecmp
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _public_curves import Recipe, recipes
from foretrain.core.files import write_json
from foretrain.simulator.curve.law.fitting import fit_curves
from foretrain.simulator.curve.law.size_trend import misfit
from foretrain.simulator.curve.library import Curve

FILE = Path(__file__).resolve().parents[1] / "datasets" / "facts" / "curve_laws.json"
COMMAND = "python benchmarks/facts_curves.py"
SOURCES = {
    "mpl": {
        "source": "Luo et al. 2025 (arXiv 2503.12811), released curves; training loss",
        "commit": "thu-yao-01-luo/MultiPowerLaw 8da9f1902602f3391b971a811e3cc51604541769",
        "licence": "MIT",
    },
    "nanogpt": {
        "source": "modded-nanogpt, records of 2024-06-06 and 2024-10-29, one optimizer each; training loss on FineWeb",
        "commit": "KellerJordan/modded-nanogpt f411b3d346aa52d3504324ca93c230fd84c6c07f",
        "licence": "MIT",
    },
    "olmo-ladder": {
        "source": "Bhagia et al. 2024 (arXiv 2412.04403), OLMo model ladder; validation loss on C4",
        "commit": "allenai/OLMo-ladder 67a3f440f787d020da35e3ca8eeae475fae754f5",
        "licence": "Apache-2.0",
    },
    "gpt-3": {
        "source": "Brown et al. 2020 (arXiv 2005.14165) figure 4.1, read off by ColPret; validation loss",
        "commit": "IBM/ColPret 16f23bbe054277ddc4afd07a972dd7cfbe3f48c3",
        "licence": "MIT (the aggregation)",
    },
    "opt": {
        "source": "Xia et al. 2023 (arXiv 2212.09803), checkpoints of OPT; validation loss",
        "commit": "IBM/ColPret 16f23bbe054277ddc4afd07a972dd7cfbe3f48c3",
        "licence": "MIT (the aggregation)",
    },
    "llama-2": {
        "source": "Touvron et al. 2023 (arXiv 2307.09288) figure 5, read off; training loss",
        "commit": "jzhang38/TinyLlama bf122247c486b6b897050e98cbb7bedae8eeba73 (a copy of the figure)",
        "licence": "Apache-2.0 (the repository); facts off a published figure",
    },
    "olmo-1": {
        "source": "Groeneveld et al. 2024 (arXiv 2402.00838), checkpoints of OLMo-1B; validation loss on C4",
        "commit": "IBM/ColPret 16f23bbe054277ddc4afd07a972dd7cfbe3f48c3",
        "licence": "MIT (the aggregation)",
    },
}


def make(out: Path) -> None:
    """Write the file."""
    laws = [law for recipe in recipes() for law in _laws(recipe)]
    write_json(out, {"command": COMMAND, "sources": SOURCES, "laws": laws})


def _laws(recipe: Recipe) -> list[dict[str, Any]]:
    """The law of each size, rising."""
    sizes = sorted({curve.size for curve in recipe.curves})
    return [_law(recipe, [curve for curve in recipe.curves if curve.size == size]) for size in sizes]


def _law(recipe: Recipe, curves: list[Curve]) -> dict[str, Any]:
    fit = fit_curves(curves)
    steps = [curve.path.steps for curve in curves]
    reached = [float(curve.path.behind(curve.path.steps)) for curve in curves]
    return {
        "family": recipe.name,
        "source": recipe.source,
        "size": curves[0].size,
        "curves": len(curves),
        "schedules": recipe.schedules,
        "steps": [min(steps), max(steps)],
        "peak_steps": _rounded(np.exp(np.mean(np.log(reached)))),
        **{key: _rounded(value) for key, value in fit.to_dict().items()},
        "misfit_sd": _rounded(misfit(fit, curves)),
    }


def _rounded(value: Any) -> Any:
    """Six digits of every number, so that another machine's last digits make no other file."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Write, or with --check compare."""
    warnings.simplefilter("ignore")
    if "--check" not in sys.argv[1:]:
        make(FILE)
        return
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / FILE.name
        make(again)
        same = filecmp.cmp(again, FILE, shallow=False)
    print(f"{FILE.name}: {'the same' if same else 'differs'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
