"""`build_space`: the space of a study as it is written, read and checked against the run that it is about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from ....core.errors import ConfigError, ForetrainError
from ....core.model.architecture import Architecture
from ....core.model.shape_family import params_range
from ....core.reading.config_messages import Origins, known_keys, suggestion
from ....core.units import parse_count, shown
from ....datasets.runs.columns import columns
from ...config.column_values import stated_columns
from ...config.run_config import RunConfig
from ...config.stages.spans import fixed_length
from ...config.text.selection import NOT_SELECTED
from .dimensions import KEEP, KIND, MIXER, SYNTHETIC, Dimension, MixDimension, RangeDimension, SetDimension
from .paths import get, key_in, leaf_types, put, within
from .simplex import to_shares
from .space_config import ALL_DOMAINS, DomainSpec, RangeSpec, SimplexSpec, Spec, ValueSet, read_spec
from .spaces import Space

__all__ = ["build_space"]

_STEPPED = ("model.params", "optim.batch_tokens")
"""Ranges along which forecasts jump: shapes and batches come in whole heads, layers and sequences."""
_NOT_SEARCHED = {
    "targets": "is what is wanted of a plan, not part of one; expected it under constraints",
    "seed": "only changes which random numbers are drawn; expected it in the run",
    "name": "changes nothing about a plan; expected it in the run",
}
_SECTIONS = ("optim", "hardware", "layout", "reliability", "prices", "energy")
"""Sections of which a set states some keys that go together, such as an accelerator and its price."""
_MIX, _STOCKS = "data.mix", "data.unique_tokens_by_domain"
_FEW = 20


def build_space(
    raw: Mapping[str, Any], base: Mapping[str, Any], run: RunConfig, domains: Sequence[str], origins: Origins
) -> Space:
    """Read the space of a study. `domains` are those whose shares the predictor reads.

    Raises ConfigError that lists every problem with its place in the file.
    """
    problems, dimensions = [], []
    for path, value in raw.items():
        try:
            _check_apart(path, raw, run, origins)
            dimensions.append(_dimension(path, read_spec(path, value, origins), base, run, domains, origins))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    dimensions.sort(key=lambda one: isinstance(one, MixDimension))
    space = Space(base, run, tuple(dimensions))
    _check_ends(space, origins)
    return space


def _check_apart(path: str, raw: Mapping[str, Any], run: RunConfig, origins: Origins) -> None:
    """Refuse a path that isn't part of a plan, and one that another of the space would overwrite."""
    place = f"{origins.of(('space', path))}: space.{path}"
    for section, why in _NOT_SEARCHED.items():
        if within(path, section):
            raise ConfigError(f"{place}: {why}")
    outer = next((other for other in raw if other != path and within(path, other)), None)
    if outer is not None and not _leaves_alone(outer, raw[outer], path):
        raise ConfigError(f"{place}: lies within space.{outer}; expected only one of the two")
    if path == MIXER and run.model.architecture is None:
        raise ConfigError(
            f"{place}: the run states no shape; expected model.architecture in it, or columns.architecture"
        )
    if "model.params" in raw and run.model.architecture is not None and within(path, "model.architecture"):
        if path == MIXER:
            return
        raise ConfigError(
            f"{place}: is given beside space.model.params, which scales the shape; expected one of the two"
        )
    if path == "data.tokens":
        _check_stages(place, run)
    if path == _MIX and any(stage.mix for stage in run.data.stages):
        raise ConfigError(
            f"{place}: the run has mixes in data.stages, which count instead; expected a run without them"
        )
    own = run.data.selection
    if path == KEEP and KIND not in raw and (own is None or own.kind == NOT_SELECTED):
        raise ConfigError(
            f"{place}: the run selects nothing; expected data.selection.kind in it, such as judge, or space.{KIND}"
        )
    if within(path, SYNTHETIC) and path != SYNTHETIC and run.data.synthetic is None:
        raise ConfigError(
            f"{place}: the run has no synthetic text; expected {SYNTHETIC} in it, such as {{share: 0.3, generation: 1}}"
        )
    if path == _STOCKS and _MIX in raw:
        raise ConfigError(f"{place}: is given beside space.{_MIX}; expected unique_tokens of its domains instead")


def _check_stages(place: str, run: RunConfig) -> None:
    """Refuse more or fewer tokens for a run whose stages are all stated in tokens."""
    for section, stages in (("data", run.data.stages), ("optim", run.optim.stages)):
        if fixed_length(stages):
            raise ConfigError(
                f"{place}: the run's {section}.stages are stated in tokens, which add up to {run.data.tokens:g} and no "
                "other number; expected shares, or one stage without a length"
            )


