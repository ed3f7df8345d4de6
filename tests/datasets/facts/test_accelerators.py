import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts import accelerators
from foretrain.datasets.facts.accelerators import PRECISIONS, Accelerator, accelerator, catalogue, find
from pydantic import ValidationError

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("FORETRAIN_SHARED", ROOT.parent / "shared")) / "data/measured_runs/hardware.csv"
ENTRIES = json.loads((ROOT / "datasets/facts/accelerators.json").read_text(encoding="utf-8"))["accelerators"]
EVERY = pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)


@EVERY
def test_figures_hang_together(entry):
    """Slips of a digit show in ratios: of precisions, of bytes to FLOPs, of GB to GiB."""
    peaks = entry.peak_tflops
    assert peaks.get("bf16") or peaks.get("fp16")
    for wide, narrow in (("fp32", "tf32"), ("tf32", "bf16"), ("bf16", "fp8"), ("fp8", "fp4")):
        if wide in peaks and narrow in peaks:
            assert 1 <= peaks[narrow] / peaks[wide] <= 20.1
    for precision, best in entry.matmul_tflops.items():
        assert 0.3 < best / peaks[precision] < 1
    assert 0.5 < (entry.usable_gib or entry.hbm_gib) / entry.hbm_gib <= 1
    assert 60 < max(peaks.get("bf16", 0), peaks.get("fp16", 0)) * 1e3 / entry.hbm_gb_per_s * 10 < 6000
    assert entry.hbm_gb_per_s > entry.intra_node_gb_per_s > entry.inter_node_gbit_per_s / 8 / 10
    assert entry.per_node >= 1
    assert entry.pcie_gb_per_s in (16, 32, 64, 450)


@EVERY
def test_every_entry_says_where_it_is_from(entry):
    assert entry.sources
    assert entry.evidence in ("read", "recalled")
    assert entry.evidence == "read" or not entry.recalled
    known = set(Accelerator.model_fields) | {f"peak_tflops.{precision}" for precision in PRECISIONS}
    assert set(entry.recalled) <= known
    assert entry.hbm_basis in ("reported", "vendor")


def test_every_name_and_alias_stands_for_one_accelerator():
    names = [accelerators._plain(name) for entry in catalogue().values() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names)) == len(accelerators._index())
    assert list(catalogue()) == list(ENTRIES)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("H100", "H100-SXM-80"),
        ("h100-sxm", "H100-SXM-80"),
        (" h100 SXM ", "H100-SXM-80"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80"),
        ("A100-80GB", "A100-SXM-80"),
        ("a100_80gb", "A100-SXM-80"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40"),
        ("Tesla V100-SXM2-16GB", "V100-SXM2-16"),
        ("v5p", "TPUv5p"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_names_as_people_and_tools_write_them(written, name):
    assert accelerator(written) is catalogue()[name]


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("H1000", "H100-SXM-80"), ("A10O", "A100-SXM-80"), ("M1300X", "MI300X"), ("tpu", "TPUv5p"), ("gb-20", "GB200")],
)
def test_an_unknown_name_gets_the_nearest_ones(written, nearest):
    with pytest.raises(ConfigError) as caught:
        accelerator(written)
    message = str(caught.value)
    assert written in message
    assert nearest in message
    assert "mapping with peak_tflops" in message
    assert len(message) < 500


@pytest.mark.parametrize("written", ["", "banana", "-", "x" * 10**6, "日本", "nvidia"])
def test_a_name_like_no_other_gets_some(written):
    assert find(written) is None
    with pytest.raises(ConfigError, match=r"H100-SXM-80.*or a mapping") as caught:
        accelerator(written)
    assert len(str(caught.value)) < 500


def test_stand_ins_between_precisions():
    h100, a100, v100 = accelerator("H100"), accelerator("A100"), accelerator("V100")
    assert h100.peak_flops("mxfp8") == h100.peak_flops("fp8") == 1979e12
    assert accelerator("GB300").peak_flops("nvfp4") == 15000e12
    assert h100.matmul_flops("bf16") == h100.matmul_flops("fp16") == 794.5e12
    assert v100.matmul_flops("fp16") is None
    for machine, precision, has in ((a100, "fp8", "tf32, bf16, fp16"), (v100, "bf16", "fp32, fp16")):
        with pytest.raises(ConfigError, match=f"{machine.name} has no {precision} peak.*{has}$"):
            machine.peak_flops(precision)
    bare = {"peak_tflops": {"bf16": 100}}
    assert Accelerator(**bare).peak_flops("fp16") == 100e12
    assert Accelerator(**bare, vendor="NVIDIA", generation="Hopper").peak_flops("tf32") == 50e12
    with pytest.raises(ConfigError, match=r"no tf32 peak"):
        Accelerator(**bare).peak_flops("tf32")


def test_units():
    h100 = accelerator("H100")
    assert h100.hbm_bytes_per_s == 3.35e12
    assert h100.intra_node_bytes_per_s == 450e9
    assert h100.inter_node_bytes_per_s == 50e9
    assert h100.pcie_bytes_per_s == 64e9
    assert h100.memory_bytes == 79.1 * 2**30
    assert h100.design_power_w == 700


@pytest.mark.parametrize(
    ("figure", "key"),
    [
        ("memory_bytes", "hbm_gib"),
        ("hbm_bytes_per_s", "hbm_gb_per_s"),
        ("intra_node_bytes_per_s", "intra_node_gb_per_s"),
        ("inter_node_bytes_per_s", "inter_node_gbit_per_s"),
        ("pcie_bytes_per_s", "pcie_gb_per_s"),
        ("design_power_w", "tdp_w"),
    ],
)
def test_what_a_custom_accelerator_lacks_is_named_when_it_is_needed(figure, key):
    with pytest.raises(ConfigError, match=f"Mine has no {key}, .*hardware.accelerator.{key}"):
        getattr(Accelerator(name="Mine", peak_tflops={"bf16": 100}), figure)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"peak_tflops": {}},
        {"peak_tflops": {"bf16": 0}},
        {"peak_tflops": {"bf16": 989e12}},
        {"peak_tflops": {"int8": 100}},
        {"peak_tflops": {"bf16": 100}, "hbm_gib": -1},
        {"peak_tflops": {"bf16": 100}, "hbm_gib": float("inf")},
        {"peak_tflops": {"bf16": 100}, "hbm_gib": 80, "usable_gib": 81},
        {"peak_tflops": {"bf16": 100}, "per_node": 0},
        {"peak_tflops": {"bf16": 100}, "hbm_gb": 80},
    ],
)
def test_custom_accelerators_are_checked(bad):
    with pytest.raises(ValidationError):
        Accelerator.model_validate(bad)


