"""Datasets with PyTorch's names: anything with a length and an item per index."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from minidl import ops
from minidl.dtypes import device, int64
from minidl.generator import Generator

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """A map from index to sample; subclasses write `__getitem__` and usually `__len__`.

    A dataset that can make a whole batch at once may also have `get_batch(index)`: given an int64 tensor of indices it
    returns the collated batch, or None where it cannot. `DataLoader` then skips the item-by-item path.
    """

    def __getitem__(self, index: int) -> T:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Samples are rows of tensors: item i is `(tensors[0][i], tensors[1][i], ...)`.

    Raises:
        ValueError: the tensors differ in their first extent.
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: at least one tensor is needed")
        sizes = [tensor.shape[0] for tensor in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"TensorDataset: tensors must have the same number of rows, got {sizes}")
        self.tensors = tensors

    @property
    def device(self) -> device:
        """Where the first tensor is and batches are made."""
        return self.tensors[0].device  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def get_batch(self, index: Any) -> list[Any]:
        """One gather per tensor."""
        return [_rows_of(tensor, index) for tensor in self.tensors]


def device_of(dataset: Any) -> device:
    """Where a dataset wants the indices of a batch; the CPU unless it says otherwise."""
    return getattr(dataset, "device", device("cpu"))


def _rows_of(tensor: Any, index: Any) -> Any:
    """tensor[index], by a kernel where there is one for its kind."""
    if tensor.dtype is int64 and tensor.dim() == 1:
        return ops.gather_labels(tensor, index)
    if tensor.is_floating_point() and not tensor.requires_grad and tensor.numel() > 0:
        return ops.gather_rows(tensor.reshape(len(tensor), -1), index).reshape(len(index), *tensor.shape[1:])
    return ops.index_select(tensor, 0, index)


class Subset(Dataset[T]):
    """The samples of a dataset at some indices, which are copied: to choose others, assign to ``indices``."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    @property
    def device(self) -> device:
        """Where the dataset makes batches."""
        return device_of(self.dataset)

    @property
    def indices(self) -> Sequence[int]:
        """The places of the samples in the dataset."""
        return self._indices

    @indices.setter
    def indices(self, indices: Sequence[int]) -> None:
        self._indices = indices
        self._index = ops.tensor([int(i) for i in indices], dtype=int64, device=self.device)

    def __getitem__(self, index: int) -> T:
        return self.dataset[int(self._index[index].item())]

    def __len__(self) -> int:
        return len(self._index)

    def get_batch(self, index: Any) -> Any:
        gather = getattr(self.dataset, "get_batch", None)
        if gather is None:
            return None
        return gather(ops.gather_labels(self._index, index))


class ConcatDataset(Dataset[T]):
    """Datasets one after another."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: at least one dataset is needed")
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> T:
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"ConcatDataset: index must be in [{-length}, {length}), got {index}")
        index %= length
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Disjoint random subsets; `lengths` are counts that add up to the dataset's length, or fractions that add up to 1.

    With fractions, samples left over by rounding down go to the first subsets, one each.
    """
    total = len(dataset)  # type: ignore[arg-type]
    counts = _counts(lengths, total)
    if sum(counts) != total:
        raise ValueError(f"random_split: lengths must add up to the dataset's {total} samples, got {list(lengths)}")
    order = ops.randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _counts(lengths: Sequence[int | float], total: int) -> list[int]:
    if not math.isclose(sum(lengths), 1) or any(not 0 <= length <= 1 for length in lengths):
        return [int(length) for length in lengths]
    counts = [math.floor(total * fraction) for fraction in lengths]
    for i in range(total - sum(counts)):
        counts[i % len(counts)] += 1
    return counts
