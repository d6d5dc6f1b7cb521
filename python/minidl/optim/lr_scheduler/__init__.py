"""Learning-rate schedulers with PyTorch's names, arguments and values.

>>> import minidl
>>> optimizer = minidl.optim.SGD([minidl.tensor([1.0], requires_grad=True)], lr=0.8)
>>> scheduler = minidl.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> for epoch in range(4):
...     print(scheduler.get_last_lr())
...     optimizer.step()
...     scheduler.step()
[0.8]
[0.8]
[0.4]
[0.4]
"""

from minidl.optim.lr_scheduler.cosine import (
    CosineAnnealingLR as CosineAnnealingLR,
    CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts,
)
from minidl.optim.lr_scheduler.cyclic import CyclicLR as CyclicLR
from minidl.optim.lr_scheduler.decay import (
    ConstantLR as ConstantLR,
    ExponentialLR as ExponentialLR,
    LinearLR as LinearLR,
    MultiStepLR as MultiStepLR,
    PolynomialLR as PolynomialLR,
    StepLR as StepLR,
)
from minidl.optim.lr_scheduler.functions import LambdaLR as LambdaLR, MultiplicativeLR as MultiplicativeLR
from minidl.optim.lr_scheduler.one_cycle import OneCycleLR as OneCycleLR
from minidl.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from minidl.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler
from minidl.optim.lr_scheduler.sequential import SequentialLR as SequentialLR
