"""Whatever is wrong with the input, the command line says what and where, writes nothing, shows no traceback."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foretrain.cli import main
from foretrain.core.files import write_manifest
from foretrain.simulator.predictor.storage import folder as predictor_io

ROOT = Path(__file__).parents[2]
SEVEN_B = ROOT / "examples/llama-7b.yaml"
CONFIGS = json.loads((ROOT / "tests/data/bad_configs.json").read_text(encoding="utf-8"))
TABLES = json.loads((ROOT / "tests/data/bad_tables.json").read_text(encoding="utf-8"))
# What a parser or a terminal finds hardest, one of each kind: these also run in a process of their own.
NASTY_CONFIGS = {"alias-bomb", "escaped-control", "half-surrogate"}
NASTY_TABLES = {"zero-byte"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, write_runs) -> Path:
    """A sound predictor, fitted on 40 runs; tests damage copies of it."""
    folder = tmp_path_factory.mktemp("fitted")
    rng = np.random.default_rng(3)
    write_runs(folder / "runs.csv", 10 ** rng.uniform(7, 9, 40), 10 ** rng.uniform(8, 10, 40), 0.005)
    with pytest.raises(SystemExit) as stopped:
        main(["fit", str(folder / "runs.csv"), "--law", "chinchilla", "--out", str(folder / "mine")])
    assert stopped.value.code == 0
    return folder / "mine"


@pytest.fixture
def copy(fitted, tmp_path) -> Path:
    """A copy of the sound predictor, at `bad` in this test's own folder."""
    (tmp_path / "bad").mkdir()
    for path in fitted.iterdir():
        (tmp_path / "bad" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "bad"


def check_refused(done, *fragments: str, code: int = 3) -> None:
    """Exit code, message and clean standard output of a refusal: nothing, or with --json the error alone."""
    assert done.returncode == code, done.stderr
    if done.stdout:
        assert json.loads(done.stdout)["error"]["message"] in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr


def arguments_of(case: dict, folder: Path) -> list[str]:
    """Write the case's table and return the command that reads it."""
    (folder / "runs.csv").write_bytes(case["text"].encode("utf-8"))
    mapping = ",".join(f"{standard}={name}" for standard, name in case.get("columns", {}).items())
    return ["fit", "runs.csv", *(["--columns", mapping] if mapping else [])]


# the shared cases


@pytest.mark.parametrize("case", CONFIGS, ids=lambda case: case["id"])
def test_bad_configs(call, tmp_path, case):
    (tmp_path / "run.yaml").write_bytes(case["text"].encode("utf-8"))
    check_refused(call("predict", "--config", "run.yaml", "--json"), case["fragment"], "simulate: run.yaml")


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case["id"])
def test_bad_tables(call, tmp_path, case):
    done = call(*arguments_of(case, tmp_path), "--out", "mine")
    check_refused(done, case["fragment"], "simulate: runs.csv")
    assert os.listdir(tmp_path) == ["runs.csv"]


@pytest.mark.parametrize("case", [case for case in CONFIGS if case["id"] in NASTY_CONFIGS], ids=lambda case: case["id"])
def test_bad_configs_in_a_process(run, tmp_path, case):
    (tmp_path / "run.yaml").write_bytes(case["text"].encode("utf-8"))
    check_refused(run("predict", "--config", "run.yaml"), case["fragment"], "simulate: run.yaml")


@pytest.mark.parametrize("case", [case for case in TABLES if case["id"] in NASTY_TABLES], ids=lambda case: case["id"])
def test_bad_tables_in_a_process(run, tmp_path, case):
    check_refused(run(*arguments_of(case, tmp_path)), case["fragment"], "simulate: runs.csv")


def test_the_nasty_cases_exist():
    assert {case["id"] for case in CONFIGS} >= NASTY_CONFIGS
    assert {case["id"] for case in TABLES} >= NASTY_TABLES


