"""ONE ROW PER OP: its reference in NumPy float64, the shapes, and how exact it must be; test_ops.py judges each row."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import Generator, ops
from minidl.tensor import Tensor
from philox import dropout_factors

Shape = tuple[int, ...]
Array = np.ndarray

# Nothing, one, primes, each vector width (2 to 16) with its neighbours, several dimensions, enough for two threads.
ODD_SHAPES: list[Shape] = [(), (0,), (3, 0), (1,), (2,), (3,), (5,), (7,), (8,), (9,), (15,), (16,), (17,), (31,)]
ODD_SHAPES += [(33,), (63,), (65,), (127,), (1009,), (3, 5), (2, 3, 7), (1, 1, 13, 1), (67, 1013)]


@dataclass(frozen=True)
class OpCase:
    """One op, or one variant of it.

    Inputs are evenly spread, shuffled and distinct over `domain`, at least 0.01 away from every kink, and exact in
    float32. Where that does not fit, `inputs(random, *shapes)` makes the arrays; those that are not floating (labels,
    masks) reach the op as they are.

    Tolerances are in machine epsilons of the dtype tested, relative to the expected value - or to `magnitude(*inputs)`,
    the size of the terms that are summed, for ops that add up numbers of either sign.
    """

    op: Callable[..., Any]
    reference: Callable[..., Any]  # the same in NumPy: float64 arrays in, array or tuple of arrays out
    shapes: Sequence[tuple[Shape, ...]] = ()  # one tuple per trial, with the shape of each input
    rtol: float = 0.5  # forward, epsilons; 0.5 is a correctly rounded result, 0 an exact one
    grad_rtol: float = 4.0  # float32 gradient against float64 gradient, epsilons
    layout_rtol: float = 0.0  # other strides against contiguous ones, epsilons; > 0 where the layout picks the kernel
    lost: float = 0.0  # forward, in smallest normal numbers: the other factor of one that counts as zero
    cuda_rtol: float = 0.0  # forward on a GPU, epsilons, where CUDA's own function is less exact than ours
    reason: str = ""  # why not tighter; wanted wherever rtol > 0.5 or grad_rtol > 4
    domain: Sequence[float] | Sequence[Sequence[float]] = (-4.0, 4.0)  # (low, high), or one pair per input
    kinks: tuple[float, ...] = ()  # where the derivative jumps
    kwargs: dict[str, Any] = field(default_factory=dict)  # given to op and reference alike
    inputs: Callable[..., Sequence[Array]] | None = None
    magnitude: Callable[..., Array] | None = None
    elementwise: bool = False  # adds ODD_SHAPES and the extreme values
    extremes: bool = True  # False with a reason: nan, infinities and the like are somebody else's test
    differentiable: bool = True
    twice_differentiable: bool = True  # False: fused, no graph of the gradient
    name: str = ""  # first word: the op's name, for a lambda; then what is special ("sum over axis 0")

    def __str__(self) -> str:
        return self.name or self.op.__name__

    @property
    def op_name(self) -> str:
        return str(self).split()[0]

    def trials(self) -> list[tuple[Shape, ...]]:
        """The shapes of the inputs, trial by trial."""
        shapes = list(self.shapes)
        if self.elementwise:
            inputs = len(shapes[0]) if shapes else 1
            shapes += [(shape,) * inputs for shape in ODD_SHAPES]
        return shapes

    def small_trials(self) -> list[tuple[Shape, ...]]:
        """At most four trials, few enough elements for finite differences: distinct inputs stay well apart."""
        small = [shapes for shapes in self.trials() if 0 < max(int(np.prod(shape)) for shape in shapes) <= 400]
        return small if len(small) <= 4 else [*small[:2], *small[-2:]]

    def sample(self, shapes: tuple[Shape, ...], seed: int = 0) -> list[Array]:
        """Input arrays of float64 (or of whole numbers) for one trial."""
        random = np.random.default_rng(seed)
        if self.inputs is not None:
            return [round_to_float32(array) for array in self.inputs(random, *shapes)]
        domains = self.domain if isinstance(self.domain[0], Sequence) else [self.domain] * len(shapes)
        offsets = (np.arange(len(shapes)) + 0.5) / len(shapes)
        return [
            round_to_float32(spread(random, shape, *domain, offset, self.kinks))
            for shape, domain, offset in zip(shapes, domains, offsets, strict=True)
        ]


def spread(
    random: np.random.Generator,
    shape: Shape,
    low: float = -1.0,
    high: float = 1.0,
    offset: float = 0.5,
    kinks: Sequence[float] = (),
) -> Array:
    """Shuffled, evenly spaced values in (low, high); `offset` (0..1) places them between those of another input."""
    size = int(np.prod(shape))
    values = low + (high - low) * (random.permutation(size) + offset) / max(size, 1)
    for kink in kinks:
        values = np.where(np.abs(values - kink) < 0.01, kink + np.copysign(0.01, values - kink), values)
    return values.reshape(shape)


def add_at(shape: Shape, index: Array, values: Array) -> Array:
    out = np.zeros(shape)
    np.add.at(out, index, values)
    return out


def round_to_float32(array: Array) -> Array:
    return array.astype(np.float32).astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


# fmt: off
# ---- elementwise
PAIR: list[tuple[Shape, ...]] = [((37,), (37,)), ((3, 1, 5), (4, 1)), ((), (6,)), ((1009, 3), (3,)), ((0, 4), (1, 4))]
POSITIVE = (0.02, 6.0)
EXP_REASON = "polynomial after reduction: under 1 ulp, and NumPy's own half"
QUOTIENT_REASON = "gradient of four roundings"


def integers(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [random.integers(1, 9, shape) for shape in shapes]


def booleans(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [random.integers(0, 2, shape) > 0 for shape in shapes]


def with_mask(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [random.integers(0, 2, shapes[0]) > 0, *(spread(random, shape, -4, 4) for shape in shapes[1:])]


def repeating(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    """Values that are often equal, with nan among them."""
    return [random.choice([-1.0, 0.0, 2.0, np.nan], shape) for shape in shapes]


def truth(op: Callable[..., Any], reference: Callable[..., Any], **options: Any) -> OpCase:
    return OpCase(op, reference, PAIR, inputs=repeating, differentiable=False, **options)


ELEMENTWISE: list[OpCase] = [
    OpCase(ops.add, np.add, PAIR, elementwise=True),
    OpCase(lambda x: ops.add(x, 2.5), lambda x: x + 2.5, name="add of a number", elementwise=True),
    OpCase(ops.add, lambda a, b, alpha: a + alpha * b, PAIR, rtol=1, reason="two roundings",
           magnitude=lambda a, b, alpha: np.abs(a) + np.abs(alpha * b), kwargs={"alpha": 0.3}, name="add with alpha"),
    OpCase(ops.sub, np.subtract, PAIR, elementwise=True),
    OpCase(lambda x: ops.sub(1.5, x), lambda x: 1.5 - x, name="sub from a number", elementwise=True),
    OpCase(ops.mul, np.multiply, PAIR, elementwise=True),
    OpCase(lambda x: ops.mul(x, -3.0), lambda x: x * -3.0, name="mul by a number", elementwise=True),
    OpCase(ops.div, np.divide, PAIR, elementwise=True, domain=[(-4, 4), (0.3, 3)], grad_rtol=8, reason=QUOTIENT_REASON),
    OpCase(ops.floor_divide, np.floor_divide, [((5, 4), (4,))], inputs=integers, differentiable=False),
    OpCase(ops.remainder, np.remainder, [((61,), (61,)), ((3, 1), (1, 7))], domain=[(5.1, 5.9), (1.01, 1.19)], rtol=8,
           reason="a difference four times smaller than its terms"),
    OpCase(ops.pow, np.power, PAIR, elementwise=True, domain=[(0.3, 3), (-2, 3)], rtol=2, grad_rtol=16,
           reason="2^(b log2 a) with an extended logarithm; the gradient multiplies two powers"),
    OpCase(lambda x: ops.pow(x, 3), lambda x: x**3, name="pow of an integer", elementwise=True, rtol=2, grad_rtol=8,
           reason="2^(b log2 a) with an extended logarithm"),
    OpCase(lambda x: ops.pow(x, -1.5), lambda x: x**-1.5, name="pow of a number", elementwise=True, domain=(0.3, 3),
           rtol=2, grad_rtol=8, reason="2^(b log2 a) with an extended logarithm"),
    OpCase(ops.maximum, np.maximum, PAIR, elementwise=True, rtol=0, grad_rtol=2),
    OpCase(ops.minimum, np.minimum, PAIR, elementwise=True, rtol=0, grad_rtol=2),
    OpCase(ops.where, np.where, [((9, 5), (9, 5), (9, 5)), ((7, 1), (1, 9), ()), ((3,), (2, 3), (2, 1))],
           inputs=with_mask, rtol=0),
    OpCase(lambda mask, x: ops.masked_fill(x, mask, 7.0), lambda mask, x: np.where(mask, 7.0, x),
           [((9, 5), (9, 5)), ((5,), (9, 5))], inputs=with_mask, rtol=0, name="masked_fill"),
    OpCase(ops.clamp, lambda x, min, max: np.clip(x, min, max), elementwise=True, rtol=0, kinks=(-1.5, 2.0),
           kwargs={"min": -1.5, "max": 2.0}),
    OpCase(lambda x, low: ops.clamp(x, min=low), np.maximum, PAIR, rtol=0, name="clamp by a tensor"),
    OpCase(ops.neg, np.negative, elementwise=True, rtol=0),
    OpCase(ops.abs, np.abs, elementwise=True, rtol=0, kinks=(0.0,)),
    OpCase(ops.square, np.square, elementwise=True),
    OpCase(ops.reciprocal, np.reciprocal, elementwise=True, domain=POSITIVE),
    OpCase(ops.sqrt, np.sqrt, elementwise=True, domain=POSITIVE),
    OpCase(ops.rsqrt, lambda x: 1 / np.sqrt(x), elementwise=True, domain=POSITIVE, rtol=1, grad_rtol=8,
           reason="two roundings; the gradient multiplies three such factors"),
    OpCase(ops.exp, np.exp, elementwise=True, rtol=1.5, reason=EXP_REASON),
    OpCase(ops.expm1, np.expm1, elementwise=True, rtol=2, reason=EXP_REASON),
    OpCase(ops.log, np.log, elementwise=True, domain=POSITIVE, rtol=1.5, reason=EXP_REASON),
    OpCase(ops.log1p, np.log1p, elementwise=True, domain=(-0.9, 6), rtol=2, reason=EXP_REASON, grad_rtol=8),
    OpCase(ops.erf, np.vectorize(math.erf, otypes=[float]), elementwise=True, rtol=2, grad_rtol=24,
           reason="polynomials in two ranges; the gradient is e^(-x^2), whose exponent is rounded"),
    OpCase(ops.sin, np.sin, elementwise=True, rtol=1, reason="NumPy's float32 sine"),
    OpCase(ops.cos, np.cos, elementwise=True, rtol=1, reason="NumPy's float32 cosine"),
    OpCase(ops.sign, np.sign, elementwise=True, rtol=0, kinks=(0.0,), grad_rtol=0),
    OpCase(ops.floor, np.floor, [((61,),)], domain=(0.1, 0.9), rtol=0, grad_rtol=0),
    OpCase(ops.ceil, np.ceil, [((61,),)], domain=(0.1, 0.9), rtol=0, grad_rtol=0),
    OpCase(ops.round, np.round, [((61,),)], domain=(0.6, 1.4), rtol=0, grad_rtol=0),
    truth(ops.eq, np.equal),
    truth(ops.ne, np.not_equal),
    truth(ops.lt, np.less),
    truth(ops.le, np.less_equal),
    truth(ops.gt, np.greater),
    truth(ops.ge, np.greater_equal),
    OpCase(ops.isnan, np.isnan, [((61,),)], inputs=repeating, differentiable=False),
    OpCase(ops.isinf, np.isinf, [((61,),)], inputs=repeating, differentiable=False),
    OpCase(ops.isfinite, np.isfinite, [((61,),)], inputs=repeating, differentiable=False),
    OpCase(ops.logical_not, np.logical_not, [((61,),)], inputs=booleans, differentiable=False),
    OpCase(ops.bitwise_not, np.bitwise_not, [((61,),)], inputs=booleans, differentiable=False),
    OpCase(ops.bitwise_and, np.bitwise_and, [((61,), (61,))], inputs=integers, differentiable=False),
    OpCase(ops.bitwise_or, np.bitwise_or, [((61,), (61,))], inputs=booleans, differentiable=False),
    OpCase(ops.bitwise_xor, np.bitwise_xor, [((61,), (61,))], inputs=integers, differentiable=False),
    OpCase(ops.clone, lambda x: x, elementwise=True, rtol=0),
    OpCase(ops.contiguous, lambda x: x, elementwise=True, rtol=0),
    OpCase(lambda x: ops.cast(ops.cast(x, "float64"), x.dtype), lambda x: x, [((61,),)], rtol=0, name="cast"),
    OpCase(lambda a, b: ops.add_(ops.clone(a), b), np.add, [((61,), (61,)), ((3, 5), (5,))], name="add_"),
    OpCase(lambda a, b: ops.add_(ops.clone(a), b, alpha=2.0), lambda a, b: a + 2 * b,
           [((61,), (61,)), ((67, 1013), (67, 1013))], magnitude=lambda a, b: np.abs(a) + 2 * np.abs(b),
           differentiable=False, name="add_ unrecorded"),
    OpCase(lambda a, b: ops.sub_(ops.clone(a), b), np.subtract, [((61,), (61,)), ((3, 5), (5,))], name="sub_"),
    OpCase(lambda a, b: ops.mul_(ops.clone(a), b), np.multiply, [((61,), (61,)), ((3, 5), (5,))], name="mul_"),
    OpCase(lambda a, b: ops.div_(ops.clone(a), b), np.divide, [((61,), (61,)), ((3, 5), (5,))],
           domain=[(-4, 4), (0.3, 3)], grad_rtol=8, reason=QUOTIENT_REASON, name="div_"),
    OpCase(lambda x: ops.clamp_(ops.clone(x), -1, 1), lambda x: np.clip(x, -1, 1), [((61,),)], rtol=0,
           kinks=(-1.0, 1.0), name="clamp_"),
    OpCase(lambda x: ops.fill_(ops.clone(x), 3.0), lambda x: np.full(x.shape, 3.0), [((61,),)], rtol=0, name="fill_"),
    OpCase(lambda a, b: ops.copy_(ops.clone(a), b), lambda a, b: b + 0 * a, [((61,), (61,)), ((3, 5), (5,))], rtol=0,
           name="copy_"),
]

# ---- view
MATRIX = [((5, 7),), ((1, 1),), ((0, 3),), ((67, 1013),)]
VOLUME = [((2, 3, 5),), ((7, 1, 11),)]


def with_index(random: np.random.Generator, shape: Shape, index_shape: Shape) -> list[Array]:
    """Values, and places along the first dimension that may repeat."""
    return [spread(random, shape, -4, 4), random.integers(0, shape[0], index_shape)]


VIEW: list[OpCase] = [
    OpCase(lambda x: ops.reshape(x, (-1, x.shape[0])), lambda x: x.reshape(-1, x.shape[0]), VOLUME, rtol=0,
           name="reshape"),
    OpCase(lambda x: ops.view(ops.contiguous(x), (-1,)), np.ravel, MATRIX, rtol=0, name="view"),
    OpCase(lambda x: ops.flatten(x, 1), lambda x: x.reshape(len(x), -1), VOLUME, rtol=0, name="flatten"),
    OpCase(ops.squeeze, np.squeeze, [((7, 1, 11),), ((1, 1),), ((3, 2),)], rtol=0),
    OpCase(lambda x: ops.unsqueeze(x, -1), lambda x: x[..., None], VOLUME, rtol=0, name="unsqueeze"),
    OpCase(lambda x: ops.permute(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1), VOLUME, rtol=0, name="permute"),
    OpCase(lambda x: ops.transpose(x, 0, -1), lambda x: x.swapaxes(0, -1), VOLUME, rtol=0, name="transpose"),
    OpCase(ops.t, np.transpose, MATRIX, rtol=0),
    OpCase(lambda x: ops.expand(x, (4, -1, 6)), lambda x: np.broadcast_to(x, (4, x.shape[-2], 6)), [((3, 1),)], rtol=0,
           name="expand"),
    OpCase(lambda x: ops.broadcast_to(x, (4, 3, 6)), lambda x: np.broadcast_to(x, (4, 3, 6)), [((3, 1),), ((6,),)],
           rtol=0, name="broadcast_to"),
    OpCase(ops.broadcast_tensors, np.broadcast_arrays, [((3, 1), (1, 4))], rtol=0),
    OpCase(lambda x: ops.repeat(x, (2, 3)), lambda x: np.tile(x, (2, 3)), [((5,),), ((2, 3),)], rtol=0, name="repeat"),
    OpCase(lambda x: ops.getitem(x, (slice(1, None), None, ..., slice(None, None, -2))),
           lambda x: x[1:, None, ..., ::-2], VOLUME, rtol=0, name="getitem of a slice"),
    OpCase(lambda x, index: ops.getitem(x, index), lambda x, index: x[index], [((5, 3), (2, 4)), ((4,), (9,))],
           inputs=with_index, rtol=0, name="getitem of indices"),
    OpCase(lambda x, index: ops.index_select(x, 0, index), lambda x, index: x[index], [((5, 3), (7,)), ((4,), (0,))],
           inputs=with_index, rtol=0, name="index_select"),
    OpCase(lambda x, index: ops.gather(x, 0, index), lambda x, index: np.take_along_axis(x, index, 0),
           [((5, 3), (4, 3)), ((4,), (9,))], inputs=with_index, rtol=0, name="gather"),
    OpCase(lambda x, index: ops.place(x, (9, *x.shape[1:]), index),
           lambda x, index: add_at((9, *x.shape[1:]), index, x), [((5, 3), (5,))], inputs=with_index, grad_rtol=0,
           name="place"),
    OpCase(lambda *xs: ops.cat(xs, 1), lambda *xs: np.concatenate(xs, 1), [((2, 3), (2, 1), (2, 0)), ((3, 5, 2),)],
           rtol=0, name="cat"),
    OpCase(lambda *xs: ops.stack(xs, 1), lambda *xs: np.stack(xs, 1), [((2, 3), (2, 3)), ((3, 5, 2),)], rtol=0,
           name="stack"),
    OpCase(lambda x: ops.split(x, [2, 0, 3], 1), lambda x: np.split(x, [2, 2], 1), [((3, 5),)], rtol=0, name="split"),
    OpCase(lambda x: ops.chunk(x, 3), lambda x: [x[:3], x[3:6], x[6:]], [((7, 2),)], rtol=0, name="chunk"),
    OpCase(lambda x: ops.unbind(x, 1), lambda x: tuple(x.swapaxes(0, 1)), [((4, 3),)], rtol=0, name="unbind"),
    OpCase(ops.gather_rows, lambda x, index: x[index], [((5, 3), (7,)), ((11, 784), (128,)), ((4, 1), (0,))],
           inputs=with_index, differentiable=False, rtol=0),
    OpCase(lambda x, index, like: ops.gather_rows_uint8(x, index, 0.5, -1.0, like.array.dtype),
           lambda x, index, like: 0.5 * x[index] - 1.0, [((5, 3), (7,)), ((11, 784), (128,))], differentiable=False,
           rtol=0, name="gather_rows_uint8",
           inputs=lambda random, shape, index: [random.integers(0, 256, shape).astype(np.uint8),
                                                random.integers(0, shape[0], index), np.zeros(1)]),
    OpCase(ops.gather_labels, lambda x, index: x[index], [((5,), (7,)), ((1009,), (128,)), ((4,), (0,))],
           inputs=lambda random, size, count: [random.integers(0, 10, size), random.integers(0, size[0], count)],
           differentiable=False, rtol=0),
    OpCase(ops.count_correct, lambda logits, labels: (logits.argmax(1) == labels).sum(),
           [((1, 1), (1,)), ((37, 10), (37,)), ((128, 67), (128,)), ((0, 3), (0,))], differentiable=False, rtol=0,
           inputs=lambda random, shape, count: [np.round(random.uniform(-2, 2, shape)),
                                                random.integers(0, shape[1], count)]),
    OpCase(ops.tril, np.tril, MATRIX, rtol=0),
    OpCase(lambda x: ops.triu(x, 1), lambda x: np.triu(x, 1), MATRIX, rtol=0, name="triu"),
    OpCase(lambda x: ops.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1)), VOLUME, rtol=0, name="flip"),
    OpCase(lambda x: ops.sort(x, -1), lambda x: (np.sort(x), np.argsort(x)), [((5, 7),), ((61,),)], rtol=0,
           name="sort"),
    OpCase(lambda x: ops.sort(x, 0, descending=True)[0], lambda x: -np.sort(-x, 0), [((5, 7),)], rtol=0,
           name="sort downwards"),
    OpCase(ops.argsort, np.argsort, [((5, 7),), ((61,),)], differentiable=False),
    OpCase(lambda x: ops.topk(x, 3), lambda x: (-np.sort(-x)[..., :3], np.argsort(-x)[..., :3]), [((5, 7),), ((61,),)],
           rtol=0, name="topk"),
    OpCase(lambda a, b: ops.einsum("bij,kj->bik", a, b), lambda a, b: np.einsum("bij,kj->bik", a, b),
           [((2, 3, 5), (7, 5))], rtol=8, reason="sums of 5 products in any order", name="einsum",
           magnitude=lambda a, b: np.einsum("bij,kj->bik", np.abs(a), np.abs(b)), grad_rtol=8),
]

# ---- activation
EXP_SLOPE = "the gradient is an exponential whose argument is rounded"
TAIL_REASON = "accurate in the left tail up to the rounding of the exponent"
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(x), 1.0) / (1 + np.exp(-np.abs(x)))


def normal_cdf(x: Array) -> Array:
    """erfc(-x / sqrt(2)) / 2; far out, erfc magnifies what rounding its argument lost, so that is made up for."""
    exact = -np.asarray(x, np.longdouble) / np.sqrt(np.longdouble(2))
    rounded = exact.astype(np.float64)
    lost = np.where(np.isfinite(rounded), exact - rounded, 0).astype(np.float64)
    density = np.exp(-np.square(rounded)) / math.sqrt(math.pi)
    return np.vectorize(math.erfc, otypes=[float])(rounded) / 2 - density * lost


def times_or_zero(x: Array, factor: Array) -> Array:
    """x * factor, 0 where the factor is: the limit at -infinity."""
    return np.where(factor == 0, -0.0, x * factor)


def gelu_tanh(x: Array, approximate: str) -> Array:
    assert approximate == "tanh"
    return times_or_zero(x, sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def mish(x: Array) -> Array:
    e = np.exp(np.minimum(x, 40))
    return times_or_zero(x, e * (e + 2) / (e * (e + 2) + 2))


def softsign(x: Array) -> Array:
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def prelu(x: Array, weight: Array) -> Array:
    slopes = weight if weight.size == 1 or x.ndim < 2 else weight.reshape(-1, *(1,) * (x.ndim - 2))
    return np.where(x > 0, x, np.reshape(slopes * x, x.shape))


def away_from_zero(random: np.random.Generator, shape: Shape, channels: Shape) -> list[Array]:
    return [spread(random, shape, -4, 4, kinks=(0.0,)), spread(random, channels, 0.1, 0.9)]


def exponential_unit(x: Array, scale: float, alpha: float) -> Array:
    return scale * np.where(x > 0, x, alpha * np.expm1(x))


ACTIVATION: list[OpCase] = [
    OpCase(ops.relu, lambda x: np.maximum(x, 0), elementwise=True, rtol=0, grad_rtol=0, kinks=(0.0,)),
    OpCase(ops.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), elementwise=True, rtol=1, kinks=(0.0,),
           reason="the slope itself is rounded"),
    OpCase(ops.prelu, prelu, [((3, 5), (5,)), ((2, 3, 7), (3,)), ((6,), (6,)), ((), (1,)), ((4, 3, 2, 2), (1,)),
                              ((67, 13, 5), (13,)), ((0, 3), (3,)), ((1009, 67), (67,)), ((70001,), (1,))],
           inputs=away_from_zero, kinks=(0.0,), grad_rtol=16, reason="a slope's gradient is a sum"),
    OpCase(ops.elu, lambda x, alpha: exponential_unit(x, 1, alpha), elementwise=True, rtol=2.5, kinks=(0.0,),
           kwargs={"alpha": 1.25}, grad_rtol=6, reason=EXP_REASON),
    OpCase(ops.selu, lambda x: exponential_unit(x, SELU_SCALE, SELU_ALPHA), elementwise=True, rtol=3.5,
           kinks=(0.0,), grad_rtol=6, reason="expm1 times two rounded constants"),
    OpCase(ops.celu, lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha)), elementwise=True, rtol=4,
           kwargs={"alpha": 0.75}, grad_rtol=10, kinks=(0.0,), reason="the exponent x / alpha is rounded"),
    OpCase(ops.gelu, lambda x: times_or_zero(x, normal_cdf(x)), elementwise=True, rtol=8, grad_rtol=16,
           reason="the tail of the normal distribution within 6 ulp"),
    OpCase(ops.gelu, gelu_tanh, elementwise=True, rtol=24, grad_rtol=32, reason=TAIL_REASON,
           kwargs={"approximate": "tanh"}, name="gelu with tanh"),
    OpCase(ops.silu, lambda x: times_or_zero(x, sigmoid(x)), elementwise=True, rtol=3, grad_rtol=8, lost=800,
           reason="sigmoid within 2.2 ulp, and 0 where it would be denormal, from x = -87 (-708 in float64) on"),
    OpCase(ops.mish, mish, elementwise=True, rtol=5, grad_rtol=8, lost=800,
           reason="e^x, a product and a quotient of it; as silu where e^x would be denormal"),
    OpCase(ops.softplus, lambda x, beta, threshold: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
           elementwise=True, rtol=4, grad_rtol=8, reason="e^(beta x) within its rounded argument, then log1p",
           kwargs={"beta": 1.5, "threshold": 20.0}),
    OpCase(ops.softsign, softsign, elementwise=True, rtol=1.5, kinks=(0.0,), grad_rtol=6,
           reason="two roundings, four in the gradient"),
    OpCase(ops.sigmoid, sigmoid, elementwise=True, rtol=2.5, grad_rtol=8, reason="exponential, sum, quotient"),
    OpCase(ops.logsigmoid, lambda x: -np.logaddexp(0, -x), elementwise=True, rtol=3, grad_rtol=6,
           reason="exponential, then log1p"),
    OpCase(ops.tanh, np.tanh, elementwise=True, rtol=1.5, cuda_rtol=2.5, grad_rtol=8,
           reason="1 - 2 / (e^2x + 1) near 0.6"),
    OpCase(ops.hardtanh, lambda x, min_val, max_val: np.clip(x, min_val, max_val), elementwise=True, rtol=0,
           kwargs={"min_val": -1.5, "max_val": 2.0}, kinks=(-1.5, 2.0), grad_rtol=0),
]

# ---- matmul
# The terms of each sum, all counted positive: the rounding of k additions is relative to them.
SUMS = "about 100 additions, each off by half an epsilon of the sum so far, at random"
GRADIENT_SUMS = "the same for the gradient's sums, whose terms mostly cancel"


def inputs_away_from_kinks(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    """x, weight and bias for relu: the bias, of either sign, outweighs the product, so that no sum is near 0."""
    x, weight = spread(random, shapes[0]), spread(random, shapes[1])
    signs = np.where(np.arange(shapes[2][0]) % 2, 1.0, -1.0)
    return [x, weight, signs * (shapes[1][1] + 1)]


def product_case(op: Any, reference: Callable[..., Any], name: str, *shapes: Any, **extra: Any) -> OpCase:
    """A row for sums of products of about 100 terms at most."""
    defaults = {"magnitude": lambda *xs, **_: reference(*map(np.abs, xs)), "domain": (-1.0, 1.0)}
    reason = f"{SUMS}; {GRADIENT_SUMS}"
    return OpCase(op, reference, shapes, rtol=8, grad_rtol=128, reason=reason, name=name, **{**defaults, **extra})


def linear_case(activation: str | None, function: Callable[[Array], Array], *shapes: Any, **options: Any) -> OpCase:
    def reference(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
        return function(np.matmul(x, weight.T) + bias)

    def magnitude(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
        return np.matmul(np.abs(x), np.abs(weight).T) + np.abs(bias) + 1

    name = f"linear with {activation}" if activation else f"linear of {len(shapes[0])} tensors"
    op = functools.partial(ops.linear, activation=activation)
    return product_case(op, reference, name, *shapes, magnitude=magnitude, **options)


LAYERS = [((7, 5), (8, 5), (8,)), ((33, 17), (40, 17), (40,))]
MATMUL: list[OpCase] = [
    product_case(ops.matmul, np.matmul, "matmul", ((7, 11), (11, 9)), ((1, 1), (1, 1)), ((2, 0), (0, 3))),
    product_case(ops.matmul, np.matmul, "matmul of large ones", ((13, 97), (97, 31)), ((130, 67), (67, 259))),
    product_case(ops.matmul, np.matmul, "matmul of batches", ((3, 7, 5), (3, 5, 9)), ((2, 1, 7, 5), (3, 5, 8))),
    product_case(ops.matmul, np.matmul, "matmul with one for all", ((2, 7, 5), (5, 8)), ((7, 5), (2, 5, 8))),
    product_case(ops.matmul, np.matmul, "matmul to a vector", ((5,), (5, 3)), ((4, 5), (5,)), layout_rtol=8),
    product_case(ops.matmul, np.matmul, "matmul of a vector and batches", ((2, 4, 5), (5,)), ((5,), (2, 5, 3))),
    product_case(lambda a, b: a.T @ b.T, lambda a, b: a.T @ b.T, "matmul of transposed", ((11, 7), (9, 11))),
    product_case(lambda a, b: a @ b.T, lambda a, b: a @ b.T, "matmul of few rows", ((2, 97), (9, 97)), layout_rtol=8),
    product_case(ops.mm, np.matmul, "mm", ((7, 5), (5, 11))),
    product_case(ops.bmm, np.matmul, "bmm", ((3, 7, 5), (3, 5, 9))),
    product_case(ops.mv, np.matmul, "mv", ((7, 5), (5,)), ((129, 67), (67,)), layout_rtol=8),
    product_case(ops.dot, np.dot, "dot", ((5,), (5,)), ((101,), (101,))),
    product_case(ops.outer, np.outer, "outer", ((5,), (7,)), ((1,), (1,)), ((129,), (257,))),
    product_case(ops.addmm, lambda x, a, b: x + a @ b, "addmm", ((7, 9), (7, 5), (5, 9)), ((9,), (7, 5), (5, 9))),
    product_case(
        lambda x, a, b: ops.addmm(x, a, b, beta=0.5, alpha=-2.0),
        lambda x, a, b: 0.5 * x - 2 * (a @ b),
        "addmm with scales",
        ((7, 9), (7, 5), (5, 9)),
        magnitude=lambda x, a, b: np.abs(x) + 2 * np.abs(a) @ np.abs(b),
    ),
    linear_case(None, lambda x: x, ((7, 5), (3, 5)), ((5,), (3, 5)), ((2, 7, 5), (3, 5)), ((130, 67), (259, 67))),
    linear_case(None, lambda x: x, *LAYERS, ((2, 7, 5), (3, 5), (3,)), ((1, 67), (31, 67), (31,))),
    linear_case("relu", lambda x: np.maximum(x, 0), *LAYERS, inputs=inputs_away_from_kinks),
    linear_case("sigmoid", lambda x: 1 / (1 + np.exp(-x)), *LAYERS),
    linear_case("tanh", np.tanh, *LAYERS),
]

# ---- reduction
WHOLE = [((),), ((1,),), ((17,),), ((0,),), ((3, 5),), ((31, 33),), ((67, 1013),)]
# outer x reduced x inner: short and long, each side of a vector, with and without neighbours to the right
BLOCKS = [((3, 1, 2),), ((5, 3, 1),), ((1, 17, 5),), ((2, 65, 33),), ((1, 1009, 67),), ((1013, 67, 1),), ((0, 3, 2),)]
SAME_ADDENDS = "pairwise sums: a few roundings of the terms' size"
DEVIATIONS = "the mean's rounding, and the sum's"


def sum_of_sizes(x: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return np.abs(x).sum(dim, keepdims=keepdim)


def mean_of_sizes(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return np.abs(x).mean(dim, keepdims=keepdim)


def ties(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [random.integers(0, 4, shape).astype(float) for shape in shapes]


def with_zeros(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [np.where(random.random(shape) < 0.2, 0, random.uniform(0.5, 1.5, shape)) for shape in shapes]


def extreme_case(op: Callable[..., Any], value: Any, index: Any, dim: int | None, name: str) -> OpCase:
    """max or min along a dim: the values, and their first places."""
    return OpCase(lambda x: tuple(op(x, dim)), lambda x: (value(x, dim), index(x, dim)), BLOCKS, rtol=0, name=name)


REDUCTION: list[OpCase] = [
    OpCase(ops.sum, np.sum, WHOLE, rtol=2, magnitude=sum_of_sizes, reason=SAME_ADDENDS, grad_rtol=0),
    OpCase(ops.sum, lambda x, dim: x.sum(dim), BLOCKS, rtol=3, magnitude=sum_of_sizes, reason=SAME_ADDENDS,
           kwargs={"dim": 1}, grad_rtol=0, name="sum over one dim"),
    OpCase(ops.sum, lambda x, dim, keepdim: x.sum(dim, keepdims=keepdim), BLOCKS, rtol=3, magnitude=sum_of_sizes,
           reason=SAME_ADDENDS, kwargs={"dim": (0, -1), "keepdim": True}, grad_rtol=0, name="sum over outer dims"),
    OpCase(ops.sum, lambda x: x.sum(), [((5, 4),)], inputs=integers, differentiable=False, name="sum of integers"),
    OpCase(ops.mean, np.mean, [s for s in WHOLE if s != ((0,),)], rtol=2, magnitude=mean_of_sizes, reason=SAME_ADDENDS),
    OpCase(ops.mean, lambda x, dim: x.mean(dim), BLOCKS[:-1], rtol=3, magnitude=mean_of_sizes, reason=SAME_ADDENDS,
           kwargs={"dim": (1, 2)}, name="mean over two dims"),
    OpCase(lambda x: ops.cumsum(x, 1), lambda x: x.cumsum(1), BLOCKS[:-1], rtol=16, grad_rtol=16,
           magnitude=lambda x: np.abs(x).cumsum(1), reason="NumPy adds one by one, up to 1009 terms", name="cumsum"),
    OpCase(ops.prod, np.prod, [((),), ((1,),), ((7,),), ((2, 9),)], inputs=with_zeros, rtol=8, grad_rtol=16,
           reason="one rounding per factor"),
    OpCase(lambda x: ops.prod(x, 1), lambda x: x.prod(1), [((3, 5, 2),), ((4, 11, 1),)], inputs=with_zeros, rtol=12,
           grad_rtol=24, reason="one rounding per factor", name="prod over one dim"),
    extreme_case(ops.max, np.max, np.argmax, 1, "max"),
    extreme_case(ops.min, np.min, np.argmin, 1, "min"),
    OpCase(ops.max, np.max, [((1,),), ((17,),), ((67, 1013),)], rtol=0, name="max of all"),
    OpCase(ops.min, np.min, [((1,),), ((17,),), ((67, 1013),)], rtol=0, name="min of all"),
    OpCase(ops.amax, lambda x: x.max(), [((31, 33),)], rtol=0),
    OpCase(lambda x: ops.amax(x, (0, 2), True), lambda x: x.max((0, 2), keepdims=True), BLOCKS[:-1], rtol=0,
           name="amax over two dims"),
    OpCase(ops.amin, lambda x, dim: x.min(dim), BLOCKS, rtol=0, kwargs={"dim": 1}),
    OpCase(ops.argmax, lambda x: x.argmax(), [((1,),), ((3, 5),), ((67, 1013),)], inputs=ties, differentiable=False),
    OpCase(ops.argmax, lambda x, dim: x.argmax(dim), BLOCKS, inputs=ties, differentiable=False, kwargs={"dim": 1},
           name="argmax over one dim"),
    OpCase(ops.argmin, lambda x, dim: x.argmin(dim), BLOCKS, inputs=ties, differentiable=False, kwargs={"dim": 1}),
    OpCase(ops.var, lambda x: x.astype(np.longdouble).var(ddof=1), [((2,),), ((17,),), ((67, 1013),)], rtol=8,
           grad_rtol=8, reason=DEVIATIONS),
    OpCase(ops.var, lambda x, dim, correction: x.astype(np.longdouble).var(dim, ddof=correction), BLOCKS, rtol=8,
           grad_rtol=8, kwargs={"dim": 1, "correction": 0}, reason=DEVIATIONS, name="var over one dim"),
    OpCase(ops.std, lambda x, dim: x.std(dim, ddof=1), BLOCKS[1:], rtol=8, grad_rtol=12, kwargs={"dim": 1},
           reason=DEVIATIONS),
    OpCase(lambda x: ops.var_mean(x, 1), lambda x: (x.var(1, ddof=1), x.mean(1)), [((5, 17),), ((2, 1009),)], rtol=8,
           grad_rtol=8, magnitude=lambda x: np.abs(x).max(1), reason=DEVIATIONS, name="var_mean"),
    OpCase(lambda x: ops.std_mean(x, 1), lambda x: (x.std(1, ddof=1), x.mean(1)), [((5, 17),), ((2, 1009),)], rtol=8,
           grad_rtol=12, magnitude=lambda x: np.abs(x).max(1), reason=DEVIATIONS, name="std_mean"),
    OpCase(ops.norm, lambda x: np.sqrt((x * x).sum()), [((6,),), ((17,),), ((67, 1013),)], rtol=4, grad_rtol=8,
           reason="squares, sum and root"),
    OpCase(lambda x: ops.norm(x, 1, 1), lambda x: np.abs(x).sum(1), BLOCKS, rtol=3, reason=SAME_ADDENDS,
           kinks=(0.0,), name="norm with p=1"),
    OpCase(lambda x: ops.norm(x, math.inf, 1), lambda x: np.abs(x).max(1), BLOCKS, rtol=0, domain=(0.3, 4),
           name="norm with p=inf"),
    OpCase(lambda x: ops.norm(x, 3, 1), lambda x: (np.abs(x) ** 3).sum(1) ** (1 / 3), BLOCKS[:-1], rtol=8, grad_rtol=24,
           kinks=(0.0,), reason="three powers", name="norm with p=3"),
    OpCase(lambda x: ops.norm(x, 0, 1), lambda x: (x != 0).sum(1).astype(float), BLOCKS, rtol=0, grad_rtol=0,
           domain=(0.3, 4), name="norm with p=0"),
    OpCase(ops.any, np.any, [((0,),), ((5, 3),)], inputs=booleans, differentiable=False),
    OpCase(ops.all, lambda x, dim: x.all(dim), [((5, 3),), ((1, 0),)], inputs=booleans, differentiable=False,
           kwargs={"dim": 1}),
    OpCase(ops.count_nonzero, np.count_nonzero, [((0,),), ((5, 3),)], inputs=booleans, differentiable=False),
]

# ---- softmax
ROWS = [((1, 1),), ((5, 3),), ((17, 10),), ((3, 32),), ((2, 33),), ((7, 127),), ((2, 1009),), ((1500, 10),)]
EXPONENTS = "the exponents are differences, off by an epsilon of their size"


def softmax_reference(x: Array, dim: int) -> Array:
    powers = np.exp(x - x.max(dim, keepdims=True))
    return powers / powers.sum(dim, keepdims=True)


def logsumexp_reference(x: Array, dim: Any, keepdims: bool = False) -> Array:
    largest = x.max(dim, keepdims=True)
    out = largest + np.log(np.exp(x - largest).sum(dim, keepdims=True))
    return out if keepdims else out.squeeze(dim)


def log_softmax_reference(x: Array, dim: int) -> Array:
    return x - logsumexp_reference(x, dim, True)


SOFTMAX: list[OpCase] = [
    OpCase(ops.softmax, softmax_reference, ROWS, kwargs={"dim": 1}, rtol=8, grad_rtol=16, reason=EXPONENTS),
    OpCase(ops.softmax, softmax_reference, [((3, 5, 2),), ((2, 67, 9),)], kwargs={"dim": 1}, rtol=8, grad_rtol=16,
           reason=EXPONENTS, name="softmax over a middle dim"),
    OpCase(ops.log_softmax, log_softmax_reference, ROWS, kwargs={"dim": -1}, rtol=8, grad_rtol=16, reason=EXPONENTS,
           magnitude=lambda x, dim: np.abs(log_softmax_reference(x, dim)) + 1),
    OpCase(ops.log_softmax, log_softmax_reference, [((3, 5, 2),), ((67, 9),)], kwargs={"dim": 0}, rtol=8, grad_rtol=16,
           magnitude=lambda x, dim: np.abs(log_softmax_reference(x, dim)) + 1, reason=EXPONENTS,
           name="log_softmax over the first dim"),
    OpCase(ops.logsumexp, logsumexp_reference, ROWS, kwargs={"dim": 1}, rtol=4, grad_rtol=16, reason=EXPONENTS,
           magnitude=lambda x, dim: np.abs(logsumexp_reference(x, dim)) + 1),
    OpCase(lambda x: ops.logsumexp(x, (0, 2), True), lambda x: logsumexp_reference(x, (0, 2), True),
           [((3, 5, 2),), ((2, 67, 9),)], rtol=4, grad_rtol=16, reason=EXPONENTS, name="logsumexp over two dims",
           magnitude=lambda x: np.abs(logsumexp_reference(x, (0, 2), True)) + 1),
]

# ---- loss
LOGITS = [(shape, shape[:1]) for (shape,) in ROWS]
LOSS_SUM = "losses of a few roundings each, added"
LOSS_GRADIENT = "differences of probabilities and labels"


def logits_and_labels(random: np.random.Generator, logits: Shape, labels: Shape) -> list[Array]:
    """About a fifth of the labels, but never all, are the default ignore_index."""
    values = random.integers(0, logits[1], labels)
    if values.size > 1:
        values = np.where(random.random(labels) < 0.2, -100, values)
    return [spread(random, logits, -4, 4), values]


def logits_and_probs(random: np.random.Generator, logits: Shape, probs: Shape) -> list[Array]:
    shares = random.uniform(0.1, 1, probs)
    return [spread(random, logits, -4, 4), shares / shares.sum(1, keepdims=True)]


def log_probs_and_labels(random: np.random.Generator, logits: Shape, labels: Shape) -> list[Array]:
    x, y = logits_and_labels(random, logits, labels)
    return [log_softmax_reference(x, 1), y]


def class_weights(classes: int) -> Array:
    return np.linspace(0.5, 1.5, classes).astype(np.float32).astype(float)


def nll_reference(x: Array, y: Array, weighted: bool = False, reduction: str = "mean") -> Array:
    rows = np.arange(len(y))
    weights = np.where(y == -100, 0, class_weights(x.shape[1])[y % x.shape[1]] if weighted else 1.0)
    losses = -x[rows, y % x.shape[1]] * weights
    return losses if reduction == "none" else losses.sum() / (weights.sum() if reduction == "mean" else 1)


def cross_entropy_reference(
    x: Array, y: Array, weighted: bool = False, reduction: str = "mean", label_smoothing: float = 0.0
) -> Array:
    log_probs, classes = log_softmax_reference(x, 1), x.shape[1]
    own = nll_reference(log_probs, y, weighted, reduction)
    weights = class_weights(classes) if weighted else np.ones(classes)
    spread_out = -(log_probs * weights).sum(1) * (y != -100)
    if reduction != "none":
        divisor = np.where(y == -100, 0, weights[y % classes]).sum() if reduction == "mean" else 1
        spread_out = spread_out.sum() / divisor
    return (1 - label_smoothing) * own + label_smoothing / classes * spread_out


def weighted_loss(op: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the op its class weights, which have no gradient, where the row asks for them."""

    def run(x: Any, y: Any, weighted: bool = False, **options: Any) -> Any:
        weight = Tensor(class_weights(x.shape[1]), x.backend) if weighted else None
        return op(x, y, weight, **options)

    return run


