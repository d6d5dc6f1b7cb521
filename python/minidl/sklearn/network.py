"""The network of an estimator, with its optimizer: built, drawn, asked, and kept as safetensors bytes in pickles."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import backends, io, nn, ops
from minidl.autograd import no_grad
from minidl.dtypes import to_numpy_dtype
from minidl.generator import default_generator
from minidl.sklearn.parameters import ACTIVATIONS, make_optimizer

Array = npt.NDArray[Any]
# Rows that pass through the network at once; the hidden layers of so many stay in the cache.
ROWS_AT_ONCE = 4096

_generator_lock = threading.RLock()


@contextlib.contextmanager
def generator_left_alone() -> Iterator[None]:
    """Inside it the default generator may be seeded and drawn from; then it is as it was. One thread at a time."""
    with _generator_lock:
        state = default_generator.get_state()
        try:
            yield
        finally:
            default_generator.set_state(state)


@dataclass(frozen=True)
class Architecture:
    """Everything that decides which layers a network has."""

    sizes: tuple[int, ...]
    activation: str
    batch_norm: bool
    dropout: float

    def build(self, dtype: Any, device: Any) -> nn.Sequential:
        """Linear, batch norm, activation and dropout per hidden layer, then a linear layer."""
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(self.sizes[:-1]):
            layers.append(nn.Linear(inputs, outputs, not self.batch_norm, device=device, dtype=dtype))
            layers += [nn.BatchNorm1d(outputs, device=device, dtype=dtype)] if self.batch_norm else []
            layers.append(ACTIVATIONS[self.activation]())
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        inputs, outputs = self.sizes[-2:]
        return nn.Sequential(*layers, nn.Linear(inputs, outputs, device=device, dtype=dtype))

    def __str__(self) -> str:
        extras = ["batch norm"] * self.batch_norm + [f"dropout {self.dropout:g}"] * (self.dropout > 0)
        return ", ".join(["-".join(str(size) for size in self.sizes), self.activation, *extras])


class Network:
    """A multilayer perceptron of one number type on one device, and the optimizer that is training it.

    Pickles and copies hold the weights, the running statistics and the optimizer's state as the bytes of one
    safetensors file. What a GPU has trained is unpickled on the CPU where there is no GPU.
    """

    def __init__(self, architecture: Architecture, dtype: Any, device: Any) -> None:
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        self.device = str(device)
        with generator_left_alone():
            self.model = architecture.build(self.dtype, device).eval()
        self.solver: str | None = None
        self.optimizer: Any = None

    def draw_weights(self, random_state: np.random.RandomState) -> None:
        """Uniform weights and biases within sqrt(6 / (inputs + outputs)), or sqrt(2 / ...) before a logistic function
        (Glorot and Bengio 2010), drawn as scikit-learn draws them: the same state gives the same weights."""
        factor = 2.0 if self.architecture.activation in ("logistic", "sigmoid") else 6.0
        with no_grad():
            for layer in self._linear_layers():
                inputs, outputs = layer.in_features, layer.out_features
                bound = np.sqrt(factor / (inputs + outputs))
                weight = random_state.uniform(-bound, bound, (inputs, outputs))
                bias = random_state.uniform(-bound, bound, outputs)
                layer.weight.copy_(self.tensor(weight.T))
                if layer.bias is not None:
                    layer.bias.copy_(self.tensor(bias))

    def start_optimizer(self, solver: str, options: dict[str, Any]) -> None:
        """A new optimizer, without memory of earlier steps."""
        self.solver, self.optimizer = solver, make_optimizer(self.model, solver, options)

    def finish_training(self) -> None:
        """Drops the gradients, which would keep the memory of the captured step, and goes into evaluation mode, so that
        threads may predict at once."""
        self.optimizer.zero_grad()
        self.model.eval()

    def tensor(self, array: Array) -> Any:
        """The array in the network's number type and on its device; on the CPU, where it fits, without a copy."""
        return ops.from_numpy(np.ascontiguousarray(array, self.dtype)).to(self.device)

    def outputs(self, x: Array) -> Array:
        """What the last layer gives in evaluation mode, before the output's activation."""
        out = np.empty((len(x), self.architecture.sizes[-1]), self.dtype)
        self.model.eval()
        with no_grad():
            for begin in range(0, len(x), ROWS_AT_ONCE):
                rows = slice(begin, begin + ROWS_AT_ONCE)
                out[rows] = self.model(self.tensor(x[rows])).cpu().numpy()
        return out

    def coefficients(self) -> tuple[list[Array], list[Array]]:
        """Weights (inputs, outputs) and intercepts (outputs) of every layer, batch norm multiplied in: x @ weight +
        intercept, then the activation, layer by layer, is what `outputs` computes."""
        weights, intercepts = [], []
        norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm1d)]
        for layer, norm in itertools.zip_longest(self._linear_layers(), norms):
            weight = _host(layer.weight).T.copy()
            if norm is not None:
                factor = _host(norm.weight) / np.sqrt(_host(norm.running_var) + self.dtype.type(norm.eps))
                weight *= factor
                intercepts.append(_host(norm.bias) - _host(norm.running_mean) * factor)
            else:
                intercepts.append(_host(layer.bias).copy())
            weights.append(weight)
        return weights, intercepts

    def is_finite(self) -> bool:
        """Whether no weight and no running statistic is nan or infinite."""
        return all(bool(np.isfinite(_host(tensor)).all()) for tensor in self.model.state_dict().values())

    def _linear_layers(self) -> list[nn.Linear]:
        return [module for module in self.model.modules() if isinstance(module, nn.Linear)]

    # ---- pickles

    def __getstate__(self) -> dict[str, bytes]:
        content = {
            "architecture": asdict(self.architecture),
            "dtype": self.dtype.name,
            "device": self.device,
            "model": dict(self.model.state_dict()),
            "solver": self.solver,
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
        }
        return {"safetensors": io.pack(content)}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        content = io.unpack(state["safetensors"], "the pickled network")
        device = content["device"]
        if device != "cpu" and backends.why_no_cuda():
            device = "cpu"
        Network.__init__(self, Architecture(**content["architecture"]), to_numpy_dtype(content["dtype"]), device)
        self.model.load_state_dict(content["model"])
        if content["solver"] is not None:
            self.start_optimizer(content["solver"], {})
            self.optimizer.load_state_dict(content["optimizer"])


def _host(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array


def best_of(model: nn.Module) -> dict[str, Any]:
    """A copy of a model's state, to be put back later."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