# the command line itself


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["predcit"], "(Did you mean one of: 'predict', 'predictors'?)"),
        (["predict"], "--config: is missing; expected the planned run, or what it is to be: --params"),
        (["predict", "--config"], "requires an argument"),
        (["predict", "--confg", "x"], "--config"),
        (["fit"], "Missing argument 'RUNS'"),
        (["fit", "a.csv", "b.csv"], "unexpected extra argument"),
        (["fit", "a.csv", "--seed", "-1"], "not in the range"),
        (["fit", "a.csv", "--seed", "first"], "not a valid integer"),
        (["fit", "a.csv", "--columns", "params"], "expected STANDARD=COLUMN, such as params=N"),
        (["fit", "a.csv", "--columns", "params="], "expected STANDARD=COLUMN"),
        (["fit", "a.csv", "--columns", "=N"], "expected STANDARD=COLUMN"),
        (["fit", "a.csv", "--columns", "params=N,"], "expected STANDARD=COLUMN"),
        (["score", "mine"], "Missing argument 'RUNS'"),
        (["init", "--schema", "folder"], "either a folder"),
        (["--json", "predict"], "No such option"),
    ],
)
def test_usage_errors(call, words, fragment):
    check_refused(call(*words), fragment, code=2)


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["predict", "--config", "absent.yaml"], "absent.yaml: there is no such file"),
        (["predict", "--config", "."], ".: is a folder"),
        (["predict", "--config", "x" * 5000], "can't be read: File name too long"),
        (["predict", "--config", SEVEN_B, "--set", "data.tokens"], "expected key=value"),
        (["predict", "--config", SEVEN_B, "--set", "data.tokns=1T"], "did you mean data.tokens?"),
        (["predict", "--config", SEVEN_B, "--set", "data.tokens=-1"], "got -1; expected"),
        (
            ["predict", "--config", SEVEN_B, "--predictor", "web-txt"],
            "expected a folder made by `simulate fit --out`, or one of",
        ),
        (["predict", "--config", SEVEN_B, "--predictor", SEVEN_B], "no such predictor"),
        (["predict", "--config", SEVEN_B, "--predictor", "../web-text"], "no such predictor"),
        (["predict", "--config", SEVEN_B, "--predictor", "routing-moe"], "every fitted run has about 1.31e+11"),
        (["fit", "absent.csv"], "absent.csv: there is no such file"),
        (["fit", SEVEN_B], "unknown file type '.yaml'"),
        (["fit", "."], "unknown file type"),
        (["score", "absent", "absent.csv"], "absent: no such predictor"),
        (["score", "web-text", "absent.csv"], "absent.csv: there is no such file"),
        (["backtest", "absent.csv"], "absent.csv: there is no such file"),
        (["init", SEVEN_B], "can't be"),
        (["init", SEVEN_B / "below"], "can't be"),
    ],
)
def test_files_that_are_not_what_is_needed(call, words, fragment):
    check_refused(call(*words), fragment)


def test_a_predictor_name_that_no_system_allows(call):
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "x" * 5000), "no such predictor")


# tables that can't support what is asked

