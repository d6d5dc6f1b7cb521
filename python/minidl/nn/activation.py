"""Activation layers. They keep the shape and take tensors of any shape unless they say otherwise.

Those with `inplace` overwrite their input, as PyTorch's do; while gradients are recorded, all but ReLU copy it first.
"""

from __future__ import annotations

from typing import Any

from minidl import ops
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor


def _inplace_repr(inplace: bool, *others: str) -> str:
    return ", ".join([*others, "inplace=True"] if inplace else others)


class ReLU(Module):
    """max(x, 0). Nair and Hinton 2010.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ReLU()(minidl.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu_(input) if self.inplace else ops.relu(input)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x. Maas, Hannun and Ng 2013.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LeakyReLU(0.1)(minidl.tensor([-1.0, 2.0]))
    tensor([-0.1000,  2.0000])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace, f"negative_slope={self.negative_slope}")


class PReLU(Module):
    """x where x > 0, else weight * x with a trained weight: one for all, or one for each of num_parameters channels.

    Shapes: (N, C, *) with num_parameters = C, or any shape with num_parameters = 1; weight (num_parameters). Raises
    ValueError where the channels do not fit. He et al. 2015, "Delving Deep into Rectifiers".

    >>> import minidl
    >>> from minidl import nn
    >>> nn.PReLU()(minidl.tensor([-1.0, 2.0])).detach()
    tensor([-0.2500,  2.0000])
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(ops.full((num_parameters,), init, device=device, dtype=dtype or "float32"))

    def forward(self, input: Tensor) -> Tensor:
        return ops.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where x > 0, else alpha * (e^x - 1). Clevert, Unterthiner and Hochreiter 2016.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ELU()(minidl.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace, f"alpha={self.alpha}")


class SELU(Module):
    """scale * (x where x > 0, else alpha * (e^x - 1)), scale = 1.0507..., alpha = 1.6732...; with weights of variance
    1/fan_in, activations tend to mean 0 and variance 1. Klambauer et al. 2017, "Self-Normalizing Neural Networks".

    >>> import minidl
    >>> from minidl import nn
    >>> nn.SELU()(minidl.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace)


class CELU(Module):
    """x where x > 0, else alpha * (e^(x / alpha) - 1), whose slope has no jump at 0. Barron 2017. alpha is not 0.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.CELU(2.0)(minidl.tensor([-1.0, 2.0]))
    tensor([-0.7869,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if alpha == 0:
            raise ValueError("CELU: alpha must not be 0")
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace, f"alpha={self.alpha}")


class GELU(Module):
    """x * Phi(x), Phi being the distribution function of N(0, 1). Hendrycks and Gimpel 2016.

    approximate="tanh" computes x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) instead. Raises ValueError for
    another approximation.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.GELU()(minidl.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return ops.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x * sigmoid(x), also known as swish. Elfwing, Uchibe and Doya 2018.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.SiLU()(minidl.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace)


class Mish(Module):
    """x * tanh(ln(1 + e^x)). Misra 2019.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Mish()(minidl.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace)


class Softplus(Module):
    """ln(1 + e^(beta x)) / beta, and x where beta x > threshold, since the two no longer differ there.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Softplus()(minidl.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return ops.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """x / (1 + |x|).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Softsign()(minidl.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.softsign(input)


class LogSigmoid(Module):
    """ln(1 / (1 + e^-x)), without overflow.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LogSigmoid()(minidl.tensor([0.0, -100.0]))
    tensor([  -0.6931, -100.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.logsigmoid(input)


class Sigmoid(Module):
    """1 / (1 + e^-x).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Sigmoid()(minidl.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.sigmoid(input)


class Tanh(Module):
    """(e^x - e^-x) / (e^x + e^-x).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Tanh()(minidl.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.tanh(input)


class Hardtanh(Module):
    """min(max(x, min_val), max_val). Raises ValueError where max_val is not greater than min_val.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Hardtanh()(minidl.tensor([-3.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not max_val > min_val:
            raise ValueError(f"Hardtanh: max_val must be greater than min_val, got {max_val} and {min_val}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _inplace_repr(self.inplace, f"min_val={self.min_val}", f"max_val={self.max_val}")


class Softmax(Module):
    """e^x / sum of e^x along dim: the results lie in [0, 1] and sum to 1.

    Without dim, PyTorch's guess is taken and a warning given. Raises IndexError for a dim that does not exist. For
    training give logits to CrossEntropyLoss instead.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Softmax(dim=1)(minidl.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - ln(sum of e^x) along dim: the logarithm of softmax, without overflow. Goes with NLLLoss.

    Without dim, PyTorch's guess is taken and a warning given. Raises IndexError for a dim that does not exist.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LogSoftmax(dim=1)(minidl.zeros(1, 2))
    tensor([[-0.6931, -0.6931]])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
