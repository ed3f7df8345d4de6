"""Accelerators: peak arithmetic, memory and links, from a catalogue of published figures or as the user states them.

The catalogue is `facts/accelerators.json`, whose head says what its figures mean and where they are from. Units are in
the names; mind that links inside a node are in GB/s (bytes) and those between nodes in Gbit/s (bits), as they are sold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from ...core.errors import ConfigError, RegistryError
from ...core.reading.fields import Frozen, Label, PositiveReal, Real, Whole, whole_schema
from ...core.reading.suggest import did_you_mean, nearest
from ...core.registry import Registry
from ...core.units import shown

__all__ = ["PRECISIONS", "Accelerator", "Precision", "accelerator", "catalogue", "find"]

Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "mxfp8", "fp4", "nvfp4"]
"""A number format of matrix products."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Every `Precision`, widest first."""

_BEFORE_AMPERE = ("volta", "turing", "pascal")
_MAKERS = re.compile(r"^(?:nvidia|amd|intel|google|aws|geforce|tesla)(?=.)")
_STAND_INS: dict[Precision, Precision] = {
    "bf16": "fp16",
    "fp16": "bf16",
    "mxfp8": "fp8",
    "fp8": "mxfp8",
    "nvfp4": "fp4",
    "fp4": "nvfp4",
}
_CUSTOM = "or a mapping with peak_tflops, hbm_gib, hbm_gb_per_s and what else the plan needs"
_WELL_KNOWN = ("A100-SXM-80", "H100-SXM-80", "H200-SXM", "B200", "GB200", "MI300X", "TPUv5p")
_MAX_NAMED = 5
# Of the peak: systolic arrays come closer to it than GPUs do (MaxText's published runs use 0.8 to 0.89 of it, all work
# counted); four bits are from runs.
_TPU_SHARE, _FOUR_BIT_SHARE = 0.95, 0.6

# Bounds some hundred times beyond what is sold: they catch slips of unit, such as FLOP/s for TFLOP/s.
_Tflops = Annotated[PositiveReal, Field(le=1e6)]
_GbPerS = Annotated[PositiveReal, Field(le=1e6)]
_Gib = Annotated[PositiveReal, Field(le=1e5)]
_Kind = Annotated[Label, AfterValidator(str.casefold)]


