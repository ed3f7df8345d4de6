"""What the tests of the engine share: a small store of three known sources, and tiny runs on it.

Torch takes seconds to import, so it is left to the fixtures that need it.
"""

from collections.abc import Callable
from typing import Any

import pytest

VOCAB = 32


@pytest.fixture(scope="session")
def plain() -> Any:
    """Engine settings that are the same everywhere: CPU, fp32, not compiled, and little validation."""
    from foretrain.proxies.settings import EngineSettings

    return EngineSettings(device="cpu", precision="fp32", compile="never", eval_tokens=512)


@pytest.fixture(scope="session")
def one_thread():
    """Torch on one thread, as workers run it: bits depend on it, and the machine is shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Any:
    """Domains a, b and c: different Markov chains over the same 32 tokens, 20,000 training tokens each."""
    from foretrain.datasets.corpus.corpus import Corpus
    from foretrain.datasets.tokens.prepare import prepare

    source = {"kind": "zipf_markov", "vocab_size": VOCAB, "branching": 4, "tokens": 20_000}
    domains = {name: {"synthetic": {**source, "seed": seed}} for seed, name in enumerate("abc")}
    return prepare(Corpus.from_mapping({"domains": domains}), tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny_run() -> Callable[..., Any]:
    """`tiny_run(steps=24, recipe={}, shape={}, **more)`: 3,000 parameters, 4 sequences of 16 tokens a step."""
    from foretrain.core.model.architecture import Architecture
    from foretrain.proxies.runs import ProxyRun, Recipe

    plain_shape = {"layers": 1, "width": 16, "heads": 2, "ffn_width": 32, "vocab_size": VOCAB, "context_length": 16}

    def make(steps: int = 24, recipe: dict | None = None, shape: dict | None = None, **more: Any) -> ProxyRun:
        given = {"run_id": "r", "mix": {"a": 0.5, "b": 0.5}, "batch_sequences": 4, **more}
        sizes = Architecture(**{**plain_shape, "short_conv": 2, **(shape or {})})
        tokens = steps * given["batch_sequences"] * sizes.context_length
        settings = Recipe(**{"warmup_tokens": 0, **(recipe or {})})
        return ProxyRun(**{"tokens": tokens, **given}, shape=sizes, recipe=settings)

    return make
