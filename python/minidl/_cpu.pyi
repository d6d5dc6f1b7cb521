"""
minidl's kernels for NumPy arrays
"""
from __future__ import annotations
import collections.abc
import minidl.kinds
from minidl.kinds import Activation
from minidl.kinds import Reduction
import numpy
import typing
__all__: list[str] = ['Activation', 'Plan', 'Reduction', 'absolute_forward', 'adadelta_step', 'adagrad_step', 'adam_step', 'adamax_step', 'add_forward', 'add_scaled', 'affine_forward', 'append_result', 'available_bfloat16', 'available_isas', 'batch_norm_backward', 'batch_norm_forward_evaluation', 'batch_norm_forward_training', 'bce_backward', 'bce_forward', 'bce_with_logits_backward', 'bce_with_logits_forward', 'bernoulli', 'bfloat16', 'celu_backward', 'celu_forward', 'clamp_forward', 'copy_strided', 'count_correct', 'count_up', 'cross_entropy_forward', 'divide_forward', 'dropout_forward', 'elu_backward', 'elu_forward', 'empty', 'erf_forward', 'exp_forward', 'expm1_forward', 'fastest_bfloat16', 'fill', 'gather_labels', 'gather_rows', 'gather_rows_uint8', 'gelu_backward', 'gelu_forward', 'gelu_tanh_backward', 'gelu_tanh_forward', 'hardtanh_backward', 'hardtanh_forward', 'huber_backward', 'huber_forward', 'isa', 'kernel_names', 'l1_backward', 'l1_forward', 'layer_norm_backward', 'layer_norm_forward', 'leaky_relu_backward', 'leaky_relu_forward', 'limit_row_norms', 'linear', 'linear_backward_input', 'linear_backward_weight', 'linear_forward', 'linear_gradients', 'log1p_forward', 'log_forward', 'log_softmax_backward', 'log_softmax_forward', 'logsigmoid_backward', 'logsigmoid_forward', 'logsumexp_backward', 'logsumexp_forward', 'matmul', 'max_forward', 'maximum_forward', 'min_forward', 'minimum_forward', 'mish_backward', 'mish_forward', 'mse_backward', 'mse_forward', 'multiply_add', 'multiply_forward', 'nadam_step', 'negative_forward', 'nll_forward', 'normal', 'permutation', 'pooled_bytes', 'power_forward', 'prelu_backward', 'prelu_forward', 'radam_step', 'randint', 'random_bits', 'reciprocal_forward', 'release_pool', 'relu_backward', 'relu_forward', 'require_finite', 'rmsprop_step', 'rsqrt_forward', 'scale_gradients', 'selu_backward', 'selu_forward', 'set_bfloat16', 'set_isa', 'set_thread_count', 'sgd_step', 'sigmoid_backward', 'sigmoid_forward', 'signature', 'silu_backward', 'silu_forward', 'smooth_l1_backward', 'smooth_l1_forward', 'soft_threshold', 'softmax_backward', 'softmax_forward', 'softplus_backward', 'softplus_forward', 'softsign_backward', 'softsign_forward', 'sqrt_forward', 'square_forward', 'squared_norm', 'subtract_forward', 'sum_forward', 'take_ticket', 'tanh_backward', 'tanh_forward', 'thread_count', 'transpose', 'triad', 'uniform', 'var_forward', 'where_forward']
class Plan:
    """
    The kernel calls of one step: traced, recorded, replayed.
    """
    def __init__(self, is_strict: bool = True) -> None:
        ...
    def __len__(self) -> int:
        ...
    def begin_recording(self, inputs: list) -> None:
        """
        Until end(), records kernel calls.
        """
    def begin_trace(self) -> None:
        """
        Until end(), notes which memory kernel calls use.
        """
    def end(self) -> None:
        """
        Ends tracing or recording.
        """
    def fail(self, reason: str) -> None:
        """
        Says that the step cannot be recorded, and why.
        """
    def profile(self, inputs: list, repeats: typing.SupportsInt | typing.SupportsIndex) -> list:
        """
        Replays and returns (call, ((kernel, ((shape, itemsize) of each array)) of each part), seconds) of all.
        """
    def replay(self, inputs: list) -> None:
        """
        Runs the recorded calls with other inputs of the same shapes and layouts.
        """
    def replay_each(self, inputs: list, steps: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Runs the recorded calls as many times, each with the next element along the first axis of the inputs.
        """
    def require_determined(self, array: numpy.ndarray | None) -> None:
        """
        Fails unless the recorded calls determine the array's content.
        """
    @property
    def failure(self) -> str:
        """
        Why the step could not be recorded; empty if it could.
        """
    @property
    def is_used(self) -> bool:
        """
        Whether a kernel call was seen.
        """
    @property
    def longest_chain(self) -> int:
        """
        How many of the calls a replay runs one after the other, at least.
        """
def absolute_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = |x|
    """
def adadelta_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, rho: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, maximize: bool) -> None:
    """
    s = rho s + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(s + eps) * g; u = rho u + (1 - rho) d^2; w -= lr * d; state: s, u
    """
