"""Module: what it registers, how it walks, what its state is, and what it says when misused."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import minidl
from minidl import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.act = nn.ReLU()
        self.output = nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.output(self.act(self.norm(self.hidden(x))))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(minidl.ones(2))
        self.register_buffer("offset", minidl.zeros(2))
        self.register_buffer("cache", minidl.zeros(2), persistent=False)
        self.register_parameter("absent", None)

    def forward(self, x, times=1):
        return (x * self.scale + self.offset) * times


CLASSIFIER_KEYS = [
    "hidden.weight",
    "hidden.bias",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "norm.num_batches_tracked",
    "output.weight",
]


# ---- repr


def test_repr_nests_children():
    assert repr(nn.Sequential(Classifier(), nn.Sequential(nn.ReLU()), nn.Sequential())) == (
        "Sequential(\n"
        "  (0): Classifier(\n"
        "    (hidden): Linear(in_features=4, out_features=3, bias=True)\n"
        "    (norm): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "    (act): ReLU()\n"
        "    (output): Linear(in_features=3, out_features=2, bias=False)\n"
        "  )\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        "  (2): Sequential()\n"
        ")"
    )


def test_extra_repr_stands_on_one_line_or_before_the_children():
    class Extra(nn.Module):
        def __init__(self, text, child):
            super().__init__()
            self.text = text
            if child:
                self.act = nn.ReLU()

        def extra_repr(self):
            return self.text

    assert repr(nn.Module()) == "Module()"
    assert repr(Extra("a=1", False)) == "Extra(a=1)"
    assert repr(Extra("a=1\nb=2", False)) == "Extra(\n  a=1\n  b=2\n)"
    assert repr(Extra("a=1", True)) == "Extra(\n  a=1\n  (act): ReLU()\n)"


def test_repr_of_a_parameter_is_that_of_its_tensor_with_a_title():
    assert repr(nn.Parameter(minidl.ones(2))) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert repr(nn.Parameter(minidl.ones(2), requires_grad=False)) == "Parameter containing:\ntensor([1., 1.])"


# ---- parameters


def test_parameter_requires_grad_and_shares_memory():
    data = minidl.zeros(3)
    parameter = nn.Parameter(data)
    assert isinstance(parameter, minidl.Tensor)
    assert parameter.requires_grad
    assert parameter.is_leaf
    data[0] = 5.0
    assert parameter.tolist() == [5, 0, 0]


def test_results_of_operations_are_not_parameters():
    assert type(nn.Parameter(minidl.ones(2)) * 2) is minidl.Tensor
    assert type(nn.Parameter(minidl.ones(2)).data) is minidl.Tensor


def test_parameter_wants_a_tensor():
    with pytest.raises(TypeError, match=r"Parameter: data must be a Tensor, got list"):
        nn.Parameter([1.0])
    with pytest.raises(TypeError, match="only float tensors have gradients"):
        nn.Parameter(minidl.tensor([1, 2]))
    assert nn.Parameter(minidl.tensor([1, 2]), requires_grad=False).dtype == minidl.int64


def test_changing_the_tensor_behind_a_parameter_is_noticed_by_backward():
    data = minidl.ones(2)
    loss = (nn.Parameter(data) ** 2).sum()
    data.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_writing_through_data_changes_the_parameter():
    layer = nn.Linear(2, 2)
    layer.weight.data.fill_(3.0)
    layer.bias.data = minidl.tensor([1.0, 2.0])
    assert layer.weight.tolist() == [[3, 3], [3, 3]]
    assert layer.bias.tolist() == [1, 2]
    assert isinstance(layer.bias, nn.Parameter)


# ---- registration


def test_attributes_are_registered_by_what_they_are():
    module = Scaled()
    module.child = nn.ReLU()
    module.number = 3
    assert list(dict(module.named_parameters())) == ["scale"]
    assert list(dict(module.named_buffers())) == ["offset", "cache"]
    assert list(dict(module.named_children())) == ["child"]
    assert module.number == 3
    assert module.absent is None
    assert {"scale", "offset", "child", "number", "forward"} <= set(dir(module))


@pytest.mark.parametrize(
    ("value", "kind"), [(lambda: nn.ReLU(), "module"), (lambda: nn.Parameter(minidl.ones(1)), "parameter")]
)
def test_assigning_before_super_init_says_what_to_call(value, kind):
    class Hasty(nn.Module):
        def __init__(self):
            self.part = value()
            super().__init__()

    message = (
        rf"cannot assign {kind} before Module.__init__\(\) call; call super\(\).__init__\(\) first in Hasty.__init__"
    )
    with pytest.raises(AttributeError, match=message):
        Hasty()


def test_a_plain_value_may_be_assigned_before_super_init():
    class Early(nn.Module):
        def __init__(self):
            self.width = 3
            super().__init__()

    assert Early().width == 3


def test_using_a_module_whose_init_never_ran_says_so():
    class Forgetful(nn.Module):
        def __init__(self):
            self.width = 3

    module = Forgetful()
    for use in (lambda: module(1), lambda: list(module.parameters()), lambda: repr(module), module.state_dict):
        with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) first in Forgetful.__init__"):
            use()


def test_unknown_attribute_has_pytorchs_text():
    with pytest.raises(AttributeError) as caught:
        _ = Classifier().hiden
    assert str(caught.value) == "'Classifier' object has no attribute 'hiden'"
    assert caught.value.name == "hiden"


def test_a_registered_name_keeps_its_kind():
    module = Scaled()
    module.child = nn.ReLU()
    with pytest.raises(
        TypeError, match=r"cannot assign 'Tensor' as parameter 'scale' \(nn.Parameter or None expected\)"
    ):
        module.scale = minidl.ones(2)
    with pytest.raises(TypeError, match=r"cannot assign 'int' as child module 'child' \(nn.Module or None expected\)"):
        module.child = 3
    with pytest.raises(TypeError, match=r"cannot assign 'int' as buffer 'offset' \(Tensor or None expected\)"):
        module.offset = 3
    module.offset = minidl.ones(2)
    assert module.get_buffer("offset").tolist() == [1, 1]
    module.scale = None
    assert list(module.parameters()) == []
    module.scale = nn.Parameter(minidl.ones(2))
    assert len(list(module.parameters())) == 1


def test_assigning_another_kind_moves_the_name():
    module = Scaled()
    module.thing = 3
    module.thing = nn.ReLU()
    assert list(dict(module.named_children())) == ["thing"]
    module.thing = nn.Parameter(minidl.ones(1))
    assert list(dict(module.named_children())) == []
    assert "thing" in dict(module.named_parameters())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.register_parameter("offset", None), KeyError, "attribute 'offset' already exists"),
        (lambda m: m.register_parameter("a.b", None), KeyError, "parameter name can't contain"),
        (lambda m: m.register_parameter("", None), KeyError, "parameter name can't be empty"),
        (lambda m: m.register_parameter(3, None), TypeError, "parameter name should be a string. Got int"),
        (lambda m: m.register_parameter("q", minidl.ones(1)), TypeError, "cannot assign 'Tensor' object to parameter"),
        (lambda m: m.register_buffer("scale", None), KeyError, "attribute 'scale' already exists"),
        (lambda m: m.register_buffer("b", 3), TypeError, "cannot assign 'int' object to buffer 'b'"),
        (lambda m: m.add_module("b", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.add_module("b", nn.ReLU), TypeError, "ReLU is a class, not a module; write ReLU()"),
        (lambda m: m.add_module("forward", nn.ReLU()), KeyError, "attribute 'forward' already exists"),
        (lambda m: m.add_module("a.b", nn.ReLU()), KeyError, "module name can't contain"),
    ],
)
def test_registering_refuses_bad_names_and_values(call, error, message):
    with pytest.raises(error) as caught:
        call(Scaled())
    assert message in caught.value.args[0]


def test_a_class_may_give_a_default_of_none():
    class Optional(nn.Module):
        head = None

    module = Optional()
    assert module.head is None
    module.head = nn.ReLU()
    assert module.head is module.get_submodule("head")


def test_pytorchs_dictionaries_can_be_read_and_written():
    module = Scaled()
    module.child = nn.ReLU()
    module._modules["child"] = nn.Tanh()
    module._parameters["shift"] = nn.Parameter(minidl.ones(1))
    assert isinstance(module.child, nn.Tanh)
    assert list(module._parameters) == ["scale", "absent", "shift"]
    assert module._buffers["offset"] is module.offset
    assert repr(module._modules) == "{'child': Tanh()}"
    del module._modules["child"]
    assert not hasattr(module, "child")
    for missing in (lambda: module._modules["scale"], lambda: module._buffers.pop("scale")):
        with pytest.raises(KeyError):
            missing()


def test_deleting_an_attribute_unregisters_it():
    module = Scaled()
    module.child = nn.ReLU()
    module.number = 1
    for name in ("scale", "offset", "cache", "child", "number"):
        delattr(module, name)
        assert not hasattr(module, name)
    assert list(module.state_dict()) == []
    with pytest.raises(AttributeError, match="nothing"):
        del module.nothing


def test_a_deleted_parameter_can_be_replaced_by_a_computed_tensor():
    layer = nn.Linear(2, 2)
    direction = nn.Parameter(minidl.ones(2, 2))
    del layer.weight
    layer.weight = direction * 2
    out = layer(minidl.ones(1, 2))
    out.sum().backward()
    assert direction.grad.tolist() == [[2, 2], [2, 2]]


# ---- walking


def test_named_parameters_have_dotted_names_and_a_prefix():
    names = ["hidden.weight", "hidden.bias", "norm.weight", "norm.bias", "output.weight"]
    assert [name for name, _ in Classifier().named_parameters()] == names
    assert [name for name, _ in Classifier().named_parameters(prefix="net")] == ["net." + name for name in names]
    assert [name for name, _ in Classifier().named_parameters(recurse=False)] == []


def test_shared_parameters_and_modules_are_walked_once():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    model.tied = nn.Linear(3, 3)
    model.tied.weight = layer.weight
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "tied.bias"]
    assert len([name for name, _ in model.named_parameters(remove_duplicate=False)]) == 6
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "tied"]
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1", "2", "tied"]
    assert len(list(model.children())) == 3
    assert "2.weight" in model.state_dict()


def test_modules_come_parents_first_and_apply_goes_children_first():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    assert [name for name, _ in model.named_modules(prefix="net")] == ["net", "net.0", "net.1", "net.1.0"]
    visited = []
    assert model.apply(visited.append) is model
    assert visited == [model[0], model[1][0], model[1], model]


def test_paths_lead_to_submodules_parameters_and_buffers():
    model = nn.Sequential(Classifier())
    assert model.get_submodule("") is model
    assert model.get_submodule("0.hidden") is model[0].hidden
    assert model.get_parameter("0.hidden.weight") is model[0].hidden.weight
    assert model.get_buffer("0.norm.running_var") is model[0].norm.running_var
    with pytest.raises(AttributeError, match="Classifier has no attribute `nothing`"):
        model.get_submodule("0.nothing")
    with pytest.raises(AttributeError, match=r"`training` is not an nn.Module"):
        model.get_submodule("0.training")
    with pytest.raises(AttributeError, match=r"`0.norm.running_var` is not an nn.Parameter"):
        model.get_parameter("0.norm.running_var")
    with pytest.raises(AttributeError, match=r"`0.hidden.weight` is not a buffer"):
        model.get_buffer("0.hidden.weight")


# ---- modes and gradients


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(Classifier(), nn.Dropout())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        model.train(1)


def test_zero_grad_drops_gradients_or_fills_them_with_zeros():
    layer = nn.Linear(2, 1)
    layer(minidl.ones(1, 2)).sum().backward()
    grad = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0, 0]]
    assert grad.tolist() == [[0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_requires_grad_freezes_and_thaws():
    model = Classifier()
    assert model.requires_grad_(False) is model
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(minidl.randn(5, 4)).requires_grad
    model.requires_grad_()
    assert model(minidl.randn(5, 4)).requires_grad


def test_conversion_keeps_the_parameter_objects_and_whole_numbers():
    model = Classifier()
    before = list(model.parameters())
    model.hidden.weight.grad = minidl.ones(3, 4)
    assert model.double() is model
    assert [id(p) for p in model.parameters()] == [id(p) for p in before]
    assert {p.dtype for p in model.parameters()} == {minidl.float64}
    assert model.hidden.weight.grad.dtype == minidl.float64
    assert model.norm.running_mean.dtype == minidl.float64
    assert model.norm.num_batches_tracked.dtype == minidl.int64
    assert model(minidl.zeros(2, 4, dtype=minidl.float64)).dtype == minidl.float64
    assert model.float().hidden.weight.dtype == minidl.float32
    assert model.to(minidl.float64).hidden.weight.dtype == minidl.float64
    assert model.to("cpu", minidl.float32).hidden.weight.dtype == minidl.float32
    assert model.to(minidl.ones(1, dtype=minidl.float64)).hidden.weight.dtype == minidl.float64
    assert model.cpu() is model


def test_conversion_refuses_dtypes_without_gradients_and_unknown_devices():
    with pytest.raises(TypeError, match=r"nn.Module.to only accepts floating point dtypes, but got"):
        Classifier().to(minidl.int64)
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N'"):
        Classifier().to("gpu")


# ---- calling and hooks


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r'Module \[Empty\] is missing the required "forward" function'):
        Empty()(1)


def test_calling_passes_positional_and_keyword_arguments():
    assert Scaled()(minidl.ones(2), times=3).tolist() == [3, 3]


def test_hooks_see_and_replace_what_goes_in_and_comes_out():
    module, seen = Scaled(), []
    module.register_forward_pre_hook(lambda m, args: seen.append((m, args)))
    module.register_forward_pre_hook(lambda m, args: args[0] + 1)
    module.register_forward_hook(lambda m, args, output: output * 10)
    module.register_forward_hook(lambda m, args, output: seen.append((m, args, output)))
    x = minidl.ones(2)
    out = module(x)
    assert out.tolist() == [20, 20]
    assert seen[0] == (module, (x,))
    assert seen[1][1][0].tolist() == [2, 2]
    assert seen[1][2] is out


def test_hooks_with_kwargs_get_and_replace_them():
    module = Scaled()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"times": kwargs["times"] + 1}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, output: (output, kwargs), with_kwargs=True)
    out, kwargs = module(minidl.ones(2), times=1)
    assert out.tolist() == [2, 2]
    assert kwargs == {"times": 2}
    module.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"must return None or \(args, kwargs\)"):
        module(minidl.ones(2), times=1)


def test_hooks_run_in_order_and_can_be_prepended_and_removed():
    module, order = nn.Identity(), []
    first = module.register_forward_hook(lambda *_: order.append("first"))
    module.register_forward_hook(lambda *_: order.append("second"))
    module.register_forward_hook(lambda *_: order.append("zeroth"), prepend=True)
    module(0)
    assert order == ["zeroth", "first", "second"]
    first.remove()
    first.remove()
    order.clear()
    module(0)
    assert order == ["zeroth", "second"]


def test_a_hook_may_remove_itself():
    module, calls = nn.Identity(), []

    def once(*_):
        calls.append(1)
        handle.remove()

    handle = module.register_forward_hook(once)
    module(0)
    module(0)
    assert calls == [1]


def test_hooks_that_are_always_called_run_even_when_forward_raises():
    class Failing(nn.Module):
        def forward(self):
            raise ZeroDivisionError

    module, seen = Failing(), []
    module.register_forward_hook(lambda *_: seen.append("plain"))
    module.register_forward_hook(lambda *_: seen.append("always"), always_call=True)
    with pytest.raises(ZeroDivisionError):
        module()
    assert seen == ["always"]


def test_backward_hooks_see_and_replace_gradients():
    module, seen = Scaled(), []
    module.scale.data.fill_(3.0)
    handle = module.register_full_backward_hook(
        lambda m, grad_input, grad_output: seen.append((grad_input, grad_output))
    )
    x = minidl.ones(2, requires_grad=True)
    (module(x) * 5).sum().backward()
    (grad_input,), (grad_output,) = seen[0]
    assert grad_output.tolist() == [5, 5]
    assert grad_input.tolist() == [15, 15]
    assert x.grad.tolist() == [15, 15]
    assert module.scale.grad.tolist() == [5, 5]
    handle.remove()
    module.register_full_backward_hook(lambda m, grad_input, grad_output: (grad_input[0] * 0,))
    x.grad = None
    module(x).sum().backward()
    assert x.grad.tolist() == [0, 0]
    assert len(seen) == 1


def test_backward_hooks_are_called_when_no_input_requires_grad():
    model, norms = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), {}
    for name, layer in model.named_children():
        layer.register_full_backward_hook(
            lambda module, grad_input, grad_output, name=name: norms.update({name: (grad_input, grad_output[0].shape)})
        )
    model(minidl.ones(5, 3)).sum().backward()
    assert list(norms) == ["2", "1", "0"]
    assert norms["0"] == ((None,), (5, 4))
    assert norms["2"][0][0].shape == (5, 4)
    with minidl.no_grad():
        assert model(minidl.ones(5, 3)).shape == (5, 1)


def test_backward_hooks_take_several_inputs_and_outputs():
    class Swap(nn.Module):
        def forward(self, a, scale, b):
            return b * scale, a + 1

    module, seen = Swap(), []
    module.register_full_backward_hook(lambda m, grad_input, grad_output: seen.extend([grad_input, grad_output]))
    a, b = minidl.ones(1, requires_grad=True), minidl.ones(1, requires_grad=True)
    first, second = module(a, 4.0, b)
    (first * 2 + second * 3).backward()
    assert [None if g is None else g.item() for g in seen[0]] == [3, None, 8]
    assert [g.item() for g in seen[1]] == [2, 3]


# ---- state


def test_state_dict_has_pytorchs_keys_in_order_and_shares_memory():
    model = Classifier()
    state = model.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == CLASSIFIER_KEYS
    assert not any(tensor.requires_grad for tensor in state.values())
    state["hidden.bias"].fill_(7.0)
    assert model.hidden.bias.tolist() == [7, 7, 7]
    assert next(iter(model.state_dict(prefix="net."))) == "net.hidden.weight"
    assert model.state_dict(keep_vars=True)["hidden.weight"] is model.hidden.weight


def test_buffers_that_are_not_persistent_stay_out_of_the_state():
    assert list(Scaled().state_dict()) == ["scale", "offset"]
    assert [name for name, _ in Scaled().named_buffers()] == ["offset", "cache"]


def test_loading_a_state_dict_copies_every_value():
    source, target = Classifier(), Classifier()
    source(minidl.randn(8, 4))
    before = target.hidden.weight
    result = target.load_state_dict(source.state_dict())
    assert str(result) == "<All keys matched successfully>"
    assert target.hidden.weight is before
    for key, tensor in source.state_dict().items():
        np.testing.assert_array_equal(target.state_dict()[key].numpy(), tensor.numpy())
    source.hidden.weight.data.zero_()
    assert target.hidden.weight.abs().sum().item() > 0


def test_loading_names_every_key_and_both_shapes_and_changes_nothing():
    model = Classifier()
    state = model.state_dict()
    changed = OrderedDict((key, tensor.clone() + 1) for key, tensor in state.items())
    changed["hidden.weight"] = minidl.zeros(5, 4)
    changed["extra"] = minidl.zeros(1)
    del changed["norm.bias"], changed["output.weight"]
    kept = {key: tensor.numpy().copy() for key, tensor in state.items()}
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(changed)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Classifier:\n"
        '\tMissing key(s) in state_dict: "norm.bias", "output.weight". \n'
        '\tUnexpected key(s) in state_dict: "extra". \n'
        "\tsize mismatch for hidden.weight: copying a param with shape (5, 4) from checkpoint, "
        "the shape in current model is (3, 4)."
    )
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), kept[key])


def test_loading_without_strict_returns_the_keys_but_refuses_other_shapes():
    model = Scaled()
    result = model.load_state_dict({"scale": minidl.zeros(2), "extra": minidl.zeros(1)}, strict=False)
    assert result.missing_keys == ["offset"]
    assert result.unexpected_keys == ["extra"]
    assert model.scale.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="size mismatch for scale"):
        model.load_state_dict({"scale": minidl.zeros(3)}, strict=False)


def test_loading_refuses_what_is_not_a_state_dict():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'int'>"):
        Scaled().load_state_dict(3)
    with pytest.raises(RuntimeError, match="expected a Tensor but received <class 'float'>"):
        Scaled().load_state_dict({"scale": 1.0, "offset": minidl.zeros(2)})


def test_loading_converts_to_the_models_dtype_unless_tensors_are_assigned():
    state = {"scale": minidl.zeros(2, dtype=minidl.float64), "offset": minidl.zeros(2, dtype=minidl.float64)}
    model = Scaled()
    model.load_state_dict(state)
    assert model.scale.dtype == minidl.float32
    model.load_state_dict(state, assign=True)
    assert model.scale.dtype == minidl.float64
    assert isinstance(model.scale, nn.Parameter)
    assert model.scale.requires_grad
    assert model.offset is state["offset"]


# ---- copies


def test_deepcopy_copies_values_and_keeps_sharing():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    model.register_forward_hook(lambda m, args, output: output + 100)
    copied = copy.deepcopy(model)
    assert copied[0] is copied[2]
    assert copied[0] is not layer
    assert isinstance(copied[0].weight, nn.Parameter)
    np.testing.assert_array_equal(copied[0].weight.detach().numpy(), layer.weight.detach().numpy())
    copied[0].weight.data.fill_(0.0)
    assert layer.weight.abs().sum().item() > 0
    assert copied(minidl.zeros(1, 2)).min().item() >= 100


def test_pickle_keeps_values_names_and_mode():
    model = Classifier().eval()
    loaded = pickle.loads(pickle.dumps(model))
    assert repr(loaded) == repr(model)
    assert not loaded.training
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[key].numpy(), tensor.numpy())


def test_a_module_is_freed_when_its_last_reference_goes():
    model = Classifier()
    reference = weakref.ref(model.hidden)
    gc.disable()
    try:
        del model
        assert reference() is None
    finally:
        gc.enable()


# ---- containers


def test_sequential_takes_modules_or_an_ordered_dict():
    model = nn.Sequential(OrderedDict([("fc", nn.Linear(2, 3)), ("act", nn.ReLU())]))
    assert list(model.state_dict()) == ["fc.weight", "fc.bias"]
    assert model.fc is model[0]
    assert model(minidl.ones(1, 2)).shape == (1, 3)


def test_sequential_is_indexed_sliced_and_walked_like_a_list():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(model) == 3
    assert model[-1] is model[2]
    assert [type(m) for m in model] == [nn.Linear, nn.ReLU, nn.Linear]
    assert isinstance(model[:2], nn.Sequential)
    assert model[1:][0] is model[1]
    assert model[:-1](minidl.ones(1, 2)).shape == (1, 3)
    model[1] = nn.Tanh()
    assert isinstance(model[1], nn.Tanh)
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            model[index]
    with pytest.raises(TypeError):
        model["0"]


def test_sequential_grows_and_shrinks_like_a_list():
    model = nn.Sequential(nn.Linear(1, 1))
    assert model.append(nn.ReLU()) is model
    model.insert(0, nn.Tanh())
    model.extend([nn.Sigmoid()])
    model += [nn.ELU()]
    assert [type(m).__name__ for m in model] == ["Tanh", "Linear", "ReLU", "Sigmoid", "ELU"]
    del model[1:3]
    assert type(model.pop(-1)) is nn.ELU
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert [type(m) for m in model + nn.Sequential(nn.ReLU())] == [nn.Tanh, nn.Sigmoid, nn.ReLU]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        model.append(3)
    with pytest.raises(TypeError, match=r"ReLU is a class, not a module; write ReLU\(\)"):
        nn.Sequential(nn.ReLU)


def test_module_list_registers_its_elements_and_folds_equal_lines():
    layers = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Sequential(nn.Tanh()), nn.Sequential(nn.Tanh()), nn.Linear(1, 1)])
    assert repr(layers) == (
        "ModuleList(\n"
        "  (0-1): 2 x ReLU()\n"
        "  (2-3): 2 x Sequential(\n"
        "    (0): Tanh()\n"
        "  )\n"
        "  (4): Linear(in_features=1, out_features=1, bias=True)\n"
        ")"
    )
    assert len(list(layers.parameters())) == 2
    assert isinstance(layers[1:], nn.ModuleList)
    assert repr(nn.ModuleList()) == "ModuleList()"
    with pytest.raises(NotImplementedError, match=r'Module \[ModuleList\] is missing the required "forward" function'):
        layers(1)
    with pytest.raises(TypeError, match=r"ModuleList.extend should be called with an iterable, but got int"):
        nn.ModuleList(3)


def test_module_dict_is_an_ordered_dictionary():
    heads = nn.ModuleDict({"digit": nn.Linear(2, 10)})
    heads["parity"] = nn.Linear(2, 2)
    heads.update([("sign", nn.Linear(2, 1))])
    assert list(heads) == list(heads.keys()) == ["digit", "parity", "sign"]
    assert "parity" in heads
    assert len(heads) == 3
    assert heads.pop("sign").out_features == 1
    del heads["digit"]
    assert [(name, type(m)) for name, m in heads.items()] == [("parity", nn.Linear)]
    assert repr(heads) == "ModuleDict(\n  (parity): Linear(in_features=2, out_features=2, bias=True)\n)"
    with pytest.raises(KeyError):
        heads["digit"]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        heads["x"] = 3
    heads.clear()
    assert list(heads.values()) == []