SIZES = np.geomspace(1e7, 1e9, 60)
VARIED = {"params": SIZES, "tokens": SIZES[::-1] * 50}
ONE_SIZE = {"params": 1e8, "tokens": SIZES * 100}
ONE_COUNT = {"params": SIZES, "tokens": 1e10}
UNSUPPORTED = [
    ({"params": [1e8], "tokens": [1e9]}, "general", "1 run(s) to fit; at least 4"),
    ({"params": [1e8, 2e8], "tokens": [1e9, 2e9]}, "kaplan", "2 run(s) to fit; at least 4"),
    ({"params": [1e8, 2e8, 3e8], "tokens": [1e9, 4e9, 2e9]}, "chinchilla", "3 run(s) to fit; at least 4"),
    ({"params": [1e8] * 9, "tokens": 1e9}, "chinchilla", "'params' takes one value, 1e+08"),
    ({"params": SIZES / 1e10 + 1e8, "tokens": 1e9}, "params_only", "'params' takes one value"),
    ({"params": np.geomspace(1e8, 1.2e8, 9), "tokens": 1e9}, "params_only", "column 'params' varies too little"),
    (ONE_SIZE, "chinchilla", "column 'params' takes one value, 1e+08; take --law"),
    (ONE_SIZE, "params_only", "column 'params' takes one value"),
    (ONE_COUNT, "kaplan", "column 'tokens' takes one value, 1e+10; take --law"),
    (ONE_COUNT, "tokens_only", "column 'tokens' takes one value"),
    (VARIED, "general+repetition", "column 'unique_tokens' is absent"),
    (VARIED, "general+lr", "column 'lr' is absent"),
    ({**VARIED, "lr": 1e-3, "batch_tokens": 1e5}, "general+lr_batch", "term 'lr_batch' can't be identified: column"),
    ({**VARIED, "num_experts": 8}, "general+experts", "'num_experts'"),
    (VARIED, "nonsense", "unknown law 'nonsense': 'nonsense' is none of chinchilla"),
    (VARIED, "general+nonsense", "term 'nonsense' is none of architecture, batch, experts"),
    (VARIED, "general+", "term '' is none of"),
    (VARIED, "+repetition", "'' is none of"),
    (VARIED, "", "unknown law ''"),
    (VARIED, "AUTO", "unknown law 'AUTO'"),
    (VARIED, "general+lr+lr", "names a term twice"),
    (VARIED, "\x1b[31mred", "unknown law '\\x1b[31mred'"),
]


@pytest.mark.parametrize(("grid", "law", "fragment"), UNSUPPORTED, ids=[f"{row[1]}: {row[2]}" for row in UNSUPPORTED])
def test_tables_that_cannot_support_the_law(call, tmp_path, write_runs, grid, law, fragment):
    write_runs(tmp_path / "runs.csv", noise=0.002, **grid)
    check_refused(call("fit", "runs.csv", "--law", law, "--out", "mine"), fragment)
    assert os.listdir(tmp_path) == ["runs.csv"]


def test_a_table_that_cannot_support_the_law_is_named(call, tmp_path, write_runs):
    write_runs(tmp_path / "runs.csv", **ONE_SIZE)
    check_refused(call("fit", "runs.csv", "--law", "chinchilla"), "simulate: runs.csv")


@pytest.mark.parametrize("prior", ["nonsense", "", "PUBLIC"])
def test_an_unknown_prior(call, fitted, prior):
    done = call("fit", fitted.parent / "runs.csv", "--law", "chinchilla", "--prior", prior)
    check_refused(done, f"prior: got {prior!r}; expected auto, public, weak or none")


@pytest.mark.parametrize("command", ["fit", "backtest"])
def test_a_table_of_nothing_but_failures(call, tmp_path, command):
    (tmp_path / "runs.csv").write_text("params,tokens,loss,status\n" + "1e8,1e9,9,diverged\n2e8,1e9,,failed\n" * 5)
    check_refused(call(command, "runs.csv"), "runs.csv", "no row with status ok")


@pytest.mark.parametrize(
    ("column", "plan", "other"),
    [
        ("params", ["model={params: 120M}", "optim=null", "data.tokens=50B"], "model={params: 7B}"),
        ("tokens", ["model={params: 120M}", "optim=null", "data.tokens=8B"], "data.tokens=1T"),
    ],
)
def test_a_table_in_which_one_size_never_varies(call, tmp_path, write_runs, column, plan, other):
    """The public tables say what else it does, with a wider interval; a law without it refuses runs far from it."""
    write_runs(tmp_path / "runs.csv", noise=0.002, **(ONE_SIZE if column == "params" else ONE_COUNT))
    without = "tokens_only" if column == "params" else "params_only"
    for out, law in (("mine", "auto"), ("narrow", without)):
        done = call("fit", "runs.csv", "--out", out, "--law", law)
        assert done.returncode == 0, done.stderr
        assert (f"warning: column {column!r} takes one value" in done.stderr) == (law == "auto")
    widths = []
    for overrides in (plan, [*plan, other]):
        words = ["predict", "--config", SEVEN_B, "--json", *(word for one in overrides for word in ("--set", one))]
        found = call(*words, "--predictor", "mine")
        assert found.returncode == 0, found.stderr
        low, high = json.loads(found.stdout)["loss_nats"]["intervals"]["0.9"]
        widths.append(np.log(high / low))
        done = call(*words, "--predictor", "narrow")
        if overrides is plan:
            assert done.returncode == 0, done.stderr
        else:
            check_refused(done, f"{column}: got ", "within a factor 2")
    assert widths[0] < widths[1] < 0.5