def adagrad_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, lr_decay: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, maximize: bool) -> None:
    """
    s += g^2; w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps); state: s
    """
def adam_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, beta2: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, decoupled: bool, maximize: bool) -> None:
    """
    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps); state: m, v, and for AMSGrad the largest v, which then replaces v
    """
def adamax_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, beta2: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, maximize: bool) -> None:
    """
    m = beta1 m + (1 - beta1) g; u = max(beta2 * u, |g| + eps); w -= lr / (1 - beta1^t) * m / u; state: m, u
    """
def add_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a + b
    """
def add_scaled(x: numpy.ndarray | None, out: numpy.ndarray | None, scale: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out += scale * x
    """
def affine_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, scale: typing.SupportsFloat | typing.SupportsIndex, shift: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = scale * x + shift
    """
def append_result(loss: numpy.ndarray | None, correct: numpy.ndarray | None, log: numpy.ndarray | None) -> None:
    """
    r = log[0] mod rows; log[1 + 2 r] = loss[0], log[2 + 2 r] = correct[0], -1 where that is null; log[0] += 1; correct or null
    """
def available_bfloat16() -> list[str]:
    """
    Instructions that multiply bfloat16 numbers and that this CPU has, fastest first; the kernels for avx512 use them.
    """
def available_isas() -> list[str]:
    """
    Instruction sets that this build and this machine both have, best first.
    """
def batch_norm_backward(x: numpy.ndarray | None, weight: numpy.ndarray | None, mean: numpy.ndarray | None, inv_std: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, grad_weight: numpy.ndarray | None, grad_bias: numpy.ndarray | None, out: numpy.ndarray | None = None, scale: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
    """
    g = grad_out; after relu, or relu and dropout with scale = 65536 / kept: g = scale * grad_out where out > 0, else 0; grad_bias = sum g; grad_weight = sum g * xhat; grad_x = weight * inv_std * (g - grad_bias / n - xhat * grad_weight / n); weight, out (no relu), each grad or null
    """
def batch_norm_forward_evaluation(x: numpy.ndarray | None, weight: numpy.ndarray | None, bias: numpy.ndarray | None, running_mean: numpy.ndarray | None, running_var: numpy.ndarray | None, out: numpy.ndarray | None, eps: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = (x - running_mean) / sqrt(running_var + eps) * weight + bias; weight, bias or null
    """
