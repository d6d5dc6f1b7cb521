"""ONE ROW PER OP: its reference in NumPy float64, the shapes, and how exact it must be; test_ops.py judges each row."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import ops

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
    OpCase(ops.silu, lambda x: times_or_zero(x, sigmoid(x)), elementwise=True, rtol=3, grad_rtol=8,
           reason="sigmoid within 2.2 ulp"),
    OpCase(ops.mish, mish, elementwise=True, rtol=5, grad_rtol=8, reason="e^x, a product and a quotient of it"),
    OpCase(ops.softplus, lambda x, beta, threshold: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
           elementwise=True, rtol=4, grad_rtol=8, reason="e^(beta x) within its rounded argument, then log1p",
           kwargs={"beta": 1.5, "threshold": 20.0}),
    OpCase(ops.softsign, softsign, elementwise=True, rtol=1.5, kinks=(0.0,), grad_rtol=6,
           reason="two roundings, four in the gradient"),
    OpCase(ops.sigmoid, sigmoid, elementwise=True, rtol=2.5, grad_rtol=8, reason="exponential, sum, quotient"),
    OpCase(ops.logsigmoid, lambda x: -np.logaddexp(0, -x), elementwise=True, rtol=3, grad_rtol=6,
           reason="exponential, then log1p"),
    OpCase(ops.tanh, np.tanh, elementwise=True, rtol=1.5, grad_rtol=8, reason="1 - 2 / (e^2x + 1) near 0.6"),
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
REDUCTION: list[OpCase] = []

# ---- softmax
SOFTMAX: list[OpCase] = []

# ---- loss
LOSS: list[OpCase] = []

# ---- normalization
NORMALIZATION: list[OpCase] = []

# ---- dropout, random
RANDOM: list[OpCase] = []

# fmt: on

CASES = [*ELEMENTWISE, *VIEW, *ACTIVATION, *MATMUL, *REDUCTION, *SOFTMAX, *LOSS, *NORMALIZATION, *RANDOM]

# Ops that a row cannot say, with the test that covers each.
OPS_TESTED_ELSEWHERE: dict[str, str] = {
    "allclose": "test_tensor.py::test_equal_and_allclose",
    "arange": "test_tensor.py::test_arange_and_linspace",
    "as_tensor": "test_tensor.py::test_memory_is_shared_where_it_can_be",
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
    "one_hot": "test_tensor.py::test_eye_and_one_hot",
    "ones": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "ones_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
    "scatter_": "test_tensor.py::test_scatter_writes_where_the_index_says",
    "setitem": "test_tensor.py::test_setting_items_is_recorded",
    "tensor": "test_tensor.py::test_tensor_copies_and_infers_the_dtype",
    "to_text": "test_tensor.py::test_printing",
    "zeros": "test_tensor.py::test_shapes_and_dtypes_of_new_tensors",
    "zeros_like": "test_tensor.py::test_like_functions_take_shape_and_dtype",
}

# Kernels that no row reaches, forward or backward, with the test that covers each.
KERNELS_TESTED_ELSEWHERE: dict[str, str] = {}
