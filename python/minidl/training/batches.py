"""BatchSource: batches in the form in which a captured step takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from minidl.data import DataLoader


class BatchSource:
    """Passes over data. A loader that gathers its batches by kernels leaves that to the step, where it is captured with
    the rest: the step is then given the indices of a batch."""

    def __init__(self, data: Iterable[Any]) -> None:
        self.data = data
        self._loader = data if isinstance(data, DataLoader) and data.gathers_batches() else None

    def __iter__(self) -> Iterator[Any]:
        """One pass; what `load` takes."""
        if self._loader is None:
            return iter(self.data)
        return ((index,) for index in self._loader.index_batches())

    def stacks(self, first: int, most: int) -> Iterator[Any] | None:
        """One pass from a batch on, up to so many batches of one size at a time: tuples like those that `load` takes,
        with an axis that counts the batches before the others. None where batches do not lie one behind the other."""
        order = None if self._loader is None else self._loader.order()
        if self._loader is None or order is None:
            return None
        return _stacks(order, self._loader.batch_sampler.batch_size, len(self._loader), first, most)  # type: ignore[union-attr]

    def load(self, batch: Any) -> Any:
        """The batch (x, target)."""
        return batch if self._loader is None else self._loader.dataset.get_batch(*batch)  # type: ignore[attr-defined]


def _stacks(order: Any, size: int, count: int, first: int, most: int) -> Iterator[Any]:
    whole = min(count, len(order) // size)
    for begin in range(first, whole, most):
        end = min(begin + most, whole)
        yield (order[begin * size : end * size].reshape(end - begin, size),)
    if max(first, whole) < count:
        yield (order[whole * size :].reshape(1, -1),)
