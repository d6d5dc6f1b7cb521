"""joblib's worker processes: each takes the share of the cores that joblib leaves it."""

from __future__ import annotations

import multiprocessing
import os

from minidl import backends


def keep_to_share_of_cores() -> None:
    """In a worker of joblib's, as many threads as OMP_NUM_THREADS says, which joblib sets; MINIDL_NUM_THREADS goes
    before it. Results do not depend on it."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    is_worker = multiprocessing.current_process().name.startswith("LokyProcess")
    if is_worker and "MINIDL_NUM_THREADS" not in os.environ and share.isdigit() and int(share) > 0:
        backends.set_num_threads(min(int(share), backends.get_num_threads()))
