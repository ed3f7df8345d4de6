"""The inputs: a table of 14 runs, one of 20 mixes, two small texts."""

import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(7)
N = 10 ** rng.uniform(7, 9, 14)
D = N * 10 ** rng.uniform(0.7, 2, 14)
L = (1.7 + 400 * N**-0.34 + 1500 * D**-0.34) * np.exp(rng.normal(0, 0.003, 14))
rows = [f"{a:.10g},{b:.10g},{c:.10g}" for a, b, c in zip(N, D, L, strict=True)]
Path("runs.csv").write_text("\n".join(["params,tokens,loss", *rows]) + "\n")

rng = np.random.default_rng(3)
M = rng.dirichlet([1, 1, 1], 30)
loss = 2 + 0.5 * (M[:, 0] + 0.2 * M[:, 1] + 0.05) ** -0.15 * (1 + 0.05 * np.sin(9 * M[:, 0])) * np.exp(
    rng.normal(0, 0.001, 30)
)
rows = [f"1000000,1000000000,{a:.6f},{b:.6f},{c:.6f},{y:.6f}" for (a, b, c), y in zip(M, loss, strict=True)]
Path("mixes.csv").write_text("\n".join(["params,tokens,mix.a,mix.b,mix.c,loss", *rows]) + "\n")

rng = np.random.default_rng(1)
WORDS = {"a": ["one", "two", "three", "four", "five", "six"], "b": ["red", "green", "blue", "black", "white"]}
for name, words in WORDS.items():
    Path("texts", name).mkdir(parents=True, exist_ok=True)
    documents = [" ".join(rng.choice(words, 40)) for _ in range(60)]
    Path("texts", name, "part.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
