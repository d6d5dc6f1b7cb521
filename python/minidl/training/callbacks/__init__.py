"""What can be hooked into training.fit, by subject."""

from minidl.training.callbacks.callback import Callback as Callback
from minidl.training.callbacks.checkpointing import ModelCheckpoint as ModelCheckpoint
from minidl.training.callbacks.csv_logger import CSVLogger as CSVLogger
from minidl.training.callbacks.gradient_clipping import GradientClipping as GradientClipping
from minidl.training.callbacks.learning_rate_monitor import LearningRateMonitor as LearningRateMonitor
from minidl.training.callbacks.progress_bar import ProgressBar as ProgressBar
from minidl.training.callbacks.stopping import EarlyStopping as EarlyStopping, StopAtAccuracy as StopAtAccuracy
from minidl.training.callbacks.tensorboard import TensorBoard as TensorBoard
