"""Several processes: Fabric, FSDP2 sharding, and gathering of sharded states."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.inference.devices import pick_device
from refineseg.model.presets import build, parameter_count
from refineseg.model.refinenet import RefineNet
from refineseg.system.processes import is_first, joined_world, launched_world
from refineseg.training.optimizer import MovingAverage, make_optimizer

UNIT = 100_000  # fewest parameters of a block that is sharded separately


def make_fabric(config: TrainConfig, device: str) -> Fabric:
    """Fabric for the processes of torchrun, or for one. ConfigError for unsuitable settings."""
    chosen = pick_device(device)
    world = launched_world()[1]
    if config.sync_batch_norm and chosen.type == "cpu" and world > 1:
        raise ConfigError(
            "expected sync_batch_norm on GPUs only, since torch has none for the CPU: use freeze_batch_norm, "
            "or keep separate statistics in each process"
        )
    if config.strategy == "fsdp" and world == 1:
        raise ConfigError("expected several processes for strategy fsdp, got one: start them with torchrun")
    if config.batch_size % world:
        raise ConfigError(f"expected a batch size that {world} processes can share, got {config.batch_size}")
    if config.compile and config.strategy == "fsdp":
        raise ConfigError("compile does not work with strategy fsdp: use ddp")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    strategy: Strategy | str = "auto" if world == 1 else DDPStrategy()
    if config.strategy == "fsdp":
        strategy = ModelParallelStrategy(
            lambda model, mesh: shard(model, mesh["data_parallel"]),
            data_parallel_size=world,
            tensor_parallel_size=1,
        )
    fabric = Fabric(
        accelerator=chosen.type,
        devices=here if world > 1 or chosen.index is None else [chosen.index],
        num_nodes=world // here,
        strategy=strategy,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def arrange(model: RefineNet, config: TrainConfig) -> RefineNet:
    """The network in channels-last layout, with synchronised batch norm if set."""
    if config.sync_batch_norm:
        from timm.layers import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)  # timm's also converts its norms with activations
    # FSDP shards along the first dimension and needs contiguous weights.
    return model if config.strategy == "fsdp" else model.to(memory_format=torch.channels_last)


class Float32OnCpu(nn.Conv2d):
    """Base class added to a convolution that is to be computed in float32 on the CPU, whatever autocast says."""

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxH'xW', in autocast's type."""
        if x.device.type != "cpu":
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(dtype)


def float32_class(convolution: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A class of convolutions, such as timm's with "same" padding, as one that is computed in float32."""
    return type(f"Float32{convolution.__name__}", (Float32OnCpu, convolution), {})


def use_float32_depthwise(model: nn.Module) -> None:
    """Compute a network's convolutions in float32 on the CPU where oneDNN's bf16 fails (seen with torch 2.15).

    Dilated depthwise convolutions: the gradient of their weights in bf16 and channels_last is memory that was
    never written (up to 1e35 now and then, from maps of 52x52 on). With a stride or a kernel larger than 3x3 they
    only lack a fast gradient in bf16: float32 takes a half to a thirtieth of its time.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or module.groups == 1 or isinstance(module, Float32OnCpu):
            continue
        slow = module.groups == module.in_channels and (max(module.stride) > 1 or max(module.kernel_size) > 3)
        if slow or max(module.dilation) > 1:
            module.__class__ = float32_class(type(module))


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard a network with FSDP2 by blocks, of which one is gathered at a time.

    Blocks are members of ``nn.Sequential``, such as residual blocks of a backbone.
    """
    blocks = [
        block
        for sequence in model.modules()
        if isinstance(sequence, nn.Sequential)
        for block in sequence
        if not isinstance(block, nn.Sequential) and parameter_count(block) >= UNIT
    ]
    for block in reversed(blocks):  # inner ones first
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def set_up(
    fabric: Fabric, model: RefineNet, average: MovingAverage | None, config: TrainConfig
) -> tuple[nn.Module, Any]:
    """Network and optimiser wrapped by Fabric; the moving average is sharded like the network."""
    network = torch.compile(model) if config.compile else model
    wrapped: nn.Module = fabric.setup_module(network)  # type: ignore[arg-type]
    if average and isinstance(fabric.strategy, ModelParallelStrategy):
        shard(average.model, fabric.strategy.device_mesh["data_parallel"])
    return wrapped, fabric.setup_optimizers(make_optimizer(model, config))  # of the shards, if any


def whole_network(model: RefineNet) -> RefineNet:
    """The unsharded network, with the first process's statistics. A collective call."""
    if joined_world()[1] == 1:
        return model
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        sharded = model.state_dict().items()
        state = {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in sharded}
        model = build(model.config).to(next(iter(state.values())).device)
        model.load_state_dict(state)
    for buffer in model.buffers():
        distributed.broadcast(buffer, 0)
    return model


def whole_state(state: Any) -> Any:
    """A state with unsharded tensors on the first process, None on others. A collective call."""

    def gathered(value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        whole = value.full_tensor()
        return whole.cpu() if is_first() else None

    return tree_map(gathered, state)


def load_whole_network(model: RefineNet, state: dict[str, Tensor]) -> None:
    """Load unsharded tensors into a network, sharded or not."""
    own = model.state_dict()
    model.load_state_dict({key: _cut_like(value, own[key]) for key, value in state.items()})


def load_whole_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load unsharded tensors into an optimiser of parameters, sharded or not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cut = {
        index: {key: _cut_like(value, parameters[index]) for key, value in values.items()}
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": cut})


def _cut_like(value: Any, like: Tensor) -> Any:
    """``value`` sharded as ``like``; unchanged if it has another shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
