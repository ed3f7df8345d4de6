import json

import jsonschema
import pytest
import yaml
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.accelerators import catalogue
from foretrain.simulator.config.run_config import HardwareConfig, LayoutConfig, RunConfig
from hypothesis import given
from hypothesis import strategies as st

PLAIN = {"model": {"params": "7B"}, "data": {"tokens": "2T"}}
CUSTOM = {"name": "X1", "peak_tflops": {"bf16": 100, "fp8": 200}, "hbm_gib": 64, "hbm_gb_per_s": 1000}


def read(hardware=None, layout=None, overrides=()) -> RunConfig:
    sections = {"hardware": hardware, "layout": layout}
    return RunConfig.from_mapping(PLAIN | {k: v for k, v in sections.items() if v is not None}, overrides=overrides)


@pytest.mark.parametrize(
    ("hardware", "fragment"),
    [
        (
            {"accelerator": "H1000"},
            "hardware.accelerator: got 'H1000', which isn't in the catalogue; did you mean H100",
        ),
        ({"accelerator": 7}, "hardware.accelerator: got 7; expected a name such as H100-SXM-80, or a mapping"),
        ({"accelerator": [1]}, "hardware.accelerator: got [1]; expected a name"),
        ({"accelerator": {}}, "hardware.accelerator.peak_tflops: is missing"),
        ({"accelerator": {"peak_tflops": {}}}, "expected the peak of one precision at least"),
        ({"accelerator": CUSTOM | {"hbm_gb": 80}}, "hardware.accelerator.hbm_gb: unknown key; did you mean"),
        ({"accelerator": CUSTOM | {"per_node": 0}}, "hardware.accelerator.per_node: got 0; expected"),
        ({"accelerator": "A100", "precision": "fp8"}, "hardware.precision: A100-SXM-80 has no fp8 peak"),
        ({"accelerator": "V100", "precision": "bf16"}, "expected one of fp32, fp16"),
        ({"precision": "int4"}, "hardware.precision: got 'int4'; expected one of"),
        ({"count": 0}, "hardware.count: got 0"),
        ({"per_node": 0.5}, "hardware.per_node: got 0.5; expected a whole number"),
        ({"inter_node_gbps": 0}, "hardware.inter_node_gbps: got 0; expected a number above 0"),
        ({"compile": "loss"}, "hardware.compile: got 'loss'; expected one of 'none', 'layers' or 'all'"),
        ({"dropout": 0.1}, "hardware.dropout: got 0.1; expected true or false"),
    ],
)
def test_bad_hardware_is_refused_when_it_is_read(hardware, fragment):
    with pytest.raises(ConfigError) as caught:
        read(hardware)
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "fragment"),
    [
        ({"tp": 0}, "layout.tp: got 0; expected a number of at least 1"),
        ({"tp": True}, "layout.tp: got True"),
        ({"dp": 2.5}, "layout.dp: got 2.5; expected a whole number"),
        ({"zero_stage": 4}, "layout.zero_stage: got 4; expected one of 0, 1, 2 or 3"),
        ({"zero_stage": True}, "layout.zero_stage: got True"),
        ({"recompute": "some"}, "layout.recompute: got 'some'; expected one of 'none', 'selective' or 'full'"),
        ({"offload": "optimizer"}, "layout.offload: got 'optimizer'; expected a list"),
        ({"offload": ["gradients"]}, "expected one of 'optimizer', 'weights' or 'activations'"),
        ({"sequence_parallel": 1}, "layout.sequence_parallel: got 1; expected true or false"),
        ({"vpp": 2, "pp": 1}, "layout.vpp: got 2 with pp 1; expected pp of at least 2, or vpp 1"),
        ({"fsdp": True}, "layout.fsdp: unknown key"),
    ],
)
def test_bad_layouts_are_refused_when_they_are_read(layout, fragment):
    with pytest.raises(ConfigError) as caught:
        read(layout=layout)
    assert fragment in str(caught.value)


def test_the_accelerator_is_found_and_written_by_its_name():
    config = read({"accelerator": "h100 sxm", "count": 16})
    assert config.hardware.accelerator is catalogue()["H100-SXM-80"]
    assert config.to_mapping()["hardware"]["accelerator"] == "H100-SXM-80"


