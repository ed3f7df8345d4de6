import contextlib
import datetime
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from foretrain.core.errors import ConfigError
from foretrain.core.model.architecture import Architecture
from foretrain.core.reading.yaml_reader import load_yaml, loads_yaml
from foretrain.simulator.config.run_config import RunConfig, apply_overrides
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.yaml") if path.stem != "study")
BAD = json.loads((ROOT / "tests/data/bad_configs.json").read_text(encoding="utf-8"))
GOOD = "model: {params: 7B}\ndata: {tokens: 2T}\n"

# Too long for a data file.
BAD += [
    {"id": "huge-integer", "text": GOOD.replace("2T", str(10**400)), "fragment": "expected a finite number"},
    {"id": "huger-integer", "text": GOOD.replace("2T", "9" * 100_000), "fragment": "expected a finite number"},
    {"id": "deep", "text": GOOD + "name: " + "[" * 500_000, "fragment": ":3: nested deeper than 50 levels"},
    {"id": "wide", "text": GOOD + "name: [" + "1," * 20_000 + "]", "fragment": "more than 10000 values"},
    {"id": "large", "text": GOOD + "#" * 1_000_000, "fragment": "larger than 1000000 bytes"},
    {"id": "long-name", "text": GOOD + "name: " + "a" * 201, "fragment": "at most 200 characters"},
    {"id": "long-key", "text": GOOD + "k" * 900 + ": 1", "fragment": "unknown key"},
]