def label_case(name: str, **kwargs: Any) -> OpCase:
    is_nll = name.startswith("nll")
    return OpCase(
        weighted_loss(ops.nll_loss if is_nll else ops.cross_entropy),
        nll_reference if is_nll else cross_entropy_reference,
        LOGITS, inputs=log_probs_and_labels if is_nll else logits_and_labels, kwargs=kwargs, rtol=8, grad_rtol=16,
        magnitude=lambda x, y, **_: np.abs(x).max() + 1 if kwargs.get("reduction") != "sum" else np.abs(x).sum() + 1,
        reason=LOSS_SUM, name=name,
    )


def probability_cross_entropy(x: Array, p: Array, reduction: str = "mean", label_smoothing: float = 0.0) -> Array:
    smooth = (1 - label_smoothing) * p + label_smoothing / p.shape[1]
    losses = -(smooth * log_softmax_reference(x, 1)).sum(1)
    return losses if reduction == "none" else losses.sum() / (len(x) if reduction == "mean" else 1)


COMPARED = [((), ()), ((1,), (1,)), ((17,), (17,)), ((3, 5), (3, 5)), ((67, 1013), (67, 1013))]


def apart(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    """x and a target that differs by up to 3, not by a kink of any loss: 0, 0.7, 1."""
    target = spread(random, shapes[1], -2, 2)
    distance = spread(random, shapes[0], -3, 3, kinks=(-1.0, -0.7, 0.0, 0.7, 1.0))
    return [np.asarray(target + distance), target]


def probs_and_target(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [spread(random, shapes[0], 0.15, 0.85), spread(random, shapes[1], 0.05, 0.95, 0.25)]


def logits_and_target(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [spread(random, shapes[0], -6, 6, kinks=(0.0,)), spread(random, shapes[1], 0.05, 0.95, 0.25)]


def log_probs_and_target(random: np.random.Generator, *shapes: Shape) -> list[Array]:
    return [spread(random, shapes[0], -5, -0.1), spread(random, shapes[1], 0.05, 0.95, 0.25)]


def reduce_losses(losses: Array, reduction: str) -> Array:
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def comparing(
    op: Callable[..., Any], losses: Callable[..., Array], inputs: Any = apart, **options: Any
) -> list[OpCase]:
    """The op in its three reductions; options go to op and losses."""
    return [
        OpCase(op, lambda x, t, reduction, **o: reduce_losses(losses(x, t, **o), reduction), COMPARED, inputs=inputs,
               kwargs={"reduction": reduction, **options}, rtol=8, grad_rtol=16, reason=LOSS_SUM,
               magnitude=lambda x, t, reduction, **o: reduce_losses(np.abs(losses(x, t, **o)) + 1, reduction),
               name=f"{op.__name__} {reduction} {' '.join(map(str, options.values()))}".strip())
        for reduction in ("none", "mean", "sum")
    ]


def smooth_l1_reference(x: Array, t: Array, beta: float) -> Array:
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * max(beta, 1e-300)), d - beta / 2)


def huber_reference(x: Array, t: Array, delta: float) -> Array:
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def bce_reference(p: Array, t: Array) -> Array:
    return -(t * np.log(p) + (1 - t) * np.log1p(-p))


def bce_with_logits_reference(x: Array, t: Array, pos_weight: float = 1.0) -> Array:
    return (1 - t) * np.logaddexp(0, x) + pos_weight * t * np.logaddexp(0, -x)


LOSS: list[OpCase] = [
    label_case("cross_entropy"),
    label_case("cross_entropy none", reduction="none"),
    label_case("cross_entropy sum", reduction="sum"),
    label_case("cross_entropy weighted", weighted=True),
    label_case("cross_entropy smoothed", label_smoothing=0.1),
    label_case("cross_entropy weighted, smoothed", weighted=True, label_smoothing=0.3),
    label_case("cross_entropy weighted, smoothed none", weighted=True, label_smoothing=0.3, reduction="none"),
    OpCase(ops.cross_entropy, probability_cross_entropy, [(s, s) for (s,) in ROWS], inputs=logits_and_probs, rtol=8,
           grad_rtol=16, magnitude=lambda x, p: np.abs(x).max() + 1, reason=LOSS_SUM,
           name="cross_entropy of probabilities"),
    OpCase(ops.cross_entropy, probability_cross_entropy, [(s, s) for (s,) in ROWS], inputs=logits_and_probs, rtol=8,
           grad_rtol=16, magnitude=lambda x, p, **_: np.abs(x).max() + 1, reason=LOSS_SUM,
           kwargs={"reduction": "none", "label_smoothing": 0.2}, name="cross_entropy of smoothed probabilities"),
    OpCase(ops.cross_entropy,
           lambda x, y: cross_entropy_reference(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]), y.reshape(-1)),
           [((2, 3, 5), (2, 5)), ((3, 11, 2, 2), (3, 2, 2))], inputs=logits_and_labels, rtol=8, grad_rtol=16,
           reason=LOSS_SUM, name="cross_entropy of images"),
    label_case("nll_loss"),
    label_case("nll_loss weighted", weighted=True),
    label_case("nll_loss sum", reduction="sum"),
    label_case("nll_loss none", reduction="none"),
    *comparing(ops.mse_loss, lambda x, t: (x - t) ** 2),
    *comparing(ops.l1_loss, lambda x, t: np.abs(x - t)),
    *comparing(ops.smooth_l1_loss, smooth_l1_reference, beta=0.7),
    *comparing(ops.smooth_l1_loss, smooth_l1_reference, beta=0),
    *comparing(ops.huber_loss, huber_reference, delta=0.7),
    *comparing(ops.binary_cross_entropy, bce_reference, probs_and_target),
    *comparing(ops.binary_cross_entropy_with_logits, bce_with_logits_reference, logits_and_target),
    OpCase(lambda x, t: ops.binary_cross_entropy_with_logits(x, t, pos_weight=Tensor(np.asarray(2.5, x.array.dtype),
                                                                                     x.backend)),
           lambda x, t: bce_with_logits_reference(x, t, 2.5).mean(), COMPARED, inputs=logits_and_target, rtol=8,
           grad_rtol=16, reason=LOSS_SUM, name="binary_cross_entropy_with_logits pos_weight"),
    OpCase(lambda x, t, w: ops.binary_cross_entropy_with_logits(x, t, w), lambda x, t, w:
           (bce_with_logits_reference(x, t) * w).mean(), [((5, 3), (5, 3), (3,))], rtol=8, grad_rtol=16,
           inputs=lambda random, *s: [*logits_and_target(random, *s[:2]), spread(random, s[2], 0.5, 2)],
           reason=LOSS_SUM, name="binary_cross_entropy_with_logits weight"),
    OpCase(lambda p, t, w: ops.binary_cross_entropy(p, t, w), lambda p, t, w: (bce_reference(p, t) * w).mean(),
           [((5, 3), (5, 3), (3,))], rtol=8, grad_rtol=16,
           inputs=lambda random, *s: [*probs_and_target(random, *s[:2]), spread(random, s[2], 0.5, 2)],
           reason=LOSS_SUM, name="binary_cross_entropy weight"),
    *comparing(ops.kl_div, lambda x, t: t * (np.log(t) - x), log_probs_and_target),
    OpCase(ops.kl_div, lambda x, t, **_: (np.exp(t) * (t - x)).sum() / len(x), [((3, 5), (3, 5)), ((17, 9), (17, 9))],
           inputs=lambda random, x, t: [spread(random, x, -5, -0.1, 0.2), spread(random, t, -5, -0.1, 0.7)],
           kwargs={"reduction": "batchmean", "log_target": True}, rtol=8, grad_rtol=16, reason=LOSS_SUM,
           magnitude=lambda x, t, **_: (np.exp(t) * np.abs(t - x)).sum() / len(x), name="kl_div batchmean log_target"),
]

