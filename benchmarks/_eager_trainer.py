"""What one would write without us: a plain PyTorch trainer of one model, after nanoGPT, to measure our engine against.

The same architecture, parametrisation, data and averaging as the `transformer` of proxies/models, from the parts that
PyTorch ships: nn.Linear, scaled_dot_product_attention, torch.optim.AdamW(fused), clip_grad_norm_. Where two idioms
compute the same thing, the faster one is here (CPU, 50k to 1M parameters, 2026-11-23): AdamW fused, not foreach (5 %
slower); a convolution of shifted sums, not nn.Conv1d(groups=width) (1 to 8 % slower).
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.tokens.mixture import Mixture, validation_rows
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model
from foretrain.proxies.runs import ProxyRun
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class ShortConvolution(nn.Module):
    """Causal convolution of each channel by itself, added to its input; tap 0 is now."""

    def __init__(self, taps: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(taps, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        y = x + x * self.weight[0]
        for back in range(1, len(self.weight)):
            y = y + functional.pad(x, (0, 0, back, -back)) * self.weight[back]
        return y


class Block(nn.Module):
    """Norm, convolution, attention; norm, SwiGLU."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.norm_1 = nn.RMSNorm(shape.width, eps=1e-6)
        self.convolution = ShortConvolution(shape.short_conv, shape.width)
        self.attention = Attention(shape.width, shape.heads)
        self.norm_2 = nn.RMSNorm(shape.width, eps=1e-6)
        self.up = nn.Linear(shape.width, 2 * shape.ffn_width, bias=False)
        self.down = nn.Linear(shape.ffn_width, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        x = x + self.attention(self.convolution(self.norm_1(x)), cos, sin)
        gate, up = self.up(self.norm_2(x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up)


class Transformer(nn.Module):
    """Tokens and targets, (B, T) each, to the loss of each token, (B, T)."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=1e-6)
        self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        half = shape.width // shape.heads // 2
        angles = torch.outer(torch.arange(shape.context_length), 10_000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each token, nats."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view_as(
            targets
        )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of each head's vector by position: (B, H, T, head width)."""
    first, second = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


class EagerTrainer:
    """Trains the model of one `ProxyRun`; starts from the weights that our engine would start from."""

    def __init__(self, run: ProxyRun, store: TokenStore, compiled: bool = False, device: str = "cpu") -> None:
        self.run, self.store, self.device, self.step = run, store, device, 0
        shape = run.shape
        self.mixture = Mixture(store, run.mix, shape.context_length, run.steps * run.batch_sequences, run.seed)
        self.model = Transformer(shape)
        groups = self._load(run)
        self.model.to(device)
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, betas=(run.recipe.beta1, run.recipe.beta2), eps=1e-8, fused=True)
        self.average = [p.detach().clone() for p in self.parameters]
        self.rates = run.recipe.lr * run.schedule.at(np.arange(run.steps))
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model

    def _load(self, run: ProxyRun) -> list[dict]:
        """Set the initial weights; return one group of parameters per weight role, each with its lr scale."""
        ours = build_model(run.model, run.shape)
        layout = WeightLayout(ours)
        start = {name: value[0] for name, value in layout.split(layout.initial([run.seed])).items()}
        mine = dict(self.model.named_parameters())
        groups: dict[str, dict] = {}
        for weight in layout.weights:
            parameter = mine.pop(self._name(weight.name))
            linear = weight.role in ("hidden", "head")
            with torch.no_grad():
                parameter.copy_(start[weight.name].T if linear else start[weight.name])
            scale = ours.learning_rate_scale(weight.role)
            # AdamW multiplies the decay by the group's lr; our recipe's decay doesn't scale with width.
            decay = 0.0 if weight.role == "vector" else run.recipe.weight_decay / scale
            group = groups.setdefault(weight.role, {"params": [], "scale": scale, "weight_decay": decay})
            group["params"].append(parameter)
        if mine:
            raise AssertionError(f"not the same architecture: {sorted(mine)}")
        return list(groups.values())

    @staticmethod
    def _name(ours: str) -> str:
        layer, _, part = ours.rpartition(".")
        part = f"attention.{part}" if part in ("qkv", "out") else part
        return f"blocks.{layer}.{part}.weight" if layer else f"{part}.weight"

    def losses(self, rows: np.ndarray) -> Tensor:
        """Return the loss of each token of rows (B, T + 1), nats, (B, T)."""
        tokens = torch.from_numpy(rows)
        if self.device == "cuda":  # the next batch is made while the GPU computes
            tokens = tokens.pin_memory().to(self.device, non_blocking=True)
        wide = torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()
        with wide:
            return self.forward(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())

    def advance(self) -> None:
        """Take one step."""
        run, batch = self.run, self.run.batch_sequences
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rates[self.step]) * group["scale"]
        self.losses(self.mixture.rows(self.step * batch, (self.step + 1) * batch)).mean().backward()
        nn.utils.clip_grad_norm_(self.parameters, run.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 / (1 + run.recipe.averaging * self.step))
        self.step += 1

    @torch.no_grad()
    def validate(self, eval_tokens: int) -> dict[str, float]:
        """Return the mean loss of the averaged weights by domain, nats per token; the weights stay averaged."""
        torch._foreach_copy_(self.parameters, self.average)
        found = {}
        for domain in self.store.domains:
            rows = validation_rows(self.store, domain, self.run.shape.context_length, eval_tokens)
            parts = [self.losses(part) for part in np.array_split(rows, -(-len(rows) // self.run.batch_sequences))]
            found[domain] = torch.cat(parts).mean().item()
        return found
