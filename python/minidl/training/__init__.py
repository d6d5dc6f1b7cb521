"""fit(), its callbacks and checkpoints, penalties, metrics, and the search for a learning rate."""

from minidl.training import metrics
from minidl.training.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientClipping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    StopAtAccuracy,
    TensorBoard,
)
from minidl.training.checkpoint import load_checkpoint, load_model
from minidl.training.checks import Finding, Findings, diagnose
from minidl.training.diagnosis import NonFiniteLossError
from minidl.training.evaluation import evaluate
from minidl.training.fitting import fit
from minidl.training.history import EpochFigures, History
from minidl.training.inspection import LayerStatistics, activation_statistics
from minidl.training.interrupt import TrainingInterrupted
from minidl.training.loop import Training
from minidl.training.penalties import l1_penalty, l2_penalty
from minidl.training.range_test import lr_find
from minidl.training.sweep import LearningRateSweep

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "EpochFigures",
    "Finding",
    "Findings",
    "GradientClipping",
    "History",
    "LayerStatistics",
    "LearningRateMonitor",
    "LearningRateSweep",
    "ModelCheckpoint",
    "NonFiniteLossError",
    "ProgressBar",
    "StopAtAccuracy",
    "TensorBoard",
    "Training",
    "TrainingInterrupted",
    "activation_statistics",
    "diagnose",
    "evaluate",
    "fit",
    "l1_penalty",
    "l2_penalty",
    "load_checkpoint",
    "load_model",
    "lr_find",
    "metrics",
]