# ---- normalization
NORMALIZED = "mean, variance and root, then the product"
BATCHES = [((5, 1), (1,), (1,)), ((7, 3), (3,), (3,)), ((33, 17), (17,), (17,)), ((64, 65), (65,), (65,)),
           ((300, 130), (130,), (130,)), ((2, 3, 5), (3,), (3,)), ((3, 17, 2, 33), (17,), (17,))]


def normalize(x: Array, axes: tuple[int, ...], weight: Array, bias: Array, shape: Shape) -> Array:
    centered = x - x.mean(axes, keepdims=True)
    xhat = centered / np.sqrt((centered**2).mean(axes, keepdims=True) + 1e-5)
    return xhat * weight.reshape(shape) + bias.reshape(shape)


def batch_norm_reference(x: Array, weight: Array, bias: Array) -> Array:
    axes = (0, *range(2, x.ndim))
    return normalize(x, axes, weight, bias, (1, -1) + (1,) * (x.ndim - 2))


def running(x: Any) -> tuple[Any, Any]:
    """A running mean and variance for the channels of a tensor or an array."""
    channels = x.shape[1]
    mean, var = np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels)
    if isinstance(x, np.ndarray):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return mean.astype(np.float32).reshape(shape), var.astype(np.float32).reshape(shape)
    return tuple(Tensor(a.astype(np.float32).astype(x.array.dtype), x.backend) for a in (mean, var))