def _leaves_alone(outer: str, choices: Any, path: str) -> bool:
    """Whether settings of a section that go together don't state a path within it."""
    if outer not in _SECTIONS or not isinstance(choices, list | tuple):
        return False
    key = key_in(path, outer)
    return not any(isinstance(one, Mapping) and key in one for one in choices)


def _dimension(
    path: str, spec: Spec, base: Mapping[str, Any], run: RunConfig, domains: Sequence[str], origins: Origins
) -> Dimension:
    place = f"{origins.of(('space', path))}: space.{path}"
    numeric, whole = _kind(path, place)
    if isinstance(spec, SimplexSpec):
        return _mix(path, spec, run, domains, place)
    if isinstance(spec, ValueSet):
        return _set(path, spec, base, numeric, place)
    if not numeric:
        raise ConfigError(f"{place}: isn't a number; expected a list of values instead of a range")
    return _range(path, spec, whole, run.model.architecture, place)


def _kind(path: str, place: str) -> tuple[bool, bool]:
    """Whether what stands at a path is a number, and a whole one. ConfigError for what no study may vary."""
    fixed = next((one for one in columns().values() if one.place == path and not one.searchable), None)
    if fixed is not None:
        raise ConfigError(f"{place}: a study can't vary {fixed.name} ({fixed.meaning}); expected it in the run")
    parts = tuple(path.split("."))
    if parts[0] == "columns":
        stated = stated_columns()
        if ".".join(parts[1:]) not in stated:
            raise ConfigError(f"{place}: unknown column; expected one of {', '.join(sorted(stated))}")
        return not stated[parts[1]].is_text, False
    entry = next((number for number, part in enumerate(parts) if part.isdigit()), None)
    if entry is not None:
        whole = ".".join(parts[:entry])
        raise ConfigError(
            f"{place}: is part of a list, of which a study can't vary one entry; expected space.{whole} with lists to "
            "choose from, each of them whole"
        )
    if parts[-1] not in (known_keys(RunConfig, parts[:-1]) or []):
        raise ConfigError(f"{place}: unknown key; {suggestion(RunConfig, parts)}")
    kinds = leaf_types(RunConfig, parts)
    return bool(kinds & {int, float}) and str not in kinds, float not in kinds


def _set(path: str, spec: ValueSet, base: Mapping[str, Any], numeric: bool, place: str) -> SetDimension:
    section = path in _SECTIONS
    if section:
        _check_settings(path, spec, place)
    read = tuple(_read(base, path, value) for value in spec.values)
    twice = next((number for number, value in enumerate(read) if value in read[:number]), None)
    if twice is not None:
        earlier = spec.values[read.index(read[twice])]
        raise ConfigError(f"{place}: got {shown(earlier)} and {shown(spec.values[twice])}, which are the same")
    # a count written as text, such as "4M", is a number to all that follows
    plain = [r if numeric and isinstance(v, str) else v for v, r in zip(spec.values, read, strict=True)]
    try:
        return SetDimension.of(path, spec.values, tuple(plain), read, section=section)
    except TypeError:
        raise ConfigError(f"{place}: got {shown(spec.values)}; expected plain values of YAML") from None


def _check_settings(path: str, spec: ValueSet, place: str) -> None:
    """Refuse what isn't some keys of a section."""
    known = known_keys(RunConfig, (path,)) or []
    for value in spec.values:
        if not isinstance(value, Mapping) or not value:
            raise ConfigError(f"{place}: got {shown(value)}; expected settings that go together, {{{known[0]}: …}}")
        unknown = next((key for key in value if key not in known), None)
        if unknown is not None:
            raise ConfigError(f"{place}.{unknown}: unknown key; {suggestion(RunConfig, (path, str(unknown)))}")


def _read(base: Mapping[str, Any], path: str, value: Any) -> Any:
    """A value as a run configuration reads it; as it is where the run doesn't accept it by itself."""
    mapping = dict(base)
    put(mapping, path.split("."), {**(base.get(path) or {}), **value} if path in _SECTIONS else value)
    try:
        found = get(RunConfig.from_mapping(mapping).to_mapping(), path.split("."))
        return {key: found[key] for key in value} if path in _SECTIONS else found
    except ConfigError:
        pass
    if path != "model.params" or not isinstance(value, str):  # which contradicts the run's shape until it is scaled
        return value
    try:
        return parse_count(value)
    except ConfigError:
        return value


