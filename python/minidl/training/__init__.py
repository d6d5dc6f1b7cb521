"""fit(), its callbacks and checkpoints."""

from minidl.training.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    ProgressBar,
    StopAtAccuracy,
)
from minidl.training.checkpoint import load_checkpoint, load_model
from minidl.training.diagnosis import NonFiniteLossError
from minidl.training.evaluation import evaluate
from minidl.training.history import EpochFigures, History
from minidl.training.inspection import LayerStatistics, activation_statistics
from minidl.training.interrupt import TrainingInterrupted
from minidl.training.loop import Training, fit

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "EpochFigures",
    "History",
    "LayerStatistics",
    "ModelCheckpoint",
    "NonFiniteLossError",
    "ProgressBar",
    "StopAtAccuracy",
    "Training",
    "TrainingInterrupted",
    "activation_statistics",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_model",
]