class Accelerator(Frozen):
    """One accelerator as frameworks see it. What isn't stated is refused only when something needs it.

    >>> accelerator("h100").peak_flops("bf16")
    989000000000000.0
    """

    name: Label = Field(default="custom", description="Name, for reports.")
    vendor: _Kind | None = Field(default=None, description="Who makes it, such as nvidia.")
    generation: _Kind | None = Field(
        default=None, description="Family by which measured efficiencies are shared, such as hopper or cdna3."
    )
    peak_tflops: dict[Precision, _Tflops] = Field(
        min_length=1, description="Dense peak, TFLOP/s without sparsity, by precision, such as {bf16: 989}."
    )
    matmul_tflops: dict[Precision, _Tflops] = Field(
        default={}, description="Best matrix product ever measured, TFLOP/s by precision."
    )
    hbm_gib: _Gib | None = Field(default=None, description="Memory of the device, GiB.")
    hbm_basis: Literal["reported", "vendor", "stated"] = Field(
        default="stated", description="Whether hbm_gib is what the device reports, or the vendor's GB converted."
    )
    usable_gib: _Gib | None = Field(
        default=None, description="Memory that a program can get at most, GiB (default: hbm_gib)."
    )
    hbm_gb_per_s: _GbPerS | None = Field(default=None, description="Memory bandwidth, GB/s.")
    intra_node_gb_per_s: _GbPerS | None = Field(
        default=None, description="Fast links to the others of its domain, GB/s (bytes) per device and direction."
    )
    per_node: Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)] | None = Field(
        default=None, description="Devices that the fast links join: 8 of a usual node, 72 of an NVL72."
    )
    inter_node_gbit_per_s: _GbPerS | None = Field(
        default=None, description="Network between domains, Gbit/s (bits) per device and direction."
    )
    pcie_gb_per_s: _GbPerS | None = Field(
        default=None, description="Link to the host's memory, GB/s (bytes) per device and direction."
    )
    tdp_w: Annotated[Real, Field(gt=0, le=1e5)] | None = Field(default=None, description="Design power, W.")
    aliases: tuple[Label, ...] = Field(default=(), description="Other names.")
    sources: tuple[Label, ...] = Field(default=(), description="Where the figures are from.")
    evidence: Literal["read", "recalled", "stated"] = Field(
        default="stated", description="Whether the figures were read in the sources, recalled, or stated by the user."
    )
    recalled: tuple[Label, ...] = Field(default=(), description="Keys that were recalled though the rest was read.")
    notes: Label | None = Field(default=None, description="What else to know.")

    @field_validator("peak_tflops", mode="before")
    @classmethod
    def _at_least_one(cls, peaks: Any) -> Any:
        if peaks == {}:
            raise ValueError("got {}; expected the peak of one precision at least, such as {bf16: 989}")
        return peaks

    @field_validator("usable_gib")
    @classmethod
    def _within_memory(cls, usable: float | None, info: ValidationInfo) -> float | None:
        total = info.data.get("hbm_gib")
        if usable is not None and total is not None and usable > total:
            raise ValueError(f"got {usable:g}; expected at most hbm_gib {total:g}")
        return usable

    def peak_flops(self, precision: Precision) -> float:
        """Dense peak in FLOP/s; `ConfigError` naming the precisions that there are if it has no such one.

        Where the figure isn't stated: bf16 and fp16 stand in for each other (but for bf16 on NVIDIA parts before
        Ampere, which lack it), so do fp8 and mxfp8, fp4 and nvfp4; tf32 is half of bf16 on NVIDIA parts from Ampere.
        """
        peak = self._tflops(self.peak_tflops, precision)
        if peak is None:
            has = ", ".join(known for known in PRECISIONS if self._tflops(self.peak_tflops, known) is not None)
            raise ConfigError(f"{self.name} has no {precision} peak (peak_tflops.{precision}); expected one of {has}")
        return peak * 1e12

    def matmul_flops(self, precision: Precision) -> float | None:
        """The best matrix product measured, FLOP/s, with the stand-ins of `peak_flops`; None where nobody measured."""
        best = self._tflops(self.matmul_tflops, precision)
        return None if best is None else best * 1e12

    def attainable_flops(self, precision: Precision) -> float:
        """The best matrix product to expect, FLOP/s: as measured, else the share of the peak that its kin reach.

        Kin are those of its generation whose products were measured in this precision, failing that those of its maker,
        failing that all. TPUs, none of which was measured by itself, and four bits have shares of their own.
        """
        measured = self.matmul_flops(precision)
        if measured is not None:
            return measured
        if precision in ("fp4", "nvfp4"):
            share = _FOUR_BIT_SHARE
        elif (self.generation or "").startswith("tpu"):
            share = _TPU_SHARE
        else:
            share = _kin_share(self.vendor, self.generation, precision)
        return self.peak_flops(precision) * share

    def _tflops(self, known: Mapping[Precision, float], precision: Precision) -> float | None:
        old = self.vendor == "nvidia" and self.generation in _BEFORE_AMPERE
        if precision in known:
            return known[precision]
        if precision == "tf32" and self.vendor == "nvidia" and not old:
            narrow = known.get("bf16", known.get("fp16"))
            return None if narrow is None else narrow / 2
        stand_in = _STAND_INS.get(precision)
        return None if stand_in is None or (precision == "bf16" and old) else known.get(stand_in)

    @property
    def memory_bytes(self) -> float:
        """Bytes of memory that a program can get at most. `ConfigError` if not stated."""
        return (self.usable_gib or self._stated("hbm_gib")) * 2**30

    @property
    def hbm_bytes_per_s(self) -> float:
        """Memory bandwidth, bytes per second. `ConfigError` if not stated."""
        return self._stated("hbm_gb_per_s") * 1e9

    @property
    def intra_node_bytes_per_s(self) -> float:
        """Fast links, bytes per second and direction. `ConfigError` if not stated."""
        return self._stated("intra_node_gb_per_s") * 1e9

    @property
    def inter_node_bytes_per_s(self) -> float:
        """Network between domains, bytes per second and direction. `ConfigError` if not stated."""
        return self._stated("inter_node_gbit_per_s") * 1e9 / 8

    @property
    def pcie_bytes_per_s(self) -> float:
        """Link to the host, bytes per second and direction. `ConfigError` if not stated."""
        return self._stated("pcie_gb_per_s") * 1e9

    @property
    def design_power_w(self) -> float:
        """Design power, W. `ConfigError` if not stated."""
        return self._stated("tdp_w")

    def _stated(self, key: str) -> float:
        value = getattr(self, key)
        if value is None:
            what = (type(self).model_fields[key].description or "").partition(" (default")[0].rstrip(".")
            raise ConfigError(
                f"{self.name} has no {key}, which this plan needs: {what}; state it as hardware.accelerator.{key}"
            )
        return value