def batch_norm_evaluation_reference(x: Array, weight: Array, bias: Array) -> Array:
    mean, var = running(x)
    return (x - mean) / np.sqrt(var.astype(float) + 1e-5) * weight.reshape(mean.shape) + bias.reshape(mean.shape)


def layer_norm_reference(x: Array, weight: Array, bias: Array) -> Array:
    return normalize(x, tuple(range(x.ndim - weight.ndim, x.ndim)), weight, bias, weight.shape)


NORMALIZATION: list[OpCase] = [
    OpCase(lambda x, weight, bias: ops.batch_norm(x, None, None, weight, bias, training=True), batch_norm_reference,
           BATCHES, rtol=16, grad_rtol=64, magnitude=lambda *arrays: np.abs(batch_norm_reference(*arrays)) + 1,
           reason=NORMALIZED, name="batch_norm"),
    OpCase(lambda x: ops.batch_norm(x, None, None, training=True),
           lambda x: batch_norm_reference(x, np.ones(x.shape[1]), np.zeros(x.shape[1])), [s[:1] for s in BATCHES],
           rtol=16, grad_rtol=64, magnitude=lambda x: np.ones(x.shape), reason=NORMALIZED,
           name="batch_norm without weight"),
    OpCase(lambda x, weight, bias: ops.batch_norm(x, *running(x), weight, bias), batch_norm_evaluation_reference,
           [*BATCHES, ((1, 5), (5,), (5,)), ((0, 5), (5,), (5,))], rtol=8, grad_rtol=16, reason=NORMALIZED,
           magnitude=lambda *arrays: np.abs(batch_norm_evaluation_reference(*arrays)) + 4,
           name="batch_norm in evaluation"),
    OpCase(lambda x, weight, bias: ops.layer_norm(x, weight.shape, weight, bias), layer_norm_reference,
           [((3, 5), (5,), (5,)), ((2, 7), (7,), (7,)), ((33, 17), (17,), (17,)), ((5, 65), (65,), (65,)),
            ((2, 3, 5), (3, 5), (3, 5)), ((67, 1013), (1013,), (1013,))], rtol=16, grad_rtol=64, reason=NORMALIZED,
           magnitude=lambda *arrays: np.abs(layer_norm_reference(*arrays)) + 1, name="layer_norm"),
    OpCase(lambda x: ops.layer_norm(x, x.shape[-1]),
           lambda x: layer_norm_reference(x, np.ones(x.shape[-1]), np.zeros(x.shape[-1])), [((3, 5),), ((5, 65),)],
           rtol=16, grad_rtol=64, magnitude=lambda x: np.ones(x.shape), reason=NORMALIZED,
           name="layer_norm without weight"),
]