# predictors that are missing, damaged or foreign


def damaged(folder: Path, name: str, position: int) -> None:
    data = bytearray((folder / name).read_bytes())
    data[position] ^= 1
    (folder / name).write_bytes(bytes(data))


DAMAGE = {
    "empty folder": (lambda f: [path.unlink() for path in f.iterdir()], "has no predictor.json"),
    "foreign folder": (lambda f: [p.rename(p.with_suffix(".txt")) for p in f.iterdir()], "has no predictor.json"),
    "no manifest": (lambda f: (f / "MANIFEST.json").unlink(), "MANIFEST.json: there is no such file"),
    "no draws": (lambda f: (f / "draws.npz").unlink(), "draws.npz: is missing"),
    "no card": (lambda f: (f / "MODEL_CARD.md").unlink(), "MODEL_CARD.md: is missing"),
    "draws changed": (lambda f: damaged(f, "draws.npz", 200), "draws.npz: is damaged: its SHA-256"),
    "parameters changed": (lambda f: damaged(f, "predictor.json", 100), "predictor.json: is damaged: its SHA-256"),
    "manifest changed": (lambda f: damaged(f, "MANIFEST.json", 0), "MANIFEST.json: isn't valid JSON"),
    "manifest of a list": (lambda f: (f / "MANIFEST.json").write_text("[]"), "isn't a manifest of format 1"),
    "parameters cut": (lambda f: os.truncate(f / "predictor.json", 100), "predictor.json: is damaged: its size is 100"),
    "draws empty": (lambda f: os.truncate(f / "draws.npz", 0), "draws.npz: is damaged: its size is 0"),
    "extra file": (lambda f: (f / "model.pkl").write_bytes(b"x"), "model.pkl: isn't listed in MANIFEST.json"),
    "extra folder": (lambda f: ((f / "sub").mkdir(), (f / "sub/x").write_text("")), "sub/x: isn't listed"),
    "link": (lambda f: (f / "draws.npz").rename(f.parent / "d") and (f / "draws.npz").symlink_to("../d"), "is a link"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), "pipe: is a link or a device"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_damaged_predictors(call, copy, name):
    damage, fragment = DAMAGE[name]
    damage(copy)
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "bad"), "simulate: bad", fragment)


def edit(folder: Path, *keys: str, value: object) -> None:
    """Set one value of predictor.json, as somebody would who then makes the digests right."""
    data = json.loads((folder / "predictor.json").read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / "predictor.json").write_text(json.dumps(data))