def _range(path: str, spec: RangeSpec, whole: bool, shape: Architecture | None, place: str) -> RangeDimension:
    numbers = [spec.low, spec.high, *([] if spec.step is None else [spec.step])]
    if whole and any(not float(number).is_integer() for number in numbers):
        raise ConfigError(f"{place}: is a whole number; got {', '.join(f'{n:g}' for n in numbers)}")
    if path == "model.params" and shape is not None:
        low, high = params_range(shape)
        if spec.low < low or spec.high > high:
            raise ConfigError(f"{place}: got {spec.low:.3g} to {spec.high:.3g}; expected {low:.3g} to {high:.3g}")
    high = spec.high
    if spec.step is not None:  # Optuna wants the last step to be the end, in decimal arithmetic
        low, high, step = (Decimal(repr(number)) for number in (spec.low, spec.high, spec.step))
        high = float(low + step * ((high - low) // step))
    smooth = path not in _STEPPED and not path.startswith(("hardware.", "layout.", "model.architecture."))
    return RangeDimension(path, spec.low, high, spec.log, spec.step, whole, smooth)


def _mix(path: str, spec: SimplexSpec, run: RunConfig, domains: Sequence[str], place: str) -> MixDimension:
    wanted = spec.simplex
    if not wanted:
        if len(domains) < 2:
            named = f"only one domain, {domains[0]}" if domains else "no mix"
            raise ConfigError(
                f"{place}.simplex: got {ALL_DOMAINS}; the predictor's laws read {named}: name the domains"
            )
        wanted = dict.fromkeys(domains, DomainSpec())
    stated = run.data.unique_tokens_by_domain or {}
    stocks = [one.unique_tokens or stated.get(domain, math.inf) for domain, one in wanted.items()]
    if spec.max_epochs is not None and not np.isfinite(stocks).any():
        raise ConfigError(f"{place}.max_epochs: no domain states its stock; expected unique_tokens of some domains")
    for (domain, one), stock in zip(wanted.items(), stocks, strict=True):
        if one.max_epochs is not None and not math.isfinite(stock):
            raise ConfigError(
                f"{place}.simplex.{domain}.max_epochs: its stock isn't stated; expected unique_tokens of it"
            )
    if run.data.unique_tokens is not None and np.isfinite(stocks).any():
        raise ConfigError(
            f"{place}: states stocks by domain, and the run data.unique_tokens; expected only one of the two"
        )
    return MixDimension(
        path,
        tuple(wanted),
        np.array([one.min for one in wanted.values()]),
        np.array([one.max for one in wanted.values()]),
        np.array(stocks, dtype=float),
        np.array([one.max_epochs or spec.max_epochs or math.inf for one in wanted.values()]),
        run.data.keep,
        None if run.data.synthetic is None else run.data.synthetic.model_dump(),
    )


def _check_ends(space: Space, origins: Origins) -> None:
    """Refuse ranges and values that no run configuration accepts, whatever else varies."""
    problems = []
    for dimension in space.dimensions:
        for value in _ends(space, dimension):
            problem = _problem(space, dimension, value)
            if problem is not None:
                problems.append(f"{origins.of(('space', dimension.path))}: space.{problem}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _ends(space: Space, dimension: Dimension) -> list[Any]:
    """The values of a dimension that are tried: a range's ends, all of a set, one mix within the bounds."""
    if isinstance(dimension, RangeDimension):
        return [round(end) if dimension.whole else end for end in (dimension.low, dimension.high)]
    if isinstance(dimension, SetDimension):
        return list(dimension.choices)
    assert isinstance(dimension, MixDimension)
    bounds = dimension.bounds({"data.tokens": space.run.data.tokens})
    return [dimension.shares(to_shares(np.full(len(dimension.domains), 0.5), *bounds))]


def _problem(space: Space, dimension: Dimension, value: Any) -> str | None:
    """What is wrong with a value at its own path, where the others are as they are, at their first or last value.

    None where one of those accepts it, or what is wrong is elsewhere.
    """
    found = None
    for others in _others(space, dimension):
        try:
            space.config({**others, dimension.path: value})
            return None
        except ForetrainError as error:
            lines = [line.removeprefix("trial: ") for line in str(error).splitlines()]
            own = [line for line in lines if within(line.partition(": ")[0], dimension.path)]
            if not own:
                return None
            found = found or own[0]
    return found


def _others(space: Space, dimension: Dimension) -> Iterator[dict[str, Any]]:
    yield {}
    rest = [(other.path, _ends(space, other)) for other in space.dimensions if other is not dimension]
    if rest:
        yield {path: ends[0] for path, ends in rest}
        yield {path: ends[-1] for path, ends in rest}
        for path, ends in rest:  # one at a time: heads that divide a width
            yield from ({path: end} for end in (ends if len(ends) <= _FEW else ends[:: len(ends) // _FEW]))