# ---- dropout, random
SEED = 7


def dropout_with_fixed_seed(x, p):
    return ops.dropout(x, p, generator=Generator().manual_seed(SEED))


def dropout_reference(x: Array, p: float) -> Array:
    return x * dropout_factors(SEED, 0, x.size, p).reshape(x.shape)


RANDOM: list[OpCase] = [
    OpCase(dropout_with_fixed_seed, dropout_reference, [((129,),), ((3, 257),)], elementwise=True, kwargs={"p": p},
           rtol=1, name=f"dropout p={p}", reason="the scale is rounded, then the product")
    for p in (0.1, 0.5)
]

# fmt: on

CASES = [*ELEMENTWISE, *VIEW, *ACTIVATION, *MATMUL, *REDUCTION, *SOFTMAX, *LOSS, *NORMALIZATION, *RANDOM]

# Ops that a row cannot say, with the test that covers each.
OPS_TESTED_ELSEWHERE: dict[str, str] = {
    "append_result_": "test_tensor.py::test_results_are_appended_to_a_log",
    "allclose": "test_tensor.py::test_equal_and_allclose",
    "arange": "test_tensor.py::test_arange_and_linspace",
    "as_tensor": "test_tensor.py::test_memory_is_shared_where_it_can_be",
    "bernoulli": "test_random.py::test_bernoulli_of_probabilities",
    "bernoulli_": "test_random.py::test_bernoulli_draws_are_words_below_the_threshold",
    "count_up_": "test_tensor.py::test_count_up_adds_one_in_place",
    "empty": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "empty_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
    "equal": "test_tensor.py::test_equal_and_allclose",
    "eye": "test_tensor.py::test_eye_and_one_hot",
    "from_dlpack": "test_tensor.py::test_dlpack_shares_memory_both_ways",
    "from_numpy": "test_tensor.py::test_memory_is_shared_where_it_can_be",
    "full": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "full_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
    "is_tensor": "test_tensor.py::test_tensor_copies_and_infers_the_dtype",
    "linspace": "test_tensor.py::test_arange_and_linspace",
    "move": "test_cuda.py::test_tensors_move_there_and_back",
    "normal": "test_random.py::test_normal_takes_numbers_and_tensors",
    "normal_": "test_random.py::test_normal_draws_are_box_muller_of_the_words",
    "one_hot": "test_tensor.py::test_eye_and_one_hot",
    "ones": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "ones_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
    "rand": "test_random.py::test_shapes_dtypes_and_generators_of_new_tensors",
    "rand_like": "test_random.py::test_like_functions_take_shape_and_dtype",
    "randint": "test_random.py::test_randint_takes_its_arguments_as_pytorch_does",
    "randint_like": "test_random.py::test_like_functions_take_shape_and_dtype",
    "randn": "test_random.py::test_shapes_dtypes_and_generators_of_new_tensors",
    "randn_like": "test_random.py::test_like_functions_take_shape_and_dtype",
    "randperm": "test_random.py::test_randperm_of_each_size_is_a_permutation",
    "scatter_": "test_tensor.py::test_scatter_writes_where_the_index_says",
    "setitem": "test_tensor.py::test_setting_items_is_recorded",
    "tensor": "test_tensor.py::test_tensor_copies_and_infers_the_dtype",
    "to_text": "test_tensor.py::test_printing",
    "uniform_": "test_random.py::test_uniform_draws_are_the_top_bits_of_the_words",
    "zeros": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "zeros_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
}

