"""Networks with weights that no random generator makes, so that golden numbers hold on every version of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fill(model: nn.Module) -> nn.Module:
    """Fill every parameter and statistic by a formula of its position; returns the model in eval mode."""
    with torch.no_grad():
        for number, (name, value) in enumerate(model.state_dict().items()):
            if not value.is_floating_point():
                continue
            wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 0.7311 + number).view(value.shape)
            if name.endswith("running_var"):
                filled = 1 + 0.3 * wave
            elif value.ndim == 1:
                norm = name.endswith("weight")
                filled = (1.0 if norm else 0.0) + 0.1 * wave
            else:
                filled = wave * (2.0 / value[0].numel()) ** 0.5
            value.copy_(filled)
    return model.eval()


def picture(height: int, width: int, batch: int = 1, channels: int = 3) -> Tensor:
    """A smooth picture in [0, 1], BxCxHxW."""
    rows = torch.linspace(0, 6, height)[:, None]
    columns = torch.linspace(0, 9, width)[None]
    planes = [torch.sin(rows * (1 + c) + columns / (1 + c)) * 0.5 + 0.5 for c in range(batch * channels)]
    return torch.stack(planes).view(batch, channels, height, width)
