"""The square-root noise schedule of Diffusion-LM and CODEFUSION, thinned out to few steps, with DDPM, DDIM and DPM-Solver++ updates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sqrt_abar(u: float) -> float:
    """Signal left at time u in [0, 1]: 1 - sqrt(u + 1e-4)."""
    return 1.0 - math.sqrt(u + 1e-4)


def sqrt_betas(steps: int, largest: float = 0.999) -> list[float]:
    """beta_i = min(1 - abar((i+1)/T) / abar(i/T), largest) for i = 0..T-1."""
    return [min(1 - sqrt_abar((i + 1) / steps) / sqrt_abar(i / steps), largest) for i in range(steps)]


class SqrtSchedule(nn.Module):
    """abar_T[t] for t = 0..T-1, the cumulative product of 1 - beta; moves with the network that owns it."""

    abar_T: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        kept = 1 - torch.tensor(sqrt_betas(steps), dtype=torch.float64)
        self.register_buffer("abar_T", kept.cumprod(0).float(), persistent=False)

    @property
    def std_0(self) -> float:
        """Standard deviation of the noise that the clean x_0 itself carries: sqrt(1 - abar_0)."""
        return math.sqrt(1 - float(self.abar_T[0]))

    def respaced(self, count: int) -> list[int]:
        """`count` different times from T-1 down to 0, evenly spread; one step starts at T-1."""
        if count >= self.steps:
            return list(range(self.steps - 1, -1, -1))
        if count == 1:
            return [self.steps - 1]
        return [round((self.steps - 1) * (count - 1 - i) / (count - 1)) for i in range(count)]

    def at(self, t_B: Tensor) -> Tensor:
        """abar of each row, shaped to multiply [B, L, D]."""
        return self.abar_T[t_B][:, None, None]

    def noised(self, x0_BLD: Tensor, eps_BLD: Tensor, t_B: Tensor) -> Tensor:
        """q(x_t | x_0): sqrt(abar) x_0 + sqrt(1 - abar) eps."""
        abar_B11 = self.at(t_B)
        return abar_B11.sqrt() * x0_BLD + (1 - abar_B11).sqrt() * eps_BLD

    def clean(self, x_BLD: Tensor, eps_BLD: Tensor, t_B: Tensor) -> Tensor:
        """The x_0 that x_t and its noise imply."""
        abar_B11 = self.at(t_B)
        return (x_BLD - (1 - abar_B11).sqrt() * eps_BLD) / abar_B11.sqrt()

    def ddim_step(self, x_BLD: Tensor, x0_BLD: Tensor, t: int, previous: int | None, *, eta: float, noise: Tensor) -> Tensor:
        """From time t to the earlier `previous` (None: the clean end); eta 0 adds no noise (Song et al. 2021)."""
        if previous is None:
            return x0_BLD
        abar, earlier = self.abar_T[t], self.abar_T[previous]
        sigma = eta * ((1 - earlier) / (1 - abar)).sqrt() * (1 - abar / earlier).sqrt()
        eps_BLD = (x_BLD - abar.sqrt() * x0_BLD) / (1 - abar).sqrt()
        return earlier.sqrt() * x0_BLD + (1 - earlier - sigma**2).clamp(min=0).sqrt() * eps_BLD + sigma * noise

    def ddpm_step(self, x_BLD: Tensor, x0_BLD: Tensor, t: int, previous: int | None, *, noise: Tensor) -> Tensor:
        """A draw from the posterior q(x_previous | x_t, x_0) (Ho et al. 2020), with the beta of the longer stride."""
        if previous is None:
            return x0_BLD
        abar, earlier = self.abar_T[t], self.abar_T[previous]
        kept = abar / earlier
        mean = earlier.sqrt() * (1 - kept) / (1 - abar) * x0_BLD + kept.sqrt() * (1 - earlier) / (1 - abar) * x_BLD
        return mean + ((1 - kept) * (1 - earlier) / (1 - abar)).sqrt() * noise

    def dpm_step(self, x_BLD: Tensor, x0_BLD: Tensor, t: int, previous: int | None, *, before: tuple[int, Tensor] | None) -> Tensor:
        """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 is extrapolated along log-SNR from the step `before` (time, x0).

        With D = (1 + 1/2r) x0 - 1/2r x0_before:  x_s = (sigma_s / sigma_t) x_t - alpha_s (exp(-h) - 1) D,  h = lambda_s - lambda_t.
        The first step has nothing before it and is first order, which is DDIM; the last one gives x0 itself.
        """
        if previous is None:
            return x0_BLD
        h = self._log_snr(previous) - self._log_snr(t)
        if before is not None:
            ratio = (self._log_snr(t) - self._log_snr(before[0])) / h
            x0_BLD = (1 + 1 / (2 * ratio)) * x0_BLD - before[1] / (2 * ratio)
        alpha, sigma = math.sqrt(self.abar_T[previous]), math.sqrt(1 - self.abar_T[previous])
        return sigma / math.sqrt(1 - self.abar_T[t]) * x_BLD - alpha * math.expm1(-h) * x0_BLD

    def _log_snr(self, t: int) -> float:
        """lambda: log of signal over noise, the solver's clock."""
        abar = float(self.abar_T[t])
        return 0.5 * math.log(abar / (1 - abar))
