"""DataLoader with PyTorch's arguments; whole batches are gathered by one kernel where the dataset allows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minidl import ops
from minidl.data.dataset import Dataset, device_of
from minidl.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from minidl.dtypes import float32, int64
from minidl.generator import Generator
from minidl.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch from a list of samples: tensors, arrays and numbers are stacked along a new first dimension.

    Tuples, lists and mappings are collated part by part; strings stay a list. Python floats become float32 and ints
    int64 tensors.

    >>> default_collate([(1, 2.5), (3, 4.5)])[0].tolist()
    [1, 3]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return ops.stack(list(batch))
    if isinstance(first, np.ndarray | np.generic):
        return ops.from_numpy(np.stack([np.asarray(sample) for sample in batch]))
    if isinstance(first, bool | int):
        return ops.tensor(list(batch))
    if isinstance(first, float):
        return ops.tensor(list(batch), dtype=float32)
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(parts) for parts in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        return [default_collate(parts) for parts in zip(*batch, strict=True)]
    raise TypeError(
        f"default_collate: samples must be tensors, arrays, numbers, strings, tuples, lists or dicts of them, "
        f"got {type(first).__name__}; pass collate_fn"
    )


class DataLoader:
    """Batches of a dataset, in order or shuffled.

    Args:
        dataset: has `__len__` and `__getitem__`; with `get_batch` (TensorDataset, Subset, vision datasets) a batch is
            one gather instead of one call per sample.
        batch_size: samples in a batch; None yields single samples.
        shuffle: a new random order for every pass.
        sampler: an iterable of indices, instead of `shuffle`.
        batch_sampler: an iterable of lists of indices, instead of `batch_size`, `shuffle`, `sampler`, `drop_last`.
        num_workers: the data are in memory, so batches are always made in this process; a number above 0 only warns.
        collate_fn: makes a batch from a list of samples; `default_collate` if None.
        pin_memory: accepted, without effect.
        drop_last: leaves out the last batch if it is smaller.
        generator: source of the random order; the default generator, which `manual_seed` seeds, if None.

    Raises:
        ValueError: arguments that exclude each other, a batch size below 1.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        generator: Generator | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must be at least 0, got {num_workers}")
        if num_workers > 0:
            warnings.warn(
                f"DataLoader: num_workers={num_workers} has no effect, batches are made in this process", stacklevel=2
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last needs a batch_size")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.generator = generator
        self.collate_fn = collate_fn
        if sampler is None:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        source = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """Starts a pass: the random order is drawn here, before the first batch."""
        if self.batch_sampler is None:
            return (self.dataset[index] for index in self.sampler)
        if self.gathers_batches():
            return (self.dataset.get_batch(index) for index in self.index_batches())  # type: ignore[attr-defined]
        return (self._collated(index) for index in iter(self.batch_sampler))

    def gathers_batches(self) -> bool:
        """Whether every batch is ``dataset.get_batch(index)`` for an index of :meth:`index_batches`."""
        if self.batch_sampler is None or self.collate_fn is not None or not hasattr(self.dataset, "get_batch"):
            return False
        return self.dataset.get_batch(ops.empty(0, dtype=int64, device=device_of(self.dataset))) is not None

    def index_batches(self) -> Iterator[Tensor]:
        """The samples of each batch of one pass, as int64 tensors; the random order is drawn at the call."""
        if self.batch_sampler is None:
            raise ValueError("DataLoader: index_batches() needs batches, got batch_size=None")
        order = self.order()
        if order is not None:
            size = self.batch_sampler.batch_size  # type: ignore[attr-defined]
            return (order[i * size : (i + 1) * size] for i in range(len(self)))
        where = device_of(self.dataset)
        return (ops.tensor(list(index), dtype=int64, device=where) for index in self.batch_sampler)

    def order(self) -> Tensor | None:
        """The samples of one pass, an int64 tensor of which the batches are slices, a new one at every call; None where
        a sampler decides otherwise."""
        if type(self.batch_sampler) is BatchSampler and hasattr(self.batch_sampler.sampler, "order"):
            return self.batch_sampler.sampler.order()  # type: ignore[no-any-return]
        return None

    def _collated(self, index: Sequence[Any]) -> Any:
        return (self.collate_fn or default_collate)([self.dataset[i] for i in index])
