"""Whole fits of an estimator, timed in a process of its own; run by `fitting`, in any interpreter with scikit-learn.

Imports nothing of minidl's but minidl.sklearn, where that is measured. Prints one JSON line.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import statistics
import sys
import time
import warnings
from typing import Any


def main(library: str, task: dict[str, Any], threads: int, seconds: float, folder: str) -> dict[str, Any]:
    """The figures of one process: fits of one estimator on the same data, for about `seconds` and at least two."""
    steps = runpy.run_path(os.path.join(folder, "step_worker.py"))
    if library == "sklearn":
        steps["limit_cores"](threads)
    module = importlib.import_module({"sklearn": "sklearn.neural_network", "minidl": "minidl.sklearn"}[library])
    warnings.simplefilter("ignore")  # that the epochs were too few to converge is known
    pixels, labels = steps["make_data"](task["samples"], task["features"], task["classes"])
    X = pixels.astype(task["dtype"], copy=False)
    options = {
        "hidden_layer_sizes": task["hidden"],
        "batch_size": task["batch"],
        "max_iter": task["epochs"],
        "n_iter_no_change": task["epochs"],
        "random_state": 0,
    }
    module.MLPClassifier(**{**options, "max_iter": 3}).fit(X[: 2 * task["batch"]], labels[: 2 * task["batch"]])
    before_fit = steps["peak_bytes"]()
    watch = runpy.run_path(os.path.join(folder, "processes.py"))["OtherProcesses"]()
    watch.begin()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 2 or time.perf_counter() < end:
        model = module.MLPClassifier(**options)
        begin = time.perf_counter()
        model.fit(X, labels)
        taken.append(time.perf_counter() - begin)
    others = watch.share(0.0)  # this process's own time is counted by the watch
    return {
        "median": statistics.median(taken),
        "fastest": min(taken),
        "others": others,
        "memory": steps["peak_bytes"]() - before_fit,
        "value": float(model.loss_),
        "version": str(getattr(sys.modules[module.__name__.split(".")[0]], "__version__", "")),
    }


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
