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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

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
        with _folder() as folder:
            path = folder / f"kernels-{key}.so"
            if not path.is_file():
                _compile(source, compiler, flags, path)
            return Library(ctypes.CDLL(str(path)), key)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        _log.warning("%s can't compile the kernels of proxies, which are trained without, slower: %s", compiler, said)
        return None


def _key(source: bytes, compiler: str, flags: Sequence[str]) -> str:
    """Digest of everything that decides what the library computes and whether this processor can run it."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_TIMEOUT_S).stdout
    # A home folder may be shared by machines whose processors differ.
    about_cpu = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        about_cpu += sorted({line for line in lines if line.split("\t")[0] in ("model name", "flags", "Features")})
    facts = [source, version, *(text.encode() for text in (*flags, *about_cpu))]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]


def _compile(source: bytes, compiler: str, flags: Sequence[str], path: Path) -> None:
    """Write the library to `path`, whole."""
    with tempfile.TemporaryDirectory() as folder:
        made, written = Path(folder, "kernels.so"), Path(folder, "kernels.cpp")
        written.write_bytes(source)
        tuned = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
        command = [compiler, *flags, tuned, "-fPIC", "-shared", "-o", str(made), str(written)]
        subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_S, encoding="utf-8")
        write_bytes(path, made.read_bytes())


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for compiled code that nobody else can write to: the user's cache, else one that goes away again."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(home, "foretrain", "kernels")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if about.st_uid == os.getuid() and not others and os.access(folder, os.W_OK):
            yield folder
            return
    with tempfile.TemporaryDirectory() as private:
        yield Path(private)
