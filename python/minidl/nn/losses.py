"""Loss layers: how far an output is from its target, as one number or, with reduction="none", element by element.

Each takes the reductions "mean", "sum" and "none" and raises ValueError for others, at once. `size_average` and
`reduce` are the arguments that `reduction` has replaced; they keep their places for old code.
"""

from __future__ import annotations

from minidl import ops
from minidl.nn.functional import resolve_reduction
from minidl.nn.module import Module
from minidl.tensor import Tensor


class _Loss(Module):
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = resolve_reduction(size_average, reduce, reduction)
        if self.reduction not in self.reductions:
            raise ValueError(f"{type(self).__name__}: reduction must be one of {self.reductions}, got {reduction!r}")


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """-ln softmax(logits)[label], computed from the logits in one pass with its gradient.

    Shapes: input (N, C) with labels (N), or (C) with a label (); out () or, with reduction="none", the labels' shape.

    `weight` (C) multiplies each class's loss, and "mean" then divides by the sum of the weights used. Labels equal to
    ignore_index count nowhere. label_smoothing = s takes 1 - s of the label and s / C of every class (Szegedy et al.
    2016).

    Raises ValueError for shapes that do not fit, labels out of range and a label_smoothing outside [0, 1], TypeError
    for labels that are not whole numbers. The input is logits: no softmax before it.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.CrossEntropyLoss()(minidl.zeros(3, 10), minidl.tensor([7, 2, 1]))
    tensor(2.3026)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must lie between 0 and 1, got {label_smoothing}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_WeightedLoss):
    """-log_probs[label]: the negative log-likelihood of log-probabilities such as LogSoftmax gives.

    Shapes: input (N, C) with labels (N), or (C) with a label (); out () or the labels' shape. `weight` and
    ignore_index as in CrossEntropyLoss. Raises ValueError for shapes that do not fit and labels out of range,
    TypeError for labels that are not whole numbers.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.NLLLoss()(minidl.tensor([[-0.5, -1.0], [-0.1, -3.0]]), minidl.tensor([0, 1]))
    tensor(1.7500)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(input - target)^2.

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.MSELoss()(minidl.tensor([1.0, 2.0]), minidl.tensor([0.0, 4.0]))
    tensor(2.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """|input - target|.

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.L1Loss()(minidl.tensor([1.0, 2.0]), minidl.tensor([0.0, 4.0]))
    tensor(1.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2; beta = 0 is L1Loss. Girshick 2015, "Fast
    R-CNN".

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ or beta is
    negative.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.SmoothL1Loss(reduction="none")(minidl.tensor([0.5, 3.0]), minidl.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, got {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where d = |input - target| <= delta, else delta * (d - delta / 2). Huber 1964.

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ or delta is not
    positive.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.HuberLoss(reduction="none", delta=2.0)(minidl.tensor([0.5, 3.0]), minidl.zeros(2))
    tensor([0.1250, 4.0000])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be positive, got {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_WeightedLoss):
    """-(target * ln p + (1 - target) * ln(1 - p)) of probabilities p, logarithms clamped at -100; times `weight`.

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ. BCEWithLogitsLoss
    is the safer choice: it takes what comes before the sigmoid.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.BCELoss()(minidl.tensor([0.5, 0.5]), minidl.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """max(x, 0) - x * target + ln(1 + e^-|x|): BCELoss of sigmoid(x), without its loss of precision; times `weight`.

    `pos_weight` multiplies the part of the positive targets.

    Shapes: input and target alike, pos_weight broadcast to them; out () or that shape. Raises ValueError where the
    shapes differ.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.BCEWithLogitsLoss()(minidl.zeros(2), minidl.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(_Loss):
    """target * (ln target - input): the Kullback-Leibler divergence of log-probabilities `input` from `target`, itself
    given as logarithms with log_target=True. reduction="batchmean", the sum over the batch size, is the divergence as
    defined; "mean" divides by the number of elements.

    Shapes: input and target alike; out () or that shape. Raises ValueError where the shapes differ.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.KLDivLoss(reduction="batchmean")(minidl.tensor([[0.5, 0.5]]).log(), minidl.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    reductions = ("mean", "sum", "none", "batchmean")

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.kl_div(input, target, self.reduction, self.log_target)
