"""A Kubeflow Pipelines component that tells a planner what new runs came to, and asks it for the next plan.

`next_plan` is a plain function that stands by itself, as a component must. Without Kubeflow:

    python kubeflow_step.py --study study.yaml --runs runs.csv --storage plans.journal --results runs --plan next.json

With it, `python kubeflow_step.py --compile step.yaml` writes the component for a pipeline, to run in an image that has
foretrain in it.
"""

# no `from __future__ import annotations`: kfp reads the types of the function themselves
import argparse
import json
import sys

IMAGE = "registry.example/foretrain:0.1"
"""An image of your own with foretrain installed."""


def next_plan(study: str, runs: str, storage: str, results: str, plan: str, law: str = "auto") -> str:
    """Tell everything new in the folder `results`, write the next plan to `plan`, and return its name.

    `storage` is a database's URL, which steps on any node reach, or a journal file on a volume that they share. A plan
    that an earlier attempt of this step asked for and nobody trained comes first, so that a retried step asks for none.
    """
    import json
    from pathlib import Path

    import foretrain

    planner = foretrain.Planner(study, runs, fit={"law": law}, storage=storage)
    if Path(results).is_dir():
        planner.watch(results)
    proposal = (planner.waiting or planner.ask())[0]
    Path(plan).write_text(json.dumps(proposal.config.to_mapping(), indent=2), encoding="utf-8")
    return proposal.name


def compile_component(path: str) -> None:
    """Write the component as YAML for a pipeline. Needs kfp."""
    from kfp import compiler, dsl

    compiler.Compiler().compile(dsl.component(base_image=IMAGE)(next_plan), path)


def main() -> int:
    """The step on a command line; exit codes as those of `simulate`."""
    parser = argparse.ArgumentParser(description="Tell a planner of new runs, and ask it for the next plan.")
    parser.add_argument("--compile", metavar="YAML")
    for name in ("study", "runs", "storage", "results", "plan"):
        parser.add_argument(f"--{name}", required="--compile" not in sys.argv)
    parser.add_argument("--law", default="auto")
    options = vars(parser.parse_args())
    compiled = options.pop("compile")
    if compiled:
        compile_component(compiled)
        return 0
    from foretrain.core.errors import ForetrainError

    try:
        name = next_plan(**options)
    except ForetrainError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps({"name": name, "plan": options["plan"]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
