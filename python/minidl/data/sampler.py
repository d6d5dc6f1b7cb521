"""Samplers with PyTorch's names: the order in which a DataLoader visits a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from minidl import ops
from minidl.data.dataset import device_of
from minidl.dtypes import float64, int64
from minidl.generator import Generator


class Sampler:
    """An iterable of indices (or of lists of indices, for a batch sampler)."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")


class SequentialSampler(Sampler):
    """0, 1, ... in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)

    def order(self) -> Any:
        """All indices of one pass as an int64 tensor."""
        return ops.arange(len(self.data_source), dtype=int64, device=device_of(self.data_source))


class RandomSampler(Sampler):
    """A new random order for every pass, drawn from `generator` (the default generator if None).

    With `replacement`, or more than `len(data_source)` samples asked for, indices may repeat.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and num_samples < 1:
            raise ValueError(f"RandomSampler: num_samples must be at least 1, got {num_samples}")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples

    def order(self) -> Any:
        """All indices of one pass as an int64 tensor; every call draws a new one."""
        size, where = len(self.data_source), device_of(self.data_source)
        if self.replacement:
            return ops.randint(0, size, (self.num_samples,), generator=self.generator, device=where)
        passes = max(1, -(-self.num_samples // max(size, 1)))
        orders = [ops.randperm(size, generator=self.generator, device=where) for _ in range(passes)]
        order = orders[0] if passes == 1 else ops.cat(orders)
        return order if len(order) == self.num_samples else order[: self.num_samples]


class SubsetRandomSampler(Sampler):
    """The given indices in a new random order for every pass."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in ops.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Index i with probability weights[i] / sum(weights), `num_samples` times.

    Without replacement the weights are used up as indices are drawn (Efraimidis and Spirakis 2006).
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        self.weights = np.asarray(weights, dtype=np.float64)
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not np.isfinite(self.weights.sum()):
            raise ValueError("WeightedRandomSampler: weights must be a list of finite numbers >= 0")
        available = int((self.weights > 0).sum())
        if num_samples < 1 or available == 0 or (not replacement and num_samples > available):
            raise ValueError(
                f"WeightedRandomSampler: num_samples must be at least 1 and, without replacement, at most the "
                f"{available} weights above 0; got {num_samples}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        count = self.num_samples if self.replacement else len(self.weights)
        uniform = ops.rand(count, dtype=float64, generator=self.generator).numpy()
        if self.replacement:
            ends = np.cumsum(self.weights)
            chosen = np.searchsorted(ends, uniform * ends[-1], side="right")
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                keys = np.log1p(-uniform) / self.weights
            chosen = np.argsort(-keys, kind="stable")[: self.num_samples]
        return iter(chosen.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` indices of another sampler; the last one may be shorter unless `drop_last`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if batch_size < 1:
            raise ValueError(f"BatchSampler: batch_size must be at least 1, got {batch_size}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
