"""Optimizers and learning-rate schedulers with PyTorch's names, defaults and update rules."""

from minidl.optim import lr_scheduler as lr_scheduler
from minidl.optim.adadelta import Adadelta as Adadelta
from minidl.optim.adagrad import Adagrad as Adagrad
from minidl.optim.adam import Adam as Adam, AdamW as AdamW
from minidl.optim.adamax import Adamax as Adamax
from minidl.optim.nadam import NAdam as NAdam
from minidl.optim.optimizer import Optimizer as Optimizer
from minidl.optim.radam import RAdam as RAdam
from minidl.optim.rmsprop import RMSprop as RMSprop
from minidl.optim.sgd import SGD as SGD
