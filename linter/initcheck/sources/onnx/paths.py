"""Layer paths: the names people know their layers by, as far as the exporter kept them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from initcheck.sources.onnx.metadata import scope_of

if TYPE_CHECKING:
    from initcheck.sources.onnx.call import Call

__all__ = ["is_anonymous", "is_variable", "layer_path", "module_of_parameter"]

_ANONYMOUS = re.compile(
    r"(?:onnx::\w+|val_\d+|_?\d+|.*[Cc]onst(?:ant)?(?:_?\w*)|.*_output_\d+|scalar\w*|lifted_tensor.*)(?::\d+)?"
)

_ARGUMENT = re.compile(r"%p_\w+")

_LEAF = re.compile(
    r"(?:weight|bias|kernel|gamma|beta|embeddings?|W|B|weight_[vg]|(?:weight|bias)_[ih]h_l\d+\w*)(?::\d+)?"
)

_VARIABLE = re.compile(r"/(?:ReadVariableOp|Read|Identity|resource)\w*(?::\d+)?$")


def is_anonymous(name: str) -> bool:
    """Whether a tensor's name was made up by an exporter (``val_3``, ``onnx::MatMul_12``) and says nothing."""
    return not name or _ANONYMOUS.fullmatch(name.rsplit("/", 1)[-1]) is not None or name.startswith("onnx::")


def is_variable(name: str) -> bool:
    """Whether a tensor is named as converters from TensorFlow name variables."""
    return _VARIABLE.search(name) is not None


def module_of_parameter(name: str) -> str:
    """Path of the module that owns a parameter, ``features.0`` for ``features.0.weight``; empty if no name tells."""
    name = _VARIABLE.sub("", name)
    if is_anonymous(name):
        return ""
    for separator in (".", "/"):
        module, found, leaf = name.rpartition(separator)
        if found and _LEAF.fullmatch(leaf):
            return module
    return ""


def layer_path(call: Call, weight: str = "") -> str:
    """Path of the layer that a node belongs to.

    Scopes of the exporter first, because exporters store equal tensors once, so that a parameter may carry the name of
    another layer. A parameter's name replaces the scope where it ends with it (the scope of ``d["q"]`` is only ``q``)
    or continues it. Without scopes: the parameter's module, the node's name, or operator and place.

    Args:
        call: The node.
        weight: Name of its weight, if it has one.
    """
    owner = module_of_parameter(weight)
    scope = scope_of(call.metadata)
    if scope is not None:
        if not scope.module:
            return owner or scope.node or call.proto.name
        if _continues(owner, scope.module):
            return owner
        return _traced_owner(call, scope.module) or scope.module
    name = call.proto.name
    if name.startswith("/"):
        return _legacy_path(name, owner)
    if owner:
        return owner
    module, _, leaf = name.rpartition("/")
    if module and leaf.startswith(call.proto.op_type):
        return module
    return name or f"{call.proto.op_type}_{call.index}"


def _traced_owner(call: Call, module: str) -> str:
    """Submodule whose weight a functional call reads, from the traced operation's arguments.

    Torch names them ``p_`` and the parameter's path with every dot an underscore, so that only the part below the known
    module can be read back.
    """
    prefix = f"%p_{module.replace('.', '_')}_"
    for argument in _ARGUMENT.findall(call.metadata.get("pkg.torch.onnx.fx_node", "")):
        child = argument.removeprefix(prefix).removesuffix("_weight")
        if prefix + child + "_weight" == argument:
            return f"{module}.{child}"
    return ""


def _continues(owner: str, scope: str) -> bool:
    return owner == scope or owner.startswith(scope + ".") or owner.endswith("." + scope)


def _legacy_path(name: str, owner: str) -> str:
    """``/layers/layers.0/fc1/Gemm`` -> ``layers.0.fc1``: a child of a container repeats the container's name."""
    *scopes, leaf = name.strip("/").split("/")
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(path[-1] + "."):
            path[-1] = scope
        else:
            path.append(scope)
    module = ".".join(path)
    if not module:
        return owner or leaf
    return owner if _continues(owner, module) else module