def batch_norm_forward_training(x: numpy.ndarray | None, weight: numpy.ndarray | None, bias: numpy.ndarray | None, running_mean: numpy.ndarray | None, running_var: numpy.ndarray | None, out: numpy.ndarray | None, mean: numpy.ndarray | None, inv_std: numpy.ndarray | None, momentum: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, activation: Activation = minidl.kinds.Activation.none, ticket: numpy.ndarray | None = None, p: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
    """
    out = dropout(activation((x - mean) * inv_std * weight + bias)) per channel, activation none or relu, the bits those of dropout_forward on all of x; running = (1 - momentum) * running + momentum * batch, variance unbiased; weight, bias, ticket (no dropout), both running or null
    """
def bce_backward(probs: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    grad_probs = grad_out * (p - target) / max(p (1 - p), 1e-12) (/ size for the mean)
    """
def bce_forward(probs: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    loss = -(target * ln p + (1 - target) * ln(1 - p)), logarithms clamped at -100
    """
def bce_with_logits_backward(logits: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    grad_logits = grad_out * (sigmoid(x) - target) (/ size for the mean)
    """
def bce_with_logits_forward(logits: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    loss = max(x, 0) - x * target + ln(1 + e^-|x|)
    """
def bernoulli(ticket: numpy.ndarray | None, out: numpy.ndarray | None, p: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = 1 with probability p (to 1 / 2^32), else 0
    """
def bfloat16() -> str:
    """
    The instructions in use, or "none".
    """
def celu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, alpha: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad_x = grad_out * (x > 0 ? 1 : e^(x / alpha))
    """
def celu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, alpha: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = x > 0 ? x : alpha * (e^(x / alpha) - 1)
    """
def clamp_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, min: typing.SupportsFloat | typing.SupportsIndex, max: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = min(max(x, min), max); nan stays nan
    """
def copy_strided(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x, read through element strides, written contiguous
    """
def count_correct(logits: numpy.ndarray | None, labels: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[0] = number of rows whose first largest logit, or first nan, stands at the label
    """
def count_up(out: numpy.ndarray | None) -> None:
    """
    out[0] += 1
    """
def cross_entropy_forward(logits: numpy.ndarray | None, labels: numpy.ndarray | None, class_weight: numpy.ndarray | None, loss: numpy.ndarray | None, grad_logits: numpy.ndarray | None, ignore_index: typing.SupportsInt | typing.SupportsIndex = -100, label_smoothing: typing.SupportsFloat | typing.SupportsIndex = 0.0, reduction: Reduction = minidl.kinds.Reduction.mean) -> None:
    """
    loss = -log softmax(logits)[label], weighted by class, reduced; grad_logits its gradient; class_weight, grad_logits or null; a label outside [0, classes) that is not ignore_index gives nan
    """
def divide_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a / b
    """
def dropout_forward(x: numpy.ndarray | None, ticket: numpy.ndarray | None, out: numpy.ndarray | None, p: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = x * (bits < kept ? 65536 / kept : 0), kept = (1 - p) * 65536 rounded, 16 bits an element: half (i mod 32) / 16 of word (i mod 128) / 32 of block 16 * (i / 128) + i mod 16; the same ticket gives the same mask, so backward is this kernel on grad_out
    """
def elu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, alpha: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad_x = grad_out * (x > 0 ? 1 : alpha * e^x)
    """
def elu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, alpha: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = x > 0 ? x : alpha * (e^x - 1)
    """
def empty(shape: typing.Any, dtype: numpy.dtype[typing.Any]) -> typing.Any:
    """
    An uninitialised array in 64-byte aligned, pooled memory.
    """
def erf_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = 2/sqrt(pi) * integral of e^(-t^2) from 0 to x
    """
def exp_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = e^x
    """
def expm1_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = e^x - 1
    """
def fastest_bfloat16(pieces: typing.SupportsInt | typing.SupportsIndex = 1) -> str:
    """
    Those of them that outrun float32 with factors in so many pieces, or "none".
    """
def fill(out: numpy.ndarray | None, value: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = value
    """
def gather_labels(x: numpy.ndarray | None, index: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i] = x[index[i]]; -1 where the index is outside [0, source_size)
    """
def gather_rows(x: numpy.ndarray | None, index: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i, :] = x[index[i], :]; a row of nan where the index is outside [0, source_rows)
    """
def gather_rows_uint8(x: numpy.ndarray | None, index: numpy.ndarray | None, out: numpy.ndarray | None, scale: typing.SupportsFloat | typing.SupportsIndex, shift: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out[i, :] = scale * x[index[i], :] + shift; a row of nan where the index is outside [0, source_rows)
    """
def gelu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * (Phi(x) + x * phi(x))
    """
def gelu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x * Phi(x) = x / 2 * (1 + erf(x / sqrt(2)))
    """
def gelu_tanh_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * d gelu_tanh(x) / dx
    """
def gelu_tanh_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x / 2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
    """
def hardtanh_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, min: typing.SupportsFloat | typing.SupportsIndex, max: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad_x = grad_out where min < x < max, else 0
    """
def hardtanh_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, min: typing.SupportsFloat | typing.SupportsIndex, max: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = min(max(x, min), max)
    """
def huber_backward(x: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction, delta: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    d = x - target; grad_x = grad_out * min(max(d, -delta), delta) (/ size for the mean)
    """
def huber_forward(x: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction, delta: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    d = |x - target|; loss = d <= delta ? d^2 / 2 : delta (d - delta / 2)
    """
def isa() -> str:
    """
    The instruction set in use.
    """
def l1_backward(x: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    grad_x = grad_out * sign(x - target) (/ size for the mean)
    """
def l1_forward(x: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    loss = |x - target|
    """
def layer_norm_backward(x: numpy.ndarray | None, weight: numpy.ndarray | None, mean: numpy.ndarray | None, inv_std: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, grad_weight: numpy.ndarray | None, grad_bias: numpy.ndarray | None) -> None:
    """
    grad_bias = sum g; grad_weight = sum g * xhat over rows; grad_x = inv_std * (h - mean(h) - xhat * mean(h * xhat)), h = g * weight; weight, each grad or null
    """
def layer_norm_forward(x: numpy.ndarray | None, weight: numpy.ndarray | None, bias: numpy.ndarray | None, out: numpy.ndarray | None, mean: numpy.ndarray | None, inv_std: numpy.ndarray | None, eps: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out[i, :] = (x[i, :] - mean[i]) * inv_std[i] * weight + bias; weight, bias or null
    """
def leaky_relu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, negative_slope: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad_x = grad_out * (x > 0 ? 1 : negative_slope)
    """
def leaky_relu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, negative_slope: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = x > 0 ? x : negative_slope * x
    """
def limit_row_norms(weights: collections.abc.Sequence[numpy.ndarray | None], max_norm: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    w[i, :] *= max_norm / |w[i, :]| (1 - 1.5 epsilon) where |w[i, :]| > max_norm, the norm in double; a row without a finite norm is left alone; in place
    """
def linear(x: numpy.ndarray | None, weight: numpy.ndarray | None, bias: numpy.ndarray | None, activation: Activation) -> typing.Any:
    """
    linear_forward into a new array.
    """
def linear_backward_input(grad_out: numpy.ndarray | None, weight: numpy.ndarray | None, grad_x: numpy.ndarray | None, saved: numpy.ndarray | None = None, activation: Activation = minidl.kinds.Activation.none) -> None:
    """
    grad_x = grad_out weight, times the derivative of the activation that gave saved; saved is the layer's input x, null only without an activation
    """
def linear_backward_weight(grad_out: numpy.ndarray | None, x: numpy.ndarray | None, grad_weight: numpy.ndarray | None, grad_bias: numpy.ndarray | None, accumulate: bool = False) -> None:
    """
    grad_weight (+)= grad_out^T x; grad_bias (+)= column sums of grad_out; grad_bias or null
    """
def linear_forward(x: numpy.ndarray | None, weight: numpy.ndarray | None, bias: numpy.ndarray | None, out: numpy.ndarray | None, activation: Activation = minidl.kinds.Activation.none) -> None:
    """
    out = activation(x weight^T + bias); weight is out_features x in_features; bias or null
    """
def linear_gradients(grad_out: numpy.ndarray | None, x: numpy.ndarray | None, weight: numpy.ndarray | None, wants_x: bool, wants_weight: bool, wants_bias: bool, through_relu: bool) -> tuple:
    """
    (grad_x, grad_weight, grad_bias) in new arrays, None for those not wanted; grad_bias only with grad_weight. Where x is the output of a relu, grad_x can be taken back through it.
    """
def log1p_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = ln(1 + x)
    """
def log_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = ln(x)
    """
def log_softmax_backward(out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out - e^out * sum(grad_out)
    """
def log_softmax_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i, :] = x[i, :] - logsumexp(x[i, :])
    """
def logsigmoid_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * sigmoid(-x)
    """
def logsigmoid_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = -ln(1 + e^-x)
    """
def logsumexp_backward(x: numpy.ndarray | None, out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x[i, :] = grad_out[i] * e^(x[i, :] - out[i])
    """
def logsumexp_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i] = ln(sum of e^x[i, :])
    """
def matmul(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None, transpose_a: bool = False, transpose_b: bool = False, accumulate: bool = False) -> None:
    """
    out[b] (+)= op(a[b]) op(b[b]); op(a) is m x k, op(b) is k x n; a batch stride of 0 repeats one matrix
    """
def max_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, index: numpy.ndarray | None = None) -> None:
    """
    out = max over r, index = its first place; nan wins; out or index or null
    """
def maximum_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = max(a, b); nan where either is nan
    """
def min_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, index: numpy.ndarray | None = None) -> None:
    """
    out = min over r, index = its first place; nan wins; out or index or null
    """
def minimum_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = min(a, b); nan where either is nan
    """
def mish_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * (t + x * sigmoid(x) * (1 - t^2)), t = tanh(ln(1 + e^x))
    """
def mish_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x * tanh(ln(1 + e^x))
    """
def mse_backward(x: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    grad_x = grad_out * 2 (x - target) (/ size for the mean)
    """
def mse_forward(x: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction) -> None:
    """
    loss = (x - target)^2
    """
def multiply_add(x: numpy.ndarray | None, out: numpy.ndarray | None, factor: typing.SupportsFloat | typing.SupportsIndex, term: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = x, then 4096 times out = out * factor + term, in registers
    """
def multiply_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a * b
    """
def nadam_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, beta2: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, momentum_decay: typing.SupportsFloat | typing.SupportsIndex, decoupled: bool, maximize: bool) -> None:
    """
    Adam with Nesterov momentum (Dozat 2016): mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2), M_t = mu_1 ... mu_t; w -= lr * ((1 - mu_t) / (1 - M_t) * g + mu_t+1 / (1 - M_t+1) * m) / (sqrt(v / (1 - beta2^t)) + eps); state: m, v
    """
def negative_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = -x
    """
def nll_forward(log_probs: numpy.ndarray | None, labels: numpy.ndarray | None, class_weight: numpy.ndarray | None, loss: numpy.ndarray | None, grad_log_probs: numpy.ndarray | None, ignore_index: typing.SupportsInt | typing.SupportsIndex = -100, reduction: Reduction = minidl.kinds.Reduction.mean) -> None:
    """
    loss = -log_probs[label], weighted by class, reduced; grad_log_probs its gradient; class_weight, grad_log_probs or null; a label outside [0, classes) that is not ignore_index gives nan
    """
def normal(ticket: numpy.ndarray | None, out: numpy.ndarray | None, mean: typing.SupportsFloat | typing.SupportsIndex, std: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out ~ N(mean, std^2), Box-Muller: out[i] and out[i + 16] = mean + std * sqrt(-2 ln u[i]) * (cos, sin)(2 pi u[i + 16]) for i mod 32 < 16
    """
def permutation(ticket: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a random order of 0 .. size - 1: a keyed bijection of the index
    """
def pooled_bytes() -> tuple[int, int]:
    """
    Bytes held by the pool: {in use, idle}.
    """
def power_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a ^ b
    """
def prelu_backward(x: numpy.ndarray | None, weight: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, grad_weight: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * (x > 0 ? 1 : weight[c]); grad_weight[c] = sum of grad_out * x where x <= 0
    """
def prelu_forward(x: numpy.ndarray | None, weight: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[o, c, i] = x > 0 ? x : weight[c] * x
    """
def radam_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, beta2: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, decoupled: bool, maximize: bool) -> None:
    """
    rectified Adam (Liu 2020): R = 2 / (1 - beta2) - 1, r = R - 2 t beta2^t / (1 - beta2^t); r > 5: w -= lr * m / (1 - beta1^t) * sqrt(1 - beta2^t) / (sqrt(v) + eps) * sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else w -= lr * m / (1 - beta1^t); state: m, v
    """
def randint(ticket: numpy.ndarray | None, out: numpy.ndarray | None, low: typing.SupportsInt | typing.SupportsIndex, high: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    out = low + (64 random bits * (high - low)) / 2^64: whole numbers in [low, high), uniform to (high - low) / 2^64
    """
def random_bits(ticket: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i] = 32 random bits: word (i mod 64) / 16 of block 16 * (i / 64) + i mod 16
    """
def reciprocal_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = 1 / x
    """
def release_pool() -> None:
    """
    Returns idle pooled memory to the system.
    """
def relu_backward(out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, scale: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
    """
    grad_x = scale * grad_out where out > 0, else 0; with dropout's 65536 / kept as scale, the gradient of out = dropout(relu(x))
    """
def relu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = max(x, 0); nan stays nan
    """
def require_finite(x: numpy.ndarray | None, name: str) -> None:
    """
    FloatingPointError unless every element is finite; in a captured step the check is replayed.
    """
def rmsprop_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, alpha: typing.SupportsFloat | typing.SupportsIndex, eps: typing.SupportsFloat | typing.SupportsIndex, maximize: bool) -> None:
    """
    s = alpha s + (1 - alpha) g^2; d = g / (sqrt(s - a^2) + eps); b = momentum * b + d; w -= lr * b; state: s, b (without it w -= lr * d), the mean a of g (without it 0)
    """
def rsqrt_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = 1 / sqrt(x)
    """
def scale_gradients(grads: collections.abc.Sequence[numpy.ndarray | None], squared_norm: numpy.ndarray | None, max_norm: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad *= min(1, max_norm / (sqrt(squared_norm[0]) + 1e-6)), in place
    """
def selu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * scale * (x > 0 ? 1 : alpha * e^x)
    """
def selu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = scale * (x > 0 ? x : alpha * (e^x - 1)), Klambauer 2017
    """
def set_bfloat16(instructions: str, pieces: typing.SupportsInt | typing.SupportsIndex = 1) -> None:
    """
    Lets float32 products round their factors to bfloat16, or with 2 pieces to the sum of two such numbers, and multiply them by these instructions; "none" does not.
    """
def set_isa(name: str) -> None:
    """
    Uses the kernels of one instruction set.
    """
def set_thread_count(threads: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads that a kernel may use.
    """
def sgd_step(params: collections.abc.Sequence[numpy.ndarray | None], grads: collections.abc.Sequence[numpy.ndarray | None], states: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], counters: collections.abc.Sequence[collections.abc.Sequence[numpy.ndarray | None]], schedule: numpy.ndarray | None, dampening: typing.SupportsFloat | typing.SupportsIndex, nesterov: bool, maximize: bool) -> None:
    """
    v = momentum * v + (1 - dampening) * g (first step: g); w -= lr * (nesterov ? g + momentum * v : v); state: v, without it w -= lr * g
    """
def sigmoid_backward(out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * out * (1 - out)
    """
def sigmoid_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = 1 / (1 + e^-x)
    """
def signature(arrays: list) -> bytes:
    """
    Shapes, strides, number types and overlaps of some arrays, as one hashable value.
    """
def silu_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * s * (1 + x * (1 - s)), s = sigmoid(x)
    """
def silu_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x * sigmoid(x)
    """
def smooth_l1_backward(x: numpy.ndarray | None, target: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, reduction: Reduction, beta: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    d = x - target; grad_x = grad_out * (|d| < beta ? d / beta : sign(d)) (/ size for the mean)
    """
def smooth_l1_forward(x: numpy.ndarray | None, target: numpy.ndarray | None, loss: numpy.ndarray | None, reduction: Reduction, beta: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    d = |x - target|; loss = d < beta ? d^2 / (2 beta) : d - beta / 2
    """
def soft_threshold(params: collections.abc.Sequence[numpy.ndarray | None], schedule: numpy.ndarray | None, l1_decay: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    w = sign(w) * max(|w| - t, 0), t = lr * l1_decay; nan stays nan; in place
    """
def softmax_backward(out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = out * (grad_out - sum(grad_out * out))
    """
def softmax_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[i, :] = e^(x[i, :] - max) / sum
    """
def softplus_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None, beta: typing.SupportsFloat | typing.SupportsIndex, threshold: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    grad_x = grad_out * (beta x > threshold ? 1 : sigmoid(beta x))
    """
def softplus_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, beta: typing.SupportsFloat | typing.SupportsIndex, threshold: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out = ln(1 + e^(beta x)) / beta; x where beta x > threshold
    """
def softsign_backward(x: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out / (1 + |x|)^2
    """
def softsign_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x / (1 + |x|)
    """
def sqrt_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = sqrt(x)
    """
def square_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = x * x
    """
def squared_norm(grads: collections.abc.Sequence[numpy.ndarray | None], out: numpy.ndarray | None) -> None:
    """
    out[0] = sum of grad^2 over all segments, in double
    """
def subtract_forward(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = a - b
    """
def sum_forward(x: numpy.ndarray | None, out: numpy.ndarray | None, divisor: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
    """
    out[o, i] = (sum over r of x[o, r, i]) / divisor; the mean with divisor = reduced
    """
def take_ticket(generator: numpy.ndarray | None, ticket: numpy.ndarray | None) -> None:
    """
    ticket = generator = {seed, calls}; then calls += 1
    """
def tanh_backward(out: numpy.ndarray | None, grad_out: numpy.ndarray | None, grad_x: numpy.ndarray | None) -> None:
    """
    grad_x = grad_out * (1 - out^2)
    """
def tanh_forward(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = tanh(x)
    """
def thread_count() -> int:
    """
    Threads that a kernel may use.
    """
def transpose(x: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out[b, j, i] = x[b, i, j]
    """
def triad(a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None, factor: typing.SupportsFloat | typing.SupportsIndex, bypass_cache: bool = False) -> None:
    """
    out = a + factor * b; bypass_cache writes past the caches where out is aligned to a vector
    """
def uniform(ticket: numpy.ndarray | None, out: numpy.ndarray | None, low: typing.SupportsFloat | typing.SupportsIndex, high: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    out ~ U[low, high): low + (high - low) * u, u of 24 bits (float) or 53 (double); never high itself
    """
def var_forward(x: numpy.ndarray | None, mean: numpy.ndarray | None, out: numpy.ndarray | None, correction: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
    """
    mean over r; out = sum of (x - mean)^2 / max(0, reduced - correction); mean or null
    """
def where_forward(condition: numpy.ndarray | None, a: numpy.ndarray | None, b: numpy.ndarray | None, out: numpy.ndarray | None) -> None:
    """
    out = condition ? a : b
    """
kernel_names: tuple = ('negative_forward', 'absolute_forward', 'square_forward', 'reciprocal_forward', 'sqrt_forward', 'rsqrt_forward', 'exp_forward', 'expm1_forward', 'log_forward', 'log1p_forward', 'erf_forward', 'affine_forward', 'clamp_forward', 'add_forward', 'subtract_forward', 'multiply_forward', 'divide_forward', 'power_forward', 'maximum_forward', 'minimum_forward', 'where_forward', 'add_scaled', 'fill', 'copy_strided', 'transpose', 'gather_rows', 'gather_rows_uint8', 'gather_labels', 'count_up', 'relu_forward', 'relu_backward', 'leaky_relu_forward', 'leaky_relu_backward', 'prelu_forward', 'prelu_backward', 'elu_forward', 'elu_backward', 'selu_forward', 'selu_backward', 'celu_forward', 'celu_backward', 'gelu_forward', 'gelu_backward', 'gelu_tanh_forward', 'gelu_tanh_backward', 'silu_forward', 'silu_backward', 'mish_forward', 'mish_backward', 'softplus_forward', 'softplus_backward', 'softsign_forward', 'softsign_backward', 'sigmoid_forward', 'sigmoid_backward', 'logsigmoid_forward', 'logsigmoid_backward', 'tanh_forward', 'tanh_backward', 'hardtanh_forward', 'hardtanh_backward', 'matmul', 'linear_forward', 'linear_backward_input', 'linear_backward_weight', 'sum_forward', 'max_forward', 'min_forward', 'var_forward', 'softmax_forward', 'softmax_backward', 'log_softmax_forward', 'log_softmax_backward', 'logsumexp_forward', 'logsumexp_backward', 'cross_entropy_forward', 'nll_forward', 'count_correct', 'append_result', 'bce_forward', 'bce_backward', 'bce_with_logits_forward', 'bce_with_logits_backward', 'mse_forward', 'mse_backward', 'l1_forward', 'l1_backward', 'smooth_l1_forward', 'smooth_l1_backward', 'huber_forward', 'huber_backward', 'batch_norm_forward_training', 'batch_norm_forward_evaluation', 'batch_norm_backward', 'layer_norm_forward', 'layer_norm_backward', 'take_ticket', 'random_bits', 'uniform', 'normal', 'bernoulli', 'randint', 'permutation', 'dropout_forward', 'sgd_step', 'adam_step', 'adagrad_step', 'rmsprop_step', 'adadelta_step', 'adamax_step', 'nadam_step', 'radam_step', 'squared_norm', 'scale_gradients', 'soft_threshold', 'limit_row_norms', 'multiply_add', 'triad')
