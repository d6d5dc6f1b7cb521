"""Normalization layers: BatchNorm1d over the batch, LayerNorm over the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import ops
from minidl.changes import watch
from minidl.dtypes import int64
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor


class BatchNorm1d(Module):
    """out = (x - mean) / sqrt(var + eps) * weight + bias, channel by channel.

    Shapes: (N, C) or (N, C, L), kept; weight and bias (C). While training, mean and (biased) variance are the batch's,
    and the running ones move: running = (1 - momentum) * running + momentum * batch, the variance being the unbiased
    one. With momentum=None the running statistics are the plain average over all batches so far. In evaluation the
    running statistics are used; with track_running_stats=False there are none and the batch's are always used.

    Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift".

    Raises ValueError for another shape, and while training where a channel has only one value.

    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.BatchNorm1d(2)
    >>> x = minidl.tensor([[0.0, 10.0], [2.0, 30.0]])
    >>> layer(x).detach()
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    >>> layer.running_mean
    tensor([0.1000, 2.0000])
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats

        def filled(value: float) -> Tensor:
            return ops.full((num_features,), value, device=device, dtype=dtype or "float32")

        self.register_parameter("weight", Parameter(filled(1.0)) if affine else None)
        self.register_parameter("bias", Parameter(filled(0.0)) if affine and bias else None)
        self.register_buffer("running_mean", filled(0.0) if track_running_stats else None)
        self.register_buffer("running_var", filled(1.0) if track_running_stats else None)
        count = ops.tensor(0, dtype=int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget the batches seen: mean 0, variance 1."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the batches seen; weight 1, bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return self.forward_with(input)

    def forward_with(self, input: Tensor, activation: str | None = None, dropout: float = 0.0) -> Tensor:
        """dropout(activation(forward(input))) in one pass; see :func:`minidl.ops.batch_norm`."""
        self._check(input.array.shape)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            ops.count_up_(self.num_batches_tracked)
            if momentum is None:
                if watch.leaves is not None:
                    raise RuntimeError("capture: BatchNorm1d with momentum=None averages over the count of batches")
                momentum = 1.0 / self.num_batches_tracked.item()
        return ops.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if momentum is None else momentum,
            self.eps,
            activation,
            dropout,
        )

    def _check(self, shape: tuple[int, ...]) -> None:
        channels = self.num_features
        if len(shape) not in (2, 3) or shape[1] != channels:
            raise ValueError(
                f"BatchNorm1d({channels}): input must have shape (N, {channels}) or (N, {channels}, L), got {shape}"
            )
        if (self.training or self.running_mean is None) and shape[0] * (*shape, 1)[2] < 2:
            raise ValueError(
                f"BatchNorm1d({channels}): needs more than 1 value per channel when training, "
                f"got input of shape {shape}; use a larger batch (DataLoader's drop_last) or eval()"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class LayerNorm(Module):
    """out = (x - mean) / sqrt(var + eps) * weight + bias, the statistics being those of the last dimensions.

    Shapes: (*, *normalized_shape), kept; weight and bias normalized_shape. The variance is the biased one; training
    and evaluation are the same. Ba, Kiros and Hinton 2016, "Layer Normalization". Raises ValueError where the input
    does not end in normalized_shape.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LayerNorm(2)(minidl.tensor([[1.0, 3.0], [10.0, 30.0]])).detach()
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine

        def filled(value: float) -> Parameter:
            return Parameter(ops.full(self.normalized_shape, value, device=device, dtype=dtype or "float32"))

        self.register_parameter("weight", filled(1.0) if elementwise_affine else None)
        self.register_parameter("bias", filled(0.0) if elementwise_affine and bias else None)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
