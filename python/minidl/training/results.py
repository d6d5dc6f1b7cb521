"""ResultLog: losses and counts of right answers, left on the device by many steps and read at once."""

from __future__ import annotations

from typing import Any

from minidl import ops
from minidl.dtypes import device, float64


def device_of_model(model: Any) -> Any:
    """Where the first parameter is; the CPU for a model without."""
    return next((parameter.device for parameter in model.parameters()), device("cpu"))


class ResultLog:
    """The last `rows` results. Appending is a kernel, and so part of a captured step; reading waits for the device."""

    def __init__(self, rows: int, where: Any) -> None:
        self.rows = rows
        self._log = ops.zeros(1 + 2 * rows, dtype=float64, device=where)

    def append(self, loss: Any, correct: Any) -> None:
        """One more result: a loss, and how many samples were classified rightly or None."""
        loss = loss.detach().to(self._log.device)
        if not loss.is_floating_point():
            loss = loss.to(float64)
        ops.append_result_(self._log, loss, None if correct is None else correct.to(self._log.device))

    def count(self) -> int:
        """How many have been appended."""
        return int(self._log[0].item())

    def last(self, count: int) -> list[tuple[float, int | None]]:
        """The last results, the latest last: (loss, right answers or None)."""
        log = self._log.cpu().numpy()
        end = int(log[0])
        rows = [place % self.rows for place in range(end - count, end)]
        pairs = log[1:].reshape(self.rows, 2)[rows].tolist()
        return [(loss, None if correct < 0 else int(correct)) for loss, correct in pairs]
