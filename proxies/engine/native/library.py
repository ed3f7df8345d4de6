"""The kernels as a shared library: compiled once for a processor and a compiler, and kept in the user's cache."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ....core.errors import InputError
from ....core.files import write_bytes
from ...kernels import find_compiler

__all__ = ["Library", "load_library"]

_log = logging.getLogger(__name__)

_FLAGS = ("-std=c++17", "-O3", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
_TIMEOUT_S = 120
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Library:
    """The compiled kernels; `key` stands for their source, the compiler and the processor: equal keys, equal bits."""

    functions: ctypes.CDLL
    key: str


@functools.cache
def load_library(precision: str) -> Library | None:
    """Load the kernels for fp32 or bf16, after some seconds of compiling if need be. None, said, where that fails."""
    compiler = find_compiler()
    if compiler is None:
        _log.warning("no C++ compiler (g++, clang++ or $CXX): proxies are trained without compiled kernels, slower")
        return None
    source = resources.files(__package__ or "").joinpath("kernels.cpp").read_bytes()
    try:
        flags = (*_FLAGS, "-DBF16") if precision == "bf16" else _FLAGS
        key = _key(source, compiler, flags)
        return Library(_opened(source, (*compiler, *flags), key), key)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        words = " ".join(compiler)
        _log.warning("%s can't compile the kernels of proxies, which are trained without, slower: %s", words, said)
        return None


def _key(source: bytes, compiler: Sequence[str], flags: Sequence[str]) -> str:
    """Digest of everything that decides what the library computes and whether this processor can run it."""
    version = _output([*compiler, "--version"])
    # A home folder may be shared by machines whose processors differ.
    about_cpu = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        about_cpu += sorted({line for line in lines if line.split("\t")[0] in ("model name", "flags", "Features")})
    facts = [source, *(os.fsencode(text) for text in (version, *compiler[1:], *flags, *about_cpu))]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]


def _opened(source: bytes, command: Sequence[str], key: str) -> ctypes.CDLL:
    """The library of this key: from the cache, else compiled, and then kept there if it can be."""
    cache = _cache()
    if cache is not None and (found := _intact(cache, key)):
        with contextlib.suppress(OSError):  # a file system from which nothing is run, for one
            return ctypes.CDLL(str(found))
    with tempfile.TemporaryDirectory() as folder:
        made = _compiled(source, command, Path(folder))
        if cache is not None:
            with contextlib.suppress(OSError, InputError):  # a full disk, for one
                code = made.read_bytes()
                kept = cache / f"kernels-{key}-{_digest(code)}.so"
                write_bytes(kept, code)
                return ctypes.CDLL(str(kept))
        return ctypes.CDLL(str(made))


def _intact(cache: Path, key: str) -> Path | None:
    """The library of this key; damaged ones are removed, as they could end the process that opens them."""
    for path in sorted(cache.glob(f"kernels-{key}-*.so")):
        with contextlib.suppress(OSError):  # another process has removed it, for one
            if path.stem.endswith(_digest(path.read_bytes())):
                return path
            path.unlink()
    return None


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()[:16]


def _compiled(source: bytes, command: Sequence[str], folder: Path) -> Path:
    """Compile the kernels into a file of this folder."""
    made, written = folder / "kernels.so", folder / "kernels.cpp"
    written.write_bytes(source)
    tuned = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    _output([*command, tuned, "-fPIC", "-shared", "-o", str(made), str(written)])
    return made


def _output(command: Sequence[str]) -> str:
    """What a command that must succeed writes to standard output."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_TIMEOUT_S, encoding="utf-8",
        errors="replace",
    )  # fmt: skip
    return done.stdout


def _cache() -> Path | None:
    """The folder of the user's cache for compiled code; None where there is none that nobody else can write to."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(home, "foretrain", "kernels")
    if not folder.is_absolute():  # a user without a home
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError:
        return None
    others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return None if others or about.st_uid != os.getuid() else folder
