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

    def load(self, batch: Any) -> Any:
        """The batch (x, target)."""
        return batch if self._loader is None else self._loader.dataset.get_batch(*batch)  # type: ignore[attr-defined]