SAME = {
    "hbm_gbps": "hbm_gb_per_s",
    "intra_node_gbps_per_dir": "intra_node_gb_per_s",
    "gpus_per_nvlink_domain": "per_node",
    "inter_node_gbps_per_gpu_typical": "inter_node_gbit_per_s",
    "tdp_w": "tdp_w",
}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared table of hardware is not beside this checkout")
def test_the_catalogue_agrees_with_the_shared_table():
    with SHARED.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 22
    for row in rows:
        entry = accelerator(row["gpu"])
        stated = {key: float(row[key]) for key in row if row[key] and key not in ("gpu", "vendor", "source", "note",
                                                                                 "evidence")}  # fmt: skip
        assert entry.vendor == row["vendor"]
        if entry.vendor == "google":  # the table's is one axis of the torus, of which slices use all
            stated.pop("intra_node_gbps_per_dir", None)
        for key, own in SAME.items():
            assert key not in stated or getattr(entry, own) == stated[key], (row["gpu"], key)
        for precision in ("fp32", "bf16", "fp16", "fp8", "fp4"):
            assert stated.get(f"peak_{precision}_tflops") in (None, entry.peak_tflops.get(precision))
        for precision in ("bf16", "fp8"):
            # the catalogue has the best of them, such as its maker's own
            assert stated.get(f"mamf_{precision}_tflops", 0.0) <= entry.matmul_tflops.get(precision, 0.0)
        # a vendor's GB may be 10^9 bytes or GiB, and part of it may be reserved
        assert stated["hbm_gb"] * 0.93 <= entry.hbm_gib <= stated["hbm_gb"]


def test_what_nobody_measured_attains_the_share_of_its_kin():
    """MI300X and MI325X reach about half of their peaks, which 0.82 of it for every GPU didn't know."""

    def share(name: str, precision="bf16") -> float:
        one = accelerator(name)
        return one.attainable_flops(precision) / one.peak_flops(precision)

    assert share("H100-SXM-80") == pytest.approx(794.5 / 989)
    assert share("GB300") == pytest.approx(np.cbrt(1745 / 2250 * 1769 / 2250 * 1822 / 2500))
    assert share("MI355X") == pytest.approx(np.sqrt(708 / 1307 * 843 / 1307))
    assert share("Gaudi3") == share("Gaudi3", "fp8") == share("Gaudi2")
    assert share("TPUv6e") == 0.95
    assert share("GB200", "nvfp4") == 0.6
    for vendor, generation in (("nvidia", "hopper"), ("nvidia", "rubin"), ("other", "one"), (None, None)):
        custom = Accelerator(vendor=vendor, generation=generation, peak_tflops={"bf16": 100})
        assert 50e12 < custom.attainable_flops("bf16") < 95e12
    # the best measured share of the peak is never above it
    for name, one in catalogue().items():
        for precision in one.peak_tflops:
            assert one.attainable_flops(precision) <= one.peak_flops(precision), (name, precision)
