"""Pydantic building blocks that configuration sections share: a frozen base and number types with bounds.

Kept apart from `units`, which the command line imports for its help and which therefore must not import pydantic.
No type here takes a boolean for a number, nor NaN or an infinity.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ..errors import ConfigError
from ..output.plain import is_plain
from ..units import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SHARE_PATTERN,
    parse_count,
    parse_duration_s,
    parse_share,
    parse_whole,
    percent_hint,
    shown,
)