def find(name: str) -> Accelerator | None:
    """The accelerator of the catalogue with this name or alias, whatever its case, blanks and dashes; None if none."""
    return _index().get(_plain(name))


def accelerator(name: str) -> Accelerator:
    """Look up an accelerator of the catalogue.

    Args:
        name: Name or alias, such as "H100-SXM-80" or "h100"; case, blanks and dashes do not matter.

    Returns:
        The accelerator, with its published figures.

    Raises:
        ConfigError: The catalogue has no such accelerator; the message names the nearest ones.

    >>> import foretrain
    >>> h100 = foretrain.accelerator("h100")
    >>> h100.name, h100.generation, round(h100.peak_flops("bf16") / 1e12)  # TFLOP/s
    ('H100-SXM-80', 'hopper', 989)
    """
    found = find(name)
    if found is None:
        raise ConfigError(f"got {shown(name)}, which isn't in the catalogue; {_suggestion(name)}, {_CUSTOM}")
    return found


def _load_catalogue() -> None:
    text = resources.files("foretrain.datasets.facts").joinpath("accelerators.json").read_text(encoding="utf-8")
    for name, entry in json.loads(text)["accelerators"].items():
        add_accelerator(Accelerator.model_validate({"name": name, **entry}))


_ACCELERATORS: Registry[Accelerator] = Registry("accelerator", _load_catalogue, "foretrain.accelerators")

_NAMED: dict[str, str] = {}
"""The accelerator that each plain name or alias stands for."""


def add_accelerator(entry: Accelerator) -> Accelerator:
    """Add an accelerator to the catalogue, as packages do under the entry point `foretrain.accelerators`.

    Raises RegistryError for a name or an alias that another one has, whatever its case, blanks and dashes.
    """
    for name in (entry.name, *entry.aliases):
        known = _NAMED.get(_plain(name), entry.name)
        if known != entry.name and known in _ACCELERATORS.members:
            raise RegistryError(f"accelerator {shown(entry.name)}: {shown(name)} names {known}; expected another")
    added = _ACCELERATORS.add(entry.name, entry)
    _NAMED.update({_plain(name): entry.name for name in (entry.name, *entry.aliases)})
    return added


@cache
def catalogue() -> Mapping[str, Accelerator]:
    """Every accelerator of the catalogue by its name, in the catalogue's order."""
    return MappingProxyType(_ACCELERATORS.all())


@cache
def _kin_share(vendor: str | None, generation: str | None, precision: Precision) -> float:
    """Geometric mean of measured matrix products over the peak, of the nearest kin that have any."""
    for near in ({"generation": generation}, {"vendor": vendor}, {}):
        for known in (precision, "bf16"):
            shares = [
                best / one.peak_flops(known)
                for one in catalogue().values()
                if all(value is not None and getattr(one, key) == value for key, value in near.items())
                and (best := one.matmul_flops(known)) is not None
            ]
            if shares:
                return math.exp(math.fsum(map(math.log, shares)) / len(shares))
    raise AssertionError("the catalogue has no measured matrix product")


@cache
def _index() -> Mapping[str, Accelerator]:
    """Accelerators by plain name and plain alias."""
    return {_plain(name): entry for entry in catalogue().values() for name in (entry.name, *entry.aliases)}


def _plain(name: str) -> str:
    """A name without its maker, case, blanks and signs: `NVIDIA H100 80GB HBM3` → `h10080gbhbm3`."""
    plain = re.sub(r"[^a-z0-9]", "", name[:200].casefold())
    while (shorter := _MAKERS.sub("", plain)) != plain:
        plain = shorter
    return plain


def _suggestion(name: str) -> str:
    """What the author of an unknown name may have meant."""
    plain = _plain(name)
    close = nearest(plain, _index(), 3 * _MAX_NAMED)
    inside = [known for known in _index() if min(len(known), len(plain)) > 1 and (known in plain or plain in known)]
    names = list(dict.fromkeys(_index()[known].name for known in [*close, *inside]))[:_MAX_NAMED]
    if names:
        return f"{did_you_mean(names)}Expected a name of the catalogue"
    return f"expected a name of the catalogue, such as {', '.join(_WELL_KNOWN)}"
