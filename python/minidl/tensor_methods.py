"""The methods and operators of Tensor that forward to ops, under PyTorch's names."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl.tensor import Tensor

ops: Any = None  # set by minidl.ops, which is built on Tensor

__all__ = ["TensorMethods"]


def _shape_arguments(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


class TensorMethods:
    """Mixed into Tensor: each method is the function of the same name in minidl.ops."""

    __slots__ = ()
    if TYPE_CHECKING:
        array: Any
        requires_grad: bool

    # ---- operators

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __iadd__(self, other: Any) -> Tensor:
        return ops.add_(self, other)

    def __isub__(self, other: Any) -> Tensor:
        return ops.sub_(self, other)

    def __imul__(self, other: Any) -> Tensor:
        return ops.mul_(self, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return ops.div_(self, other)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return ops.bitwise_not(self)

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return ops.bitwise_xor(self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.eq(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.ne(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        ops.setitem(self, index, value)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ValueError(
                f"the truth value of a tensor of shape {tuple(self.array.shape)} is ambiguous; use .any() or .all()"
            )
        return bool(self.array.item())

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a tensor without dimensions")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(ops.unbind(self, 0))

    def __contains__(self, value: Any) -> bool:
        return bool((self.array == (value.array if hasattr(value, "array") else value)).any())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors of one element can be an index, got {self.array.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else str(self) if not spec else format(str(self), spec)

    def __repr__(self) -> str:
        return ops.to_text(self)

    # ---- element by element

    def neg(self) -> Tensor:
        return ops.neg(self)

    def abs(self) -> Tensor:
        return ops.abs(self)

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def log1p(self) -> Tensor:
        return ops.log1p(self)

    def expm1(self) -> Tensor:
        return ops.expm1(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def rsqrt(self) -> Tensor:
        return ops.rsqrt(self)

    def square(self) -> Tensor:
        return ops.square(self)

    def reciprocal(self) -> Tensor:
        return ops.reciprocal(self)

    def sin(self) -> Tensor:
        return ops.sin(self)

    def cos(self) -> Tensor:
        return ops.cos(self)

    def sign(self) -> Tensor:
        return ops.sign(self)

    def erf(self) -> Tensor:
        return ops.erf(self)

    def floor(self) -> Tensor:
        return ops.floor(self)

    def ceil(self) -> Tensor:
        return ops.ceil(self)

    def round(self) -> Tensor:
        return ops.round(self)

    def isnan(self) -> Tensor:
        return ops.isnan(self)

    def isinf(self) -> Tensor:
        return ops.isinf(self)

    def isfinite(self) -> Tensor:
        return ops.isfinite(self)

    def logical_not(self) -> Tensor:
        return ops.logical_not(self)

    def relu(self) -> Tensor:
        return ops.relu(self)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def add(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def sub(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def mul(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def div(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def pow(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def maximum(self, other: Any) -> Tensor:
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        return ops.minimum(self, other)

    def eq(self, other: Any) -> Tensor:
        return ops.eq(self, other)

    def ne(self, other: Any) -> Tensor:
        return ops.ne(self, other)

    def lt(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def le(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def gt(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def ge(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    def remainder(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def negative(self) -> Tensor:
        return ops.neg(self)

    def absolute(self) -> Tensor:
        return ops.abs(self)

    def multiply(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def divide(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def subtract(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def greater(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def less(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clamp(self, min, max)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clamp(self, min, max)

    def where(self, condition: Any, other: Any) -> Tensor:
        return ops.where(condition, self, other)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        return ops.masked_fill(self, mask, value)

    def softmax(self, dim: int) -> Tensor:
        return ops.softmax(self, dim)

    def log_softmax(self, dim: int) -> Tensor:
        return ops.log_softmax(self, dim)

    def logsumexp(self, dim: Any, keepdim: bool = False) -> Tensor:
        return ops.logsumexp(self, dim, keepdim)

    def equal(self, other: Any) -> bool:
        return ops.equal(self, other)

    def allclose(self, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
        return ops.allclose(self, other, rtol, atol, equal_nan)

    # ---- in place

    def add_(self, other: Any) -> Tensor:
        return ops.add_(self, other)

    def sub_(self, other: Any) -> Tensor:
        return ops.sub_(self, other)

    def mul_(self, other: Any) -> Tensor:
        return ops.mul_(self, other)

    def div_(self, other: Any) -> Tensor:
        return ops.div_(self, other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clamp_(self, min, max)

    def fill_(self, value: Any) -> Tensor:
        return ops.fill_(self, value)

    def zero_(self) -> Tensor:
        return ops.fill_(self, 0.0)

    def copy_(self, source: Any) -> Tensor:
        return ops.copy_(self, source)

    def normal_(self, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
        return ops.normal_(self, mean, std, generator)

    def uniform_(self, low: float = 0.0, high: float = 1.0, generator: Any = None) -> Tensor:
        return ops.uniform_(self, low, high, generator)

    def bernoulli_(self, p: float = 0.5, generator: Any = None) -> Tensor:
        return ops.bernoulli_(self, p, generator)

    def scatter_(self, dim: int, index: Any, source: Any) -> Tensor:
        return ops.scatter_(self, dim, index, source)

    # ---- reductions

    def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return ops.sum(self, dim, keepdim)

    def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return ops.mean(self, dim, keepdim)

    def var(self, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        return ops.var(self, dim, correction, keepdim)

    def std(self, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        return ops.std(self, dim, correction, keepdim)

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        return ops.max(self, dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        return ops.min(self, dim, keepdim)

    def amax(self, dim: Any = (), keepdim: bool = False) -> Tensor:
        return ops.amax(self, dim, keepdim)

    def amin(self, dim: Any = (), keepdim: bool = False) -> Tensor:
        return ops.amin(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return ops.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return ops.argmin(self, dim, keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return ops.prod(self, dim, keepdim)

    def cumsum(self, dim: int) -> Tensor:
        return ops.cumsum(self, dim)

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
        return ops.norm(self, p, dim, keepdim)

    def any(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return ops.any(self, dim, keepdim)

    def all(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return ops.all(self, dim, keepdim)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> Any:
        return ops.topk(self, k, dim, largest)

    def sort(self, dim: int = -1, descending: bool = False) -> Any:
        return ops.sort(self, dim, descending)

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        return ops.argsort(self, dim, descending)

    # ---- matrices

    def matmul(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def mm(self, other: Any) -> Tensor:
        return ops.mm(self, other)

    def bmm(self, other: Any) -> Tensor:
        return ops.bmm(self, other)

    def mv(self, other: Any) -> Tensor:
        return ops.mv(self, other)

    def dot(self, other: Any) -> Tensor:
        return ops.dot(self, other)

    def outer(self, other: Any) -> Tensor:
        return ops.outer(self, other)

    def t(self) -> Tensor:
        return ops.t(self)

    @property
    def T(self) -> Tensor:
        return ops.permute(self, tuple(range(self.array.ndim))[::-1])

    # ---- shape

    def view(self, *shape: Any) -> Tensor:
        return ops.view(self, _shape_arguments(shape))

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, _shape_arguments(shape))

    def permute(self, *dims: Any) -> Tensor:
        return ops.permute(self, _shape_arguments(dims))

    def expand(self, *shape: Any) -> Tensor:
        return ops.expand(self, _shape_arguments(shape))

    def repeat(self, *times: Any) -> Tensor:
        return ops.repeat(self, _shape_arguments(times))

    def view_as(self, other: Tensor) -> Tensor:
        return ops.view(self, tuple(other.shape))

    def reshape_as(self, other: Tensor) -> Tensor:
        return ops.reshape(self, tuple(other.shape))

    def expand_as(self, other: Tensor) -> Tensor:
        return ops.expand(self, tuple(other.shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return ops.flatten(self, start_dim, end_dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return ops.transpose(self, dim0, dim1)

    def squeeze(self, dim: Any = None) -> Tensor:
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        return ops.unsqueeze(self, dim)

    def broadcast_to(self, shape: Any) -> Tensor:
        return ops.expand(self, shape)

    def chunk(self, chunks: int, dim: int = 0) -> Any:
        return ops.chunk(self, chunks, dim)

    def split(self, split_size: Any, dim: int = 0) -> Any:
        return ops.split(self, split_size, dim)

    def unbind(self, dim: int = 0) -> Any:
        return ops.unbind(self, dim)

    def gather(self, dim: int, index: Any) -> Tensor:
        return ops.gather(self, dim, index)

    def index_select(self, dim: int, index: Any) -> Tensor:
        return ops.index_select(self, dim, index)

    def tril(self, diagonal: int = 0) -> Tensor:
        return ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        return ops.triu(self, diagonal)

    def flip(self, dims: Any) -> Tensor:
        return ops.flip(self, dims)

    # ---- type and device

    def clone(self) -> Tensor:
        return ops.clone(self)

    def contiguous(self) -> Tensor:
        return ops.contiguous(self)

    def _cast(self, raw: Any) -> Tensor:
        return ops.cast(self, raw)

    def float(self) -> Tensor:
        return ops.cast(self, "float32")

    def double(self) -> Tensor:
        return ops.cast(self, "float64")

    def long(self) -> Tensor:
        return ops.cast(self, "int64")

    def int(self) -> Tensor:
        return ops.cast(self, "int32")

    def bool(self) -> Tensor:
        return ops.cast(self, "bool")

    def byte(self) -> Tensor:
        return ops.cast(self, "uint8")

    def type_as(self, other: Tensor) -> Tensor:
        return ops.cast(self, other.array.dtype)

    def _move(self, backend: Any) -> Tensor:
        return ops.move(self, backend)

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Tensor:
        where = f"cuda:{device}" if isinstance(device, int) else device
        return self.to("cuda" if where is None else where)

    if TYPE_CHECKING:

        def item(self) -> Any: ...
        def to(self, *targets: Any) -> Tensor: ...
