"""`minidl lab batchnorm`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.lab_app.command()
def batchnorm(
    dataset: lab.DatasetOption = None,
    data_dir: lab.DataDirOption = None,
    epochs: Annotated[int | None, option("Passes over the training images (default: 50).")] = None,
    lr: Annotated[float | None, option("Lowest learning rate; 5 and 30 times it follow (default: 0.1).")] = None,
    weight_std: Annotated[float | None, option("Standard deviation of the initial weights (default: 0.1).")] = None,
    seeds: lab.SeedsOption = None,
    out: lab.OutOption = None,
    device: lab.DeviceOption = "cpu",
    threads: lab.ThreadsOption = None,
    quick: lab.QuickOption = False,
    resume: lab.ResumeOption = False,
    force: lab.ForceOption = False,
    quiet: lab.QuietOption = False,
) -> None:
    """Deep sigmoids with and without batch norm: accuracy, inputs that drift, higher rates (Ioffe and Szegedy 2015)."""
    from minidl.lab.batch_norm import QUICK, BatchNorm

    lab.run_on_command_line(
        BatchNorm,
        {"dataset": dataset, "epochs": epochs, "lr": lr, "weight_std": weight_std, "seeds": seeds},
        quick=QUICK if quick else None,
        out=out,
        data_dir=data_dir,
        device=device,
        threads=threads,
        resume=resume,
        force=force,
        quiet=quiet,
    )
