"""Results of proxies → rows of the run table: one row per validation of a run, the last one under the run's own id.

What the columns mean here:

- `loss.<domain>` is the loss on each domain's validation tokens, `loss` their plain mean: the cross-entropy on a
  validation set with equally many tokens of each domain. That set is the same for every row, whatever the row's mix,
  so the mean can be fitted like any other loss, and it is what a search for one best mix minimises. With a single
  domain the two would be one target fitted twice, so there is only `loss`, and `val_domain` names the domain.
- `loss_se…` (nats) is the standard error of each over validation sequences, `bytes_per_token…` converts nats per
  token into bits per byte. Both are extra columns.
- `params` counts every parameter that a token meets, embeddings included, and is `params_active`; `params_embedding`
  are those in tables and head. Of a mixture of experts, `params_total` counts all experts.
- `lr` is the peak at width 64, which proxies of every width share; `lr_final` is what it was at the row's last step.
- `unique_tokens` is blank, and thus one pass, unless the run has begun to repeat a domain. From then on
  `unique_tokens.<domain>` says how many distinct tokens there are of each domain that it repeats.
- `selection` is the kind of what a run trained on, `none` for text as it is, and `keep` the share of the bytes that it
  keeps of the run's mix, as measured; both are blank in campaigns without selections.
- Of a run that draws from a subset of the text (`recipe.subset`), `selection` ends in `subset-loss` or `subset-change`
  (after the kind of what it is drawn from and a +), and `keep` is multiplied by its share. `flops` include the passes
  that scored windows; `tokens` are those trained on. What it has trained on more than once of a domain is repetition,
  and the distinct tokens are then those that it has trained on.
- Of a run in a chain of generations (`run.chain`), `generator`, `regime`, `real_share`, `generation` and
  `synthetic_share`, the share of its tokens that models wrote, say which; a run of generation 0 leaves them blank,
  which is real text. `mix` is that of the real text from which all of it descends, and only the sum of the distinct
  tokens is given, as a text isn't a domain.
- `tokens_before` are those that the weights which a run started from were trained on; blank where none was. All else,
  `tokens` and `flops` among it, is of the run alone.
- Every row of a run that diverged says so, also those before it did: the run isn't one that anyone would plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ...core.model.architecture import Architecture
from ..results import RunResult, Validation
from ..runs import ProxyRun
from .campaign_files import StoreFacts

__all__ = ["row_ids", "rows"]


def row_ids(run: ProxyRun) -> list[str]:
    """The ids of a run's rows, one per validation: `<run_id>@<tokens>` on the way, the run's own at its end."""
    return [_row_id(run, step) for step in run.evaluate_steps]


def rows(
    outcomes: Iterable[tuple[ProxyRun, RunResult]], store: StoreFacts, mixed: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of these runs, in their order; `mixed` are the domains that any run of the campaign trains on."""
    return [row for run, result in outcomes for row in _rows_of(run, result, store, mixed)]


def _row_id(run: ProxyRun, step: int) -> str:
    return run.run_id if step == run.steps else f"{run.run_id}@{step * run.batch_tokens}"


def _rows_of(run: ProxyRun, result: RunResult, store: StoreFacts, mixed: Sequence[str]) -> list[dict[str, Any]]:
    found = [
        {
            **_at_step(run, evaluation.step, result, evaluation.scored_tokens),
            **_losses(evaluation, store),
            **_repetition(evaluation, run),
            **_constants(run, store, mixed),
        }
        for evaluation in result.evaluations
    ]
    if result.status == "diverged" and not (result.evaluations and result.evaluations[-1].step == run.steps):
        # The end that never came: a row without a loss, as far as the run got.
        step = max(1, result.diverged_step or 0)
        scored_tokens = result.evaluations[-1].scored_tokens if result.evaluations else 0  # what is known of it
        found.append(
            {**_at_step(run, step, result, scored_tokens), **_constants(run, store, mixed), "run_id": run.run_id}
        )
    return found


def _at_step(run: ProxyRun, step: int, result: RunResult, scored_tokens: int) -> dict[str, Any]:
    """What depends on how far the run is."""
    tokens = step * run.batch_tokens
    return {
        "run_id": _row_id(run, step),
        "status": result.status,
        "tokens": tokens,
        "steps": step,
        "flops": run.shape.training_flops_per_token() * tokens + run.shape.forward_flops_per_token() * scored_tokens,
        "lr_final": run.recipe.lr * float(run.schedule.at(step - 1)),
    }


