"""What tests share: the real command in a process of its own, tables of simulated runs, and small campaigns."""

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from foretrain.core.model.mixers import registry
from foretrain.core.model.mixers.mixer import Kept, Mixer, MixerFlops, Weights, fits_context
from foretrain.core.reading.fields import FieldError
from foretrain.core.registry import NO_PLUGINS

# what other packages of this installation add must not decide what these tests see, nor in processes that they start
os.environ[NO_PLUGINS] = "1"

Run = Callable[..., subprocess.CompletedProcess]

# A reader's terminal must not decide what these tests see, nor may each of hundreds of processes compile the program.
_LEFT_OUT = (
    "PYTHONDONTWRITEBYTECODE",
    "COLUMNS",
    "LINES",
    "FORCE_COLOR",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "PYTHONPATH",
)


# Whatever takes long starts first, so that no worker is left alone with it at the end.
LONG = ("ray", "proxies", "test_cli", "test_public_tables", "test_engine", "test_law_conformance", "test_optimize")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a module to one worker, whose fixtures are then made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.get_closest_marker("xdist_group").args[0], len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def blas_on_one_thread() -> Iterator[None]:
    """As the program fits: two workers' threads of BLAS would wait for each other (tests of surrogates took 10 times as
    long)."""
    import scipy.linalg  # noqa: F401  # brings a BLAS of its own, which is to be found
    from foretrain.simulator.fitting import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """The environment without what changes colours, widths or encodings."""
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return {**kept, "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="session")
def run_in(plain_environment) -> Run:
    """`run_in(folder, *arguments, **environment)`: `simulate` there, in a process of its own, off a terminal."""

    def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", "foretrain", *map(str, arguments)],
            cwd=folder,
            env={**plain_environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding=environment.get("PYTHONIOENCODING", "utf-8"),
            timeout=120,
        )
        assert "\x1b" not in done.stdout + done.stderr, "escape codes off a terminal"
        return done

    return run


@pytest.fixture
def run(run_in, tmp_path) -> Run:
    """`run(*arguments)`: `simulate` in this test's own folder."""
    return partial(run_in, tmp_path)


@pytest.fixture(scope="session")
def write_runs() -> Callable[..., Path]:
    """`write_runs(path, params, tokens, noise=0)`: a table of runs of a known Chinchilla law, loss in nats."""

    def write(path: Path, params, tokens, noise: float = 0.0, header: str = "params,tokens,loss", **more) -> Path:
        params, tokens = np.broadcast_arrays(np.asarray(params, float), np.asarray(tokens, float))
        loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
        loss = loss * np.exp(np.random.default_rng(len(loss)).normal(0, noise, len(loss)))
        columns = [params, tokens, loss, *(np.broadcast_to(values, loss.shape) for values in more.values())]
        rows = [",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)]
        path.write_text("\n".join([",".join([header, *more]), *rows]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def continued_law() -> Callable[[Path], None]:
    """`continued_law(path)`: write a law of continued pretraining on the domain law, of a hundred draws."""

    def write(path: Path) -> None:
        from foretrain.simulator.after_pretraining.continued.law import ContinuedLaw
        from foretrain.simulator.after_pretraining.continued.storage import ContinuedLaws, save_laws

        rng = np.random.default_rng(0)
        of_domain = [0.65, 0.01, 0.3, 0.10, 0.3, 0.12, 0.3, 0.05]
        in_general = [0.80, 0.01, 0.3, 0.10, 0.3, 0.05, 0.3, 0.05]
        measured = {"params": (1e9, 7e9), "tokens": (1e9, 5e10), "share": (0.0, 1.0)}
        laws = {}
        for of, values in (("domain", of_domain), ("general", in_general)):
            draws = np.array([*np.log(values), 0.2]) + 0.01 * rng.standard_normal((100, 9))
            laws[of] = ContinuedLaw(of, 3e9, 1e10, draws, np.full(100, 0.003), measured)
        before = np.array([[1e9, 2.6, 2.3], [7e9, 2.2, 2.0]])
        save_laws(ContinuedLaws("law", laws["domain"], laws["general"], before, 2e12, "synthetic"), path)

    return write


@pytest.fixture(scope="session")
def ladders_of_mixers():
    """`ladders_of_mixers({level: gain})`: runs of a ladder of each architecture, whose tokens count exp(gain) times."""

    def made(gains):
        rng = np.random.default_rng(0)
        rows = []
        for level, gain in gains.items():
            for params in (3e4, 6e4, 1.2e5, 2.4e5):
                for tokens in (5e5, 1e6, 2e6, 4e6, 8e6):
                    for seed in (1, 2):
                        loss = 1.0 + 1.5 * (params / 1e5) ** -0.3 + (tokens * np.exp(gain) / 1e6) ** -0.3
                        rows.append((params, tokens, level, seed, loss * np.exp(rng.normal(0, 0.004))))
        return pd.DataFrame(rows, columns=["params", "tokens", "architecture", "seed", "loss"])

    return made


@pytest.fixture(scope="session")
def dies_at() -> Callable[[int, Callable[[], object]], bool]:
    """`dies_at(step, work)`: do it in a process that ends without a word at this step of its work on the disk.

    Whether it came that far.
    """

    def forked(step: int, work: Callable[[], object]) -> bool:
        child = os.fork()
        if child == 0:
            left = iter(range(step, -1, -1))

            def counted(function):
                def call(*arguments, **keywords):
                    if next(left) == 0:
                        os._exit(9)
                    return function(*arguments, **keywords)

                return call

            try:
                for name in ("mkdir", "rename", "replace", "link", "unlink", "fsync", "rmdir"):
                    setattr(os, name, counted(getattr(os, name)))
                work()
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    return forked


@pytest.fixture(scope="module")
def fit_once() -> Iterator[None]:
    """Equal tables give equal fits, so each is fitted once for all tests of a module that asks for this."""
    from foretrain.simulator.predictor.predictor import Predictor

    fit, known = Predictor.fit, {}

    def cached(table, law="auto", **options):
        key = (table.digest(), law, tuple(sorted((name, str(value)) for name, value in options.items() if value)))
        if key not in known:
            known[key] = fit(table, law, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "fit", cached)
        yield


# campaigns of proxies

TRAIN = """
import json, sys
from foretrain.core.errors import ForetrainError
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.executors import get_executor
folder, name, workers, address = sys.argv[1:]
executor = get_executor(name, int(workers), address or None)
say = lambda *facts: print(json.dumps(facts), flush=True)
try:
    say("end", Campaign.open(folder).train(executor, say).to_dict()["complete"])
except ForetrainError as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory) -> Path:
    """A token store of two synthetic domains, a and b, 64 different tokens."""
    from foretrain.datasets.corpus.corpus import Corpus
    from foretrain.datasets.tokens.prepare import prepare

    folder = tmp_path_factory.mktemp("toy")
    source = {"kind": "zipf_markov", "vocab_size": 64, "tokens": 200_000}
    domains = {name: {"synthetic": {**source, "seed": seed}} for seed, name in enumerate("ab")}
    prepare(Corpus.from_mapping({"name": "toy", "domains": domains}, folder=folder), folder / "store")
    return folder / "store"


@pytest.fixture(scope="session")
def toy_run() -> Callable[..., Any]:
    """`toy_run(run_id, tokens, **fields)`: a proxy of 14 thousand parameters, at some 50 thousand tokens a second."""
    from foretrain.proxies.runs import ProxyRun

    def make(run_id: str, tokens: int = 8_192, **fields: Any) -> ProxyRun:
        shape = {"layers": 1, "width": 32, "heads": 2, "ffn_width": 64, "vocab_size": 64, "context_length": 32}
        plain = {"run_id": run_id, "tokens": tokens, "shape": shape, "mix": {"a": 0.5, "b": 0.5}}
        return ProxyRun.model_validate({**plain, **fields})

    return make


@pytest.fixture(scope="session")
def toy_settings() -> Any:
    """Settings that start at once and compute the same on every machine that these tests run on."""
    from foretrain.proxies.settings import EngineSettings

    facts = {"device": "cpu", "precision": "fp32", "compile": "never", "group_size": 2}
    return EngineSettings.model_validate({**facts, "eval_tokens": 2_048, "checkpoint_every_s": 0.5})


@pytest.fixture(scope="session")
def restore_ctrl_c() -> Callable[[], Any] | None:
    """What a child runs before its program (`preexec_fn`): in the background a test ignores Ctrl-C, and so would it."""
    return None if os.name == "nt" else partial(signal.signal, signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start_training(plain_environment, restore_ctrl_c, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """`start_training(folder, executor, address="", **environment)`: train a campaign in a process of its own.

    Its standard output is one line of JSON for each time that progress is reported. Killed at the end of the test.
    """
    started = []

    def start(folder: Path, executor: str, address: str = "", **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(folder), executor, "2", address],
            cwd=tmp_path,
            env={**plain_environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
            preexec_fn=restore_ctrl_c,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=node)
other = cluster.add_node(**node)
print("ready", cluster.address, flush=True)
for line in sys.stdin:
    if line == "kill\\n":
        cluster.remove_node(other, allow_graceful=False)
    else:
        other = cluster.add_node(**node)
    print("ready", flush=True)
cluster.shutdown()
"""


class RayCluster:
    """Two Ray nodes of one core each, all of whose ports are on the loopback interface."""

    def __init__(self, environment: dict[str, str], folder: str) -> None:
        self.environment = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": folder,  # named in another way, Ray still writes into /tmp/ray, which need not be there
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            # By its name for other systems, but it is what makes Ray stay on 127.0.0.1.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_worker_niceness": "0",  # else its workers starve where anything else runs
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            env={**environment, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,
        )
        self.address = self._answer()

    def kill_node(self) -> None:
        """Kill the second node at once."""
        self._say("kill")

    def add_node(self) -> None:
        """Bring a second node back."""
        self._say("add")

    def close(self) -> None:
        """End every process of the cluster."""
        self._process.stdin.close()
        with self._process, contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _say(self, word: str) -> None:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        for line in self._process.stdout:
            if line.startswith("ready"):
                return line.removeprefix("ready").strip()
        raise RuntimeError("the Ray cluster didn't start")


@pytest.fixture(scope="session")
def ray_cluster(plain_environment) -> Iterator[RayCluster]:
    """Two Ray nodes on this machine."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # the names of sockets in there must stay short
    cluster = RayCluster(plain_environment, folder)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def call_in() -> Callable[..., SimpleNamespace]:
    """`call_in(folder, *arguments)`: `simulate` in this process, which spares its start, in that folder."""
    from foretrain.cli import main

    def run(folder: Path, *arguments: object) -> SimpleNamespace:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stopped,
        ):
            main([str(argument) for argument in arguments])
        said, complaints = (read_back(stream) for stream in (out, err))
        return SimpleNamespace(returncode=stopped.value.code, stdout=said, stderr=complaints)

    return run


def read_back(stream: io.TextIOWrapper) -> str:
    """All that was written to a stream in memory."""
    stream.seek(0)
    return stream.read()


@pytest.fixture
def call(call_in, tmp_path, monkeypatch) -> Callable[..., SimpleNamespace]:
    """`call(*arguments)`: the same in this test's own folder, where the test is too."""
    monkeypatch.chdir(tmp_path)
    return partial(call_in, tmp_path)


class Boxes(Mixer):
    """A mixer without heads that adds up `taps` places, in groups of channels."""

    taps: int = 4
    groups: int = 2

    def check(self, shape):
        fits_context("taps", self.taps, shape)
        if shape.width % self.groups:
            raise FieldError("groups", f"got {self.groups}; expected a divisor of width {shape.width}")

    def weights(self, shape):
        return Weights(self.taps * self.groups, 0)

    def flops(self, shape):
        return MixerFlops(products=0.0, other=2.0 * self.taps * shape.width)

    def kept(self, shape):
        return Kept(fixed=self.taps * shape.width)


class Places(Boxes):
    """A mixer that has weights for every place, and heads."""

    has_heads = True
    any_context = False


@pytest.fixture
def toy_mixers() -> Iterator[None]:
    """Two more token mixers, `boxes` and `places`."""
    toys = {"boxes": Boxes, "places": Places}
    for name, mixer in toys.items():
        registry.register_mixer(name)(mixer)
    yield
    for name in toys:
        registry._MIXERS.remove(name)