LOSS = ("targets", "loss")
EDITS = [
    (("format",), 2, "has format 2; this version reads format 1"),
    (("format",), "1", "has format '1'"),
    (("targets",), {}, "there is no target"),
    (("targets",), [], "is not one of ours"),
    (("notes",), 5, "is not one of ours"),
    (("about",), [1], "is not one of ours"),
    ((*LOSS, "law"), "nonsense", "unknown law 'nonsense'"),
    ((*LOSS, "law"), 7, "is not one of ours"),
    ((*LOSS, "law"), "general+repetition", "is not one of ours"),
    ((*LOSS, "fixed"), {"nonsense": 1.0}, "nonsense"),
    ((*LOSS, "theta"), {}, "is not one of ours"),
    ((*LOSS, "theta", "log_level"), float("nan"), "a parameter is not finite"),
    ((*LOSS, "theta", "log_level"), float("inf"), "a parameter is not finite"),
    ((*LOSS, "theta", "log_level"), "one", "is not one of ours"),
    ((*LOSS, "noise"), float("nan"), "noise: got nan"),
    ((*LOSS, "reference", "params"), float("nan"), "params: got nan"),
    ((*LOSS, "rows"), "many", "is not one of ours"),
    ((*LOSS, "choice"), 7, "is not one of ours"),
    ((*LOSS, "calibration", "quantiles"), [1.0], "1 quantiles"),
    ((*LOSS, "calibration", "quantiles"), [float("nan")] * 46, "quantiles must rise from 0"),
    ((*LOSS, "theta", "log_level"), 800.0, "is not one of ours"),
    ((*LOSS, "seen"), {}, "is not one of ours"),
    ((*LOSS, "seen", "params"), [float("nan"), 1.0], "is not one of ours"),
    ((*LOSS, "seen", "compute"), [0.0, 0.0], "is not one of ours"),
    ((*LOSS, "reference"), {}, "is not one of ours"),
    ((*LOSS, "reference", "params"), 0.0, "is not one of ours"),
    ((*LOSS, "noise"), -1.0, "is not one of ours"),
    ((*LOSS, "noise"), 1e300, "is not one of ours"),
    ((*LOSS, "calibration", "quantiles"), [-1.0] * 46, "is not one of ours"),
    ((*LOSS, "calibration", "quantiles"), [1e308] * 46, "is not one of ours"),
    (("notes",), [["a"], {}], "is not one of ours"),
]


@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize(("keys", "value", "fragment"), EDITS, ids=lambda part: str(part)[:40])
def test_edited_predictors(call, copy, keys, value, fragment):
    edit(copy, *keys, value=value)
    write_manifest(copy)
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "bad", "--json"), "simulate: bad", fragment)


OTHER_JSON = ("[]", "null", "7", "{}", '{"format": 1}')


@pytest.mark.parametrize("text", ["", "nonsense", "[" * 100_000, *OTHER_JSON])
def test_predictors_of_other_json(call, copy, text):
    (copy / "predictor.json").write_text(text)
    write_manifest(copy)
    problem = "is not one of ours" if text in OTHER_JSON else "isn't valid JSON"
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "bad"), f"bad/predictor.json: {problem}")


def test_a_predictor_beyond_the_size_that_is_read(call, copy):
    (copy / "predictor.json").write_text(" " * (predictor_io._MAX_JSON_BYTES + 1))
    write_manifest(copy)
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "bad"), "predictor.json: is larger than")


