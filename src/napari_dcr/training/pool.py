"""A pool of recordings, from which every step of a training run draws its batch.

To simulate a recording takes much longer than one step on an accelerator, and longer than to read
one crop of it. So recordings are simulated by loader processes, kept for a while on the device of
the network, and used several times.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from napari_dcr.training.loop import Trainer

Recording = dict[str, Tensor]


class PoolTrainer(Trainer):
    """Trainer whose batches are drawn from a pool of simulated recordings.

    The configuration's ``data`` holds ``pool``, the largest number of recordings in the pool, and
    ``uses``, how often each of them is used on average. Both affect what a step sees, but neither
    the number of loader processes nor an interruption of the run does.
    """

    @abstractmethod
    def recordings(self, count: int, workers: int) -> Dataset[Recording]:
        """Seeded recordings; the first ``count`` of them are used."""

    def prepare(self, recording: Recording) -> Recording:
        """What the pool holds of a recording, on the device of the network."""
        return {k: v.to(self.device, non_blocking=True) for k, v in recording.items()}

    @abstractmethod
    def item(self, held: Recording, rng: np.random.Generator) -> Recording:
        """Draw one item of a batch from a recording of the pool."""

    def arrived(self, step: int) -> int:
        """Number of recordings that have been added to the pool before a step.

        The pool begins with four batches, so that the first step need not wait until it is full.
        """
        batch, data = self.config.batch, self.config.data
        return min(4 * batch, data["pool"]) + int(step * batch / data["uses"])

    def batches(self, workers: int) -> Iterator[dict[str, Tensor]]:
        """Batches from the current step on, identical for resumed and uninterrupted runs."""
        config, size = self.config, self.config.data["pool"]
        count = self.arrived(config.length)
        first = max(0, self.arrived(self.step) - size)
        loader = DataLoader(
            Subset(self.recordings(count, workers), range(first, count)),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        arriving, number = iter(loader), first
        pool: deque[Recording] = deque(maxlen=size)
        for step in range(self.step, config.length):
            while number < self.arrived(step):
                pool.append(self.prepare(next(arriving)))
                number += 1
            rng = np.random.default_rng((config.seed, 2, step))
            several = len(pool) < config.batch
            chosen = rng.choice(len(pool), config.batch, replace=several)
            yield default_collate([self.item(pool[i], rng) for i in chosen])
