"""Muon for the matrices inside the transformers, AdamW for the rest, one schedule for both; and weight averages."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

MUON_RATE = 5e-3
ADAMW_RATE = 2e-3
WARM_UP_STEPS = 50


class Optimizers:
    """Both optimizers in one. The rate warms up, stays constant, and falls linearly to 0 at the last step."""

    def __init__(self, module: nn.Module, steps: int, *, rate: float = 1.0, constant: float = 0.3) -> None:
        """`rate` scales both learning rates; they fall from the share `constant` of `steps` on."""
        named = list(module.named_parameters())
        hidden = [value for name, value in named if _is_hidden_matrix(name, value)]
        chosen = {id(value) for value in hidden}
        others = [value for _, value in named if id(value) not in chosen]
        self._parameters = hidden + others
        self._both: list[torch.optim.Optimizer] = [
            torch.optim.Muon(hidden, lr=MUON_RATE * rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=ADAMW_RATE * rate, betas=(0.9, 0.98), weight_decay=0.01),
        ]

        def share(step: int) -> float:
            falling = (steps - step) / max(1.0, steps * (1 - constant))
            return min(1.0, (step + 1) / WARM_UP_STEPS, max(0.0, falling))

        self._schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in self._both]

    def step(self, loss: Tensor) -> None:
        """Compute gradients, clip them to norm 1, update the weights, and clear the gradients."""
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, schedule in zip(self._both, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {
            "both": [part.state_dict() for part in self._both],
            "rates": [part.state_dict() for part in self._schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimizer, saved in zip(self._both, state["both"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self._schedules, state["rates"], strict=True):
            schedule.load_state_dict(saved)


def _is_hidden_matrix(name: str, value: Tensor) -> bool:
    return value.ndim == 2 and "layers." in name and name.endswith("weight")


class Average:
    """A copy of ``module`` whose weights are the running mean of the last ``1 / (1 - decay)`` steps."""

    def __init__(self, module: nn.Module, decay: float = 0.995) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Include the current weights. The first means are over few steps, so that the start weights do not remain."""
        self._steps += 1
        weight = max(1 - self._decay, 1 / (self._steps + 1))
        for mean, value in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.lerp_(value, weight)

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self._steps = state["steps"]
