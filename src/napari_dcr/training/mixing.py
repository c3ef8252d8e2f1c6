"""Means of the weights of several files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade


def mixed(
    network: Cascade,
    shares: Mapping[Path, float],
    global_shares: Mapping[Path, float] | None = None,
) -> Cascade:
    """Compute a network whose weights are a weighted mean of those of several files.

    Means of the weights of one run, or of runs from the same start, are better than each of them
    (Izmailov et al. 2018; Wortsman et al. 2022).

    Parameters
    ----------
    network : Cascade
        Network of the same shape as those in the files; it is not changed.
    shares : mapping of Path to float
        Share of each weights file, or of the moving average in each checkpoint (``.pt``) of a
        training run.  The shares must sum to 1.
    global_shares : mapping of Path to float, optional
        Other shares for the global network, which computes the tone curve and the feature grid.

    Examples
    --------
    >>> import tempfile
    >>> from napari_dcr.network.cascade import CascadeConfig
    >>> small = Cascade(CascadeConfig(stages=1, widths=(4, 4, 4), grid_channels=4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "small.safetensors"
    ...     _ = weights.save(small, path, {})
    ...     same = mixed(small, {path: 1.0})
    >>> bool((same.front.weight == small.front.weight).all())
    True
    """
    state = _mean(shares, "shares")
    if global_shares is not None:
        whole = _mean(global_shares, "global_shares")
        state |= {k: v for k, v in whole.items() if k.startswith("global_net.")}
    result = copy.deepcopy(network)
    try:
        result.load_state_dict({k: v.float() for k, v in state.items()})
    except RuntimeError as error:
        given = ", ".join(str(path) for path in {**shares, **(global_shares or {})})
        raise ValueError(f"shares: got {given}, which do not fit the network: {error}") from error
    return result.eval()


def _mean(shares: Mapping[Path, float], argument: str) -> dict[str, Tensor]:
    total = sum(shares.values())
    if abs(total - 1) > 1e-6:
        given = ", ".join(f"{share:g} of {path}" for path, share in shares.items())
        raise ValueError(f"{argument}: got {given}; the sum is {total:g} and must be 1")
    mean: dict[str, Tensor] = {}
    for path, share in shares.items():
        for name, value in _state(path).items():
            part = share * value.double()
            mean[name] = mean[name] + part if name in mean else part
    return mean


def _state(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".pt":
        average: Mapping[str, Tensor] = torch.load(path, "cpu", weights_only=True)["average"]
        return average
    return weights.load(path).network.state_dict()
