"""schemathesis on the OpenAPI document of a real server: thousands of requests, none of which may break it.

python benchmarks/openapi.py                  two minutes
python benchmarks/openapi.py --examples 200
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile

from serve import server

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_RUN = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis(sys.argv[1:]))"


def main() -> None:
    """Print what schemathesis says, and end as it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40, help="of each operation, beside those of its coverage")
    examples = parser.parse_args().examples
    with server() as (port, _), tempfile.TemporaryDirectory() as folder:
        address = f"http://127.0.0.1:{port}/openapi.json"
        options = ["--checks", _CHECKS, "--max-examples", str(examples), "--rate-limit", "150/s", "--seed", "0"]
        options += ["--phases", "examples,coverage,fuzzing", "--request-timeout", "60"]
        done = subprocess.run([sys.executable, "-c", _RUN, "run", address, *options], cwd=folder, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