def archive(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def stored(data: bytes, flags: int = 0, method: int = 0) -> bytes:
    """A zip archive that holds `data` as draws_0.npy and claims these flags and this compression method."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("draws_0.npy", data)
    zipped = bytearray(stream.getvalue())
    entry = zipped.find(b"PK\1\2")
    zipped[6] |= flags
    zipped[entry + 8] |= flags
    zipped[8] = zipped[entry + 10] = method
    return bytes(zipped)


def npy(shape: tuple[int, ...]) -> bytes:
    """An array file that claims this shape and holds next to nothing."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(96)


ARCHIVES = {
    "no archive": (b"not a zip file", "is not an array archive"),
    "empty": (b"", "is not an array archive"),
    "pickle": (b"\x80\x04.", "is not an array archive"),
    "cut": (archive(draws_0=np.zeros((9, 6)))[:-20], "is not an array archive"),
    "no arrays": (archive(), "draws_0"),
    "other name": (archive(draws=np.zeros((9, 6))), "draws_0"),
    "one column too many": (archive(draws_0=np.zeros((9, 7))), "draws of shape (9, 7) for 6 parameters"),
    "one dimension": (archive(draws_0=np.zeros(6)), "draws of shape (6,)"),
    "no rows": (archive(draws_0=np.zeros((0, 6))), "draws of shape (0, 6)"),
    "nan": (archive(draws_0=np.full((9, 6), np.nan)), "a parameter is not finite"),
    "text": (archive(draws_0=np.full((9, 6), "x")), "is not an array archive"),
    "objects": (archive(draws_0=np.full((9, 6), None)), "is not an array archive"),
    "no array inside": (stored(b"hello"), "is not one of ours"),
    "bomb": (archive(draws_0=np.zeros((2_000_000, 6))), "unpacks to 96000"),
    "wrong checksum": (stored(npy((2, 6))).replace(bytes(96), bytes(95) + b"\1"), "is not an array archive"),
    "claims much": (stored(npy((10**12, 6))), "draws.npz"),
    "claims more than a number": (stored(npy((10**30, 6))), "draws.npz"),
    "encrypted": (stored(npy((2, 6)), flags=1), "draws.npz"),
    "unknown compression": (stored(npy((2, 6)), method=99), "draws.npz"),
    "complex": (archive(draws_0=np.zeros((9, 6), complex)), "bad"),
    "dates": (archive(draws_0=np.zeros((9, 6), "M8[s]")), "bad"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_that_are_none_of_ours(call, copy, name):
    data, fragment = ARCHIVES[name]
    (copy / "draws.npz").write_bytes(data)
    write_manifest(copy)
    check_refused(call("predict", "--config", SEVEN_B, "--predictor", "bad"), "simulate: bad", fragment)


def test_a_damaged_predictor_in_a_process(run, copy):
    damage, fragment = DAMAGE["link"]
    damage(copy)
    check_refused(run("predict", "--config", SEVEN_B, "--predictor", "bad"), fragment)


# score, and where results go


def test_score_without_a_matching_target(call, fitted, tmp_path):
    (tmp_path / "code.csv").write_text("params,tokens,loss.code\n1e8,1e9,3\n")
    check_refused(call("score", fitted, "code.csv"), "code.csv: its targets are loss.code; the predictor has loss")


def test_score_with_the_arguments_exchanged(call, fitted):
    check_refused(call("score", fitted.parent / "runs.csv", fitted), "runs.csv: no such predictor")


def test_score_on_runs_that_all_failed(call, fitted, tmp_path):
    (tmp_path / "runs.csv").write_text("params,tokens,loss,status\n1e8,1e9,9,diverged\n")
    check_refused(call("score", fitted, "runs.csv"), "runs.csv: no row with status ok")


def fit_words(fitted: Path, out: object) -> list[object]:
    return ["fit", fitted.parent / "runs.csv", "--law", "chinchilla", "--out", out]


def test_out_at_a_file(call, fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    check_refused(call(*fit_words(fitted, "notes.txt")), "notes.txt: is a file")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["thesis.tex", "sub/thesis.tex", "draws.npz.bak", ".git/config"])
def test_out_at_a_folder_that_holds_other_files(call, fitted, tmp_path, name):
    path = tmp_path / "work" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    check_refused(call(*fit_words(fitted, "work")), "work: holds other files")
    assert [p for p in (tmp_path / "work").rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "years of work"


@pytest.mark.parametrize("out", ["notes.txt/mine", "x" * 5000])
def test_out_where_no_folder_can_be(call, fitted, tmp_path, out):
    (tmp_path / "notes.txt").write_text("mine")
    check_refused(call(*fit_words(fitted, out)), "can't be")


def test_out_without_a_name(call, fitted):
    check_refused(call(*fit_words(fitted, "")), "--out", code=2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_out_in_a_folder_that_cannot_be_written(call, fitted, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    check_refused(call(*fit_words(fitted, "locked")), "can't be written")


def test_text_from_a_predictor_cannot_steer_the_terminal(call, copy):
    edit(copy, "name", value="\x1b]0;owned\x07")
    write_manifest(copy)
    done = call("predict", "--config", SEVEN_B, "--predictor", "bad")
    assert "\x1b" not in done.stdout