def _losses(evaluation: Validation, store: StoreFacts) -> dict[str, float | None]:
    """Losses, their standard errors and bytes per token, by domain; those of the mean where there are several."""
    domains = sorted(evaluation.losses)
    losses = [evaluation.losses[domain].mean_nats for domain in domains]
    errors = [evaluation.losses[domain].standard_error_nats for domain in domains]
    columns: dict[str, float | None] = {"loss": math.fsum(losses) / len(losses)}
    columns["loss_se"] = _known(math.hypot(*errors) / len(errors))
    if len(domains) == 1:
        return {**columns, "bytes_per_token": store.bytes_per_token.get(domains[0])}
    for domain, loss, error in zip(domains, losses, errors, strict=True):
        columns[f"loss.{domain}"] = loss
        columns[f"loss_se.{domain}"] = _known(error)
        columns[f"bytes_per_token.{domain}"] = store.bytes_per_token.get(domain)
    return columns


def _known(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _repetition(evaluation: Validation, run: ProxyRun) -> dict[str, float]:
    """`unique_tokens`, `epochs` and the stocks that were used up, if any was; tokens are distinct until then."""
    seen = evaluation.train_tokens
    used_up = {d: stock for d, stock in evaluation.unique_tokens.items() if seen.get(d, 0) > stock}
    distinct = sum(min(tokens, evaluation.unique_tokens.get(domain, tokens)) for domain, tokens in seen.items())
    if not 0 < distinct < sum(seen.values()):
        return {}
    by_domain = {f"unique_tokens.{domain}": float(stock) for domain, stock in used_up.items() if not run.texts}
    return {"unique_tokens": distinct, "epochs": evaluation.tokens / distinct, **by_domain}


def _experts(shape: Architecture) -> dict[str, int]:
    """How many experts there are, and the parameters of all of them; nothing of a dense model."""
    if shape.num_experts is None or shape.experts_per_token is None:
        return {}
    return {
        "params_total": shape.params_total,
        "num_experts": shape.num_experts,
        "experts_per_token": shape.experts_per_token,
    }


def _constants(run: ProxyRun, store: StoreFacts, mixed: Sequence[str]) -> dict[str, Any]:
    """What is the same in every row of a run."""
    shape, recipe, counts = run.shape, run.recipe, run.shape.parameter_counts
    total = math.fsum(run.mix.values())
    single = next(iter(store.bytes_per_token)) if len(store.bytes_per_token) == 1 else None
    return {
        "params": counts.active,
        "params_active": counts.active,
        "params_embedding": counts.embedding,
        **{f"mix.{domain}": run.mix.get(domain, 0.0) / total for domain in mixed},
        **_selection(run, store),
        **_generations(run),
        **({} if run.start is None else {"tokens_before": run.start.tokens}),
        "batch_tokens": run.batch_tokens,
        "lr": recipe.lr,
        "schedule": recipe.schedule,
        "warmup_steps": run.schedule.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "optimizer": "adamw",
        "architecture": run.model,
        "width": shape.width,
        "depth": shape.layers,
        "heads": shape.heads,
        **_experts(shape),
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "source": store.name,
        "val_domain": single,
        "tokenizer": store.tokenizer,
        "seed": run.seed,
    }


def _selection(run: ProxyRun, store: StoreFacts) -> dict[str, Any]:
    """What a run trained on, where a campaign has selections or a run a subset."""
    kinds, keep, subset = [], 1.0, run.recipe.subset
    if run.selection is not None:
        facts = store.selections[run.selection]
        kinds.append(facts.kind)
        kept = math.fsum(share * facts.kept_shares.get(domain, 1.0) for domain, share in run.mix.items())
        keep = min(1.0, kept / math.fsum(run.mix.values()))
    if subset is not None:
        kinds.append(f"subset-{subset.measure}")
        keep *= subset.keep
    if not kinds and not store.selections:
        return {}
    return {"selection": "+".join(kinds) or "none", "keep": keep}


def _generations(run: ProxyRun) -> dict[str, Any]:
    """A run's place in a chain of generations, where it has one."""
    chain = run.chain
    if chain is None:
        return {}
    # what `fresh` trains on is real text, though it is held as further texts
    written = 0.0 if chain.regime == "fresh" else min(1.0, math.fsum(run.texts.values()))
    return {**chain.model_dump(exclude={"detected"}), "synthetic_share": written * (1 - chain.detected)}