# Kernels that no row reaches, forward or backward, with the test that covers each.
KERNELS_TESTED_ELSEWHERE: dict[str, str] = {
    "append_result": "test_tensor.py::test_results_are_appended_to_a_log",
    "count_up": "test_tensor.py::test_count_up_adds_one_in_place",
    "adadelta_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "adagrad_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "adam_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "adamax_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "bernoulli": "test_random.py::test_bernoulli_draws_are_words_below_the_threshold",
    "limit_row_norms": "test_regularization.py::test_no_norm_is_beyond_the_largest_and_scaled_rows_are_next_to_it",
    "linear_backward_input": "test_matmul.py::test_a_layer_in_one_call_gives_what_its_kernels_give",
    "linear_backward_weight": "test_matmul.py::test_a_layer_in_one_call_gives_what_its_kernels_give",
    "linear_forward": "test_matmul.py::test_a_layer_in_one_call_gives_what_its_kernels_give",
    "multiply_add": "test_selftest.py::test_every_kernel_agrees_with_numpy",
    "nadam_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "normal": "test_random.py::test_normal_draws_are_box_muller_of_the_words",
    "permutation": "test_random.py::test_randperm_of_each_size_is_a_permutation",
    "radam_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "randint": "test_random.py::test_randint_draws_are_scaled_words",
    "random_bits": "test_random.py::test_bits_are_the_words_of_philox",
    "rmsprop_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "scale_gradients": "test_clipping.py::test_clipping_scales_to_the_norm",
    "sgd_step": "test_optimizers.py::test_trajectory_follows_the_published_rule",
    "soft_threshold": "test_regularization.py::test_small_weights_become_zero_and_the_others_shrink",
    "squared_norm": "test_clipping.py::test_clipping_scales_to_the_norm",
    "take_ticket": "test_random.py::test_tickets_count_the_calls",
    "transpose": "test_contract.py::test_transpose_kernel",
    "triad": "test_selftest.py::test_every_kernel_agrees_with_numpy",
    "uniform": "test_random.py::test_uniform_draws_are_the_top_bits_of_the_words",
}
