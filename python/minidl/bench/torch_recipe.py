"""The recipe of `minidl train` as one would write it in PyTorch; run by `accuracy`, in an interpreter that has torch.

The images lie in memory as one tensor, and a batch is picked by indices: no DataLoader, which would cost more.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def read_idx(path: Path) -> Any:
    """The array of an IDX file: a magic number whose last byte counts the dimensions, their sizes, unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    dims = data[3]
    shape = np.frombuffer(data, ">i4", dims, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def build_model(torch: Any, hidden: list[int], dropout: float) -> Any:
    nn, layers, inputs = torch.nn, [], 784
    for width in hidden:
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.GELU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def main(
    folder: str,
    accuracy: float,
    threads: int,
    seed: int,
    hidden: list[int],
    dropout: float,
    lr: float,
    weight_decay: float,
    batch_size: int,
    epochs: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """Trains until an epoch ends with the test accuracy wanted, and says which one that was."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    files = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    images, labels, test_images, test_labels = (read_idx(Path(folder) / f"{name}-ubyte.gz") for name in files)
    mean, std = images.mean() / 255, images.std() / 255

    def prepared(pixels: Any) -> Any:
        flat = torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32))
        return flat.div_(255).sub_(mean).div_(std).to(device)

    train_x, train_y = prepared(images), torch.from_numpy(labels.astype(np.int64)).to(device)
    test_x, test_y = prepared(test_images), torch.from_numpy(test_labels.astype(np.int64)).to(device)
    model = build_model(torch, hidden, dropout).to(device)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    steps = epochs * -(-len(train_x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    loss_function = torch.nn.CrossEntropyLoss()
    reached, taken, training = 0.0, 0, 0.0
    while taken < epochs and reached < accuracy:
        begin = time.perf_counter()
        model.train()
        for index in torch.randperm(len(train_x), device=device).split(batch_size):
            loss = loss_function(model(train_x[index]), train_y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        loss.item()  # waits for the device
        training += time.perf_counter() - begin
        model.eval()
        with torch.no_grad():
            batches = zip(test_x.split(1000), test_y.split(1000), strict=True)
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in batches)
        reached, taken = hits / len(test_y), taken + 1
    return {"epochs": taken, "accuracy": reached, "training": training}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
