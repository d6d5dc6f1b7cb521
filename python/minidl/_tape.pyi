"""The tape of minidl.autograd, as far as it is compiled: csrc/tape/."""

from collections.abc import Callable, Sequence
from typing import Any

from minidl.anomaly import Origin
from minidl.autograd import Node
from minidl.backends import Backend
from minidl.tensor import Tensor

class TensorFields:
    array: Any
    backend: Backend
    grad: Tensor | None
    requires_grad: bool
    _node: Node | None
    _version: list[int] | None
    _hooks: dict[int, Callable[[Tensor], Tensor | None]] | None
    def __init__(self, data: Any, backend: Backend | None = None, requires_grad: bool = False) -> None: ...

class NodeFields:
    backward: Callable[..., Sequence[Tensor | None]] | None
    edges: Sequence[Node | Tensor | None]
    saved: Sequence[tuple[Tensor, int]]
    output: tuple[Any, Any, list[int], int] | None
    hooks: dict[int, Callable[[Tensor], Tensor | None]] | None
    of_one: Callable[[], Sequence[Tensor | None]] | None
    origin: Origin
    is_relu: bool
    _name: str
    @property
    def sequence(self) -> int: ...

def connect_tensor(type: type[Tensor]) -> None: ...
def connect(
    node_type: type[Node],
    watch: Any,
    make_one: Callable[[Tensor], Tensor],
    add_gradient: Callable[[Tensor, Tensor, bool], None],
    raise_changed: Callable[[Node], None],
) -> None: ...
def set_checks(forward: Callable[..., None] | None, backward: Callable[..., None] | None) -> None: ...
def is_grad_enabled() -> bool: ...
def set_recording(is_on: bool) -> bool: ...
def record(
    result: Tensor,
    inputs: tuple[Tensor | None, ...],
    backward: Callable[..., Sequence[Tensor | None]],
    saved: tuple[Tensor | None, ...] = (),
    saves_output: bool = False,
    name: str = "",
) -> Tensor: ...
def run_backward(
    outputs: tuple[Tensor, ...],
    grad_outputs: tuple[Tensor | None, ...],
    targets: tuple[Tensor, ...] | None,
    retain_graph: bool,
    create_graph: bool,
) -> list[Tensor | None]: ...
def step_operands(
    params: list[Tensor],
    state: dict[Tensor, dict[str, Tensor]],
    state_names: tuple[str | None, ...],
    counter_names: tuple[str | None, ...],
) -> tuple[list[Any], list[Any], list[list[Any]], list[list[Any]]] | None: ...
def note_changes(tensors: list[Tensor]) -> None: ...