@pytest.mark.parametrize(
    ("hardware", "layout"),
    [
        ({"accelerator": "B200", "inter_node_gbps": 400, "precision": "nvfp4"}, None),
        ({"accelerator": CUSTOM, "count": "2k", "per_node": 4}, {}),
        ({"accelerator": {**CUSTOM, "name": "H100-SXM-80"}}, {"tp": 8, "zero_stage": 0, "offload": ["weights"]}),
        ({}, {"micro_batch": 2, "recompute": "full", "flash_attention": False, "offload": []}),
    ],
)
def test_what_is_read_fits_the_schema_and_survives_writing(hardware, layout):
    config = read(hardware, layout)
    schema = RunConfig.json_schema()
    for mapping in (config.to_mapping(), PLAIN | {"hardware": hardware, "layout": layout}):
        jsonschema.validate(mapping, schema)
    assert RunConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config
    assert RunConfig.from_mapping(yaml.safe_load(yaml.safe_dump(config.to_mapping()))) == config


@pytest.mark.parametrize(("written", "meant"), [(True, "all"), (False, "none"), ("layers", "layers"), (None, None)])
def test_what_is_compiled_may_be_said_with_yes_and_no(written, meant):
    test_what_is_read_fits_the_schema_and_survives_writing({"compile": written, "dropout": written is True}, {})
    assert read({"compile": written}).hardware.compile == meant


def test_overrides_reach_into_a_custom_accelerator():
    config = read({"accelerator": CUSTOM}, overrides=["hardware.accelerator.hbm_gib=96", "layout.tp=4"])
    assert config.hardware.machine.hbm_gib == 96
    assert config.layout == LayoutConfig(tp=4)
    assert read(overrides=["hardware.accelerator=h100"]).hardware.machine.name == "H100-SXM-80"
    with pytest.raises(ConfigError, match=r"hardware.accelerator is 'H100' in the file; expected a section"):
        read({"accelerator": "H100"}, overrides=["hardware.accelerator.hbm_gib=96"])


def test_what_is_stated_of_nodes_and_network_replaces_what_is_usual():
    usual = read({"accelerator": "H100", "count": 20}).hardware
    assert (usual.domain, usual.nodes, usual.machine.inter_node_gbit_per_s) == (8, 3, 400)
    stated = read({"accelerator": "H100", "count": 20, "per_node": 4, "inter_node_gbps": 100}).hardware
    assert (stated.domain, stated.nodes, stated.machine.inter_node_gbit_per_s) == (4, 5, 100)
    assert stated.machine.peak_tflops == usual.machine.peak_tflops


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"hardware.accelerator: is missing"):
        _ = HardwareConfig().machine
    with pytest.raises(ConfigError, match=r"hardware.accelerator: is missing"):
        _ = HardwareConfig().working_precision
    custom = read({"accelerator": CUSTOM, "count": 8}).hardware
    with pytest.raises(ConfigError, match=r"hardware.per_node: is missing and X1 doesn't state it"):
        _ = custom.domain
    assert read({"accelerator": CUSTOM, "count": 1}).hardware.domain == 1
    with pytest.raises(ConfigError, match=r"X1 has no inter_node_gbit_per_s"):
        _ = custom.machine.inter_node_bytes_per_s


@pytest.mark.parametrize(
    ("hardware", "precision"),
    [
        ({"accelerator": "H100"}, "bf16"),
        ({"accelerator": "V100"}, "fp16"),
        ({"accelerator": "H100", "precision": "fp8"}, "fp8"),
        ({"accelerator": {"peak_tflops": {"fp32": 10}}}, "fp32"),
        ({"accelerator": {"peak_tflops": {"fp8": 10}}}, "fp8"),
    ],
)
def test_the_precision_that_is_worked_in(hardware, precision):
    assert read(hardware).hardware.working_precision == precision


@given(st.sampled_from(sorted(catalogue())), st.integers(1, 10**7))
def test_any_accelerator_of_the_catalogue_can_be_planned_on(name, count):
    hardware = HardwareConfig.model_validate({"accelerator": name, "count": count})
    assert hardware.machine.peak_flops(hardware.working_precision) > 0
    assert hardware.nodes * hardware.domain >= count
    assert (hardware.nodes - 1) * hardware.domain < count