@pytest.mark.parametrize("case", BAD, ids=[case["id"] for case in BAD])
def test_bad_files_are_refused_with_a_message_that_helps(case, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(case["text"].encode())
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    message = str(caught.value)
    assert case["fragment"] in message
    assert str(path) in message
    assert max(map(len, message.splitlines())) < 500 + len(str(path))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for path, fragment in (
        (tmp_path / "absent.yaml", "there is no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "binary", "isn't UTF-8"),
        (Path("a\0b"), "can't be read"),
    ):
        with pytest.raises(ConfigError, match=fragment):
            RunConfig.load(path)


BAD_OVERRIDES = [
    ("data.tokens", "expected key=value"),
    ("=2T", "expected key=value"),
    ("data..tokens=2T", "expected key=value"),
    ("data.tokns=2T", "did you mean data.tokens?"),
    ("tokens=2T", "did you mean data.tokens or continued_pretraining.tokens?"),
    ("zzz=1", "expected one of name, seed, model"),
    ("data.tokens.more=1", "data.tokens has no keys of its own"),
    ("data.tokens=-3", "--set data.tokens=-3: data.tokens: got -3; expected"),
    ("data.tokens=", "data.tokens: got None"),
    ("data.tokens=[", "isn't valid YAML"),
    ("data.tokens=.inf", "expected a finite number"),
    ("data.tokens=!!int 3", "tags aren't accepted"),
    ("data={tokens: -1}", "--set data={tokens: -1}: data.tokens: got -1"),
    ("model.architecture.layers=2", "--set model.architecture.layers=2: model.architecture.width: is missing"),
    ("name.x=1", "name has no keys of its own"),
]


@pytest.mark.parametrize(("override", "fragment"), BAD_OVERRIDES, ids=[row[0] for row in BAD_OVERRIDES])
def test_bad_overrides_are_refused(override, fragment):
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_mapping(loads_yaml(GOOD), overrides=[override])
    assert fragment in str(caught.value)
    assert "--set " in str(caught.value)


def test_an_override_below_a_value_is_refused():
    with pytest.raises(ConfigError, match="data is 7 in the file; expected a section"):
        apply_overrides({"data": 7}, ["data.tokens=2T"])


def test_overrides_make_sections_and_apply_in_order():
    raw = {"model": {"params": "7B"}, "data": {"tokens": 1}}
    merged = apply_overrides(raw, ["data.tokens=2T", "optim.lr=3e-4", "data.mix={web: 1}", "data.tokens=3T"])
    assert merged == {
        "model": {"params": "7B"},
        "data": {"tokens": "3T", "mix": {"web": 1}},
        "optim": {"lr": 3e-4},
    }
    assert raw["data"] == {"tokens": 1}


def test_an_override_of_one_share():
    config = RunConfig.from_mapping(
        loads_yaml(GOOD), overrides=["data.mix={web: 0.5, code: 0.4}", "data.mix.code=0.5", "name=x"]
    )
    assert config.data.mix == {"web": 0.5, "code": 0.5}


def test_every_problem_is_listed_with_its_line(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model:\n  params: -7\ndata:\n  tokens: 2T\n  lr: 1\nseed: x\n")
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    places = [line[len(str(path)) :].split(" ")[0:2] for line in str(caught.value).splitlines()]
    assert places == [[":6:", "seed:"], [":2:", "model.params:"], [":5:", "data.lr:"]]


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(ConfigError, match="and 12 more problems"):
        RunConfig.from_mapping({f"key{i}": 1 for i in range(30)})


@pytest.mark.parametrize(
    "mapping", [None, [], 7, {1: 2}, {"model": {}, "data": {("a",): 1}}, {"model": {"params": True}}]
)
def test_bad_mappings_are_refused(mapping):
    with pytest.raises(ConfigError, match="config"):
        RunConfig.from_mapping(mapping)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_load_fit_the_schema_and_survive_writing(path, tmp_path):
    config = RunConfig.load(path)
    schema = RunConfig.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(load_yaml(path), schema)
    jsonschema.validate(config.to_mapping(), schema)
    for name, text in ("a.json", json.dumps(config.to_mapping())), ("a.yaml", yaml.safe_dump(config.to_mapping())):
        (tmp_path / name).write_text(text)
        assert RunConfig.load(tmp_path / name) == config


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {"llama-7b", "llama-70b", "gpt3-175b", "mixtral-8x7b", "repeated-data"}


def test_the_main_example():
    config = RunConfig.load(ROOT / "examples/llama-7b.yaml", ["data.unique_tokens=500B"])
    assert config.model.params_total == config.model.params_active == 6_738_415_616
    assert config.model.params_embedding == 2 * 32000 * 4096
    assert config.model.params_non_embedding == 6_738_415_616 - 2 * 32000 * 4096
    assert (config.model.vocab_size, config.model.context_length) == (32000, 4096)
    assert config.steps == 500_000
    assert config.data.epochs == 4
    assert config.deadline_s == 30 * 86400
    assert config.training_flops == pytest.approx(6 * 6.74e9 * 2e12, rel=0.1)


def test_counts_without_a_shape():
    config = RunConfig.from_mapping(loads_yaml(GOOD))
    assert config.model.params_active == 7e9
    assert config.model.params_embedding is None
    assert config.model.params_non_embedding is None
    assert config.training_flops == 6 * 7e9 * 2e12
    assert config.steps is None
    assert config.data.epochs == 1
    assert config.optim.optimizer == "adamw"


def test_rounded_counts_beside_a_shape_agree():
    mapping = RunConfig.load(ROOT / "examples/mixtral-8x7b.yaml", ["model.params=46.7B", "model.params_active=12.9B"])
    assert mapping.model.params_total == 46_702_792_704
    assert mapping.model.num_experts == 8


def test_steps_are_rounded_up():
    assert RunConfig.from_mapping(loads_yaml(GOOD), overrides=["data.tokens=1000", "optim.batch_tokens=300"]).steps == 4


def test_a_section_with_every_line_commented_out_says_nothing():
    assert RunConfig.from_mapping(loads_yaml(GOOD + "targets:\n# perplexity: 6\n")).targets.perplexity is None


def test_the_schema_admits_written_counts_and_refuses_booleans():
    schema = RunConfig.json_schema()
    for tokens, good in ((2e12, True), ("2T", True), ("2 TB", False), (True, False), (-1, False)):
        errors = list(
            jsonschema.Draft202012Validator(schema).iter_errors({"model": {"params": "7B"}, "data": {"tokens": tokens}})
        )
        assert (not errors) == good, tokens
    assert schema["$defs"]["DataConfig"]["properties"]["tokens"]["description"].startswith("Training tokens")


def test_reading_a_config_imports_nothing_heavy():
    heavy = "[m for m in ('numpy', 'pandas', 'torch') if m in sys.modules]"
    code = f"import foretrain.simulator.config.run_config, sys; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


counts = st.floats(1e3, 1e15)
days = st.dates(datetime.date(2026, 12, 2)).map(datetime.date.isoformat)
deadlines = st.floats(1e-3, 1e9).map(lambda s: f"{s!r}s") | days


@st.composite
def configs(draw):
    params = draw(counts)
    mapping = {
        "model": {"params": params, "params_active": params * draw(st.floats(0.01, 1))},
        "data": {"tokens": draw(counts), "unique_tokens": draw(st.none() | counts)},
        "optim": {"lr": draw(st.none() | st.floats(1e-8, 1)), "schedule": draw(st.sampled_from(["cosine", None]))},
        "targets": {"deadline": draw(st.none() | deadlines)},
        "start": "2026-12-01",
        "seed": draw(st.integers(0, 2**32 - 1)),
    }
    shares = draw(st.lists(st.floats(1e-3, 1), max_size=6))
    if shares:
        mapping["data"]["mix"] = {f"d{i}": share / sum(shares) * 1.005 for i, share in enumerate(shares)}
        mapping["data"]["mix"] = {k: min(v, 1.0) for k, v in mapping["data"]["mix"].items()}
    return mapping


@given(configs())
def test_writing_and_reading_back_changes_nothing(mapping):
    config = RunConfig.from_mapping(mapping)
    again = RunConfig.from_mapping(json.loads(json.dumps(config.to_mapping())))
    assert again == config
    assert config.data.mix is None or math.isclose(math.fsum(config.data.mix.values()), 1, abs_tol=1e-12)


keys = st.sampled_from(
    [*RunConfig.model_fields, *Architecture.model_fields, "params", "tokens", "architecture", "mix", "lr", "deadline"]
) | st.text(max_size=3)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400) | st.just("7B"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, anything, max_size=5))
def test_any_mapping_is_a_config_or_a_config_error(mapping):
    # Any other exception fails the test.
    with contextlib.suppress(ConfigError):
        RunConfig.from_mapping(mapping)
