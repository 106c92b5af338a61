"""MACE's layers in the form that a campaign needs: one at a time, for the atoms that receive."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Self

import torch
from torch import Tensor

from idealflow.errors import MissingExtraError
from idealflow.forcefields.message_passing.coupling import harmonics
from idealflow.forcefields.message_passing.graph import Graph
from idealflow.forcefields.message_passing.network import MessagePassingNetwork

__all__ = ["MACENetwork"]


class MACENetwork(MessagePassingNetwork):
    """The network of MACE (Batatia et al., NeurIPS 2022), of the blocks of ``mace-torch``.

    Blocks, and with them the names of their parameters, are those of ``ScaleShiftMACE``; the order in which they are called is
    ours, so that large structures are computed layer by layer in parts.

    Parameters
    ----------
    numbers
        Atomic numbers of the species.
    channels, degree
        Channels of an atom's state for each degree, and the largest degree of states between layers.
    l_max
        Largest degree of the spherical harmonics.
    correlation
        Body order of the products less one.
    n_layers
        Number of layers.
    cutoff
        Å.
    n_radial, radial_hidden
        Number of Bessel functions of the distance, and widths of the network that makes weights of messages from them.
    readout
        Width of the last layer's readout.
    cutoff_power
        Power of the polynomial that takes messages smoothly to zero at the cutoff.
    residual
        Whether an atom's first state goes into its second one beside the messages.
    distance_transform
        ``Agnesi`` or ``Soft``: distances are transformed, by the sizes of the atoms, before the radial functions.
    reduced
        Whether products that depend on each other are left out.

    Raises
    ------
    MissingExtraError
        Without ``mace-torch``.

    Examples
    --------
    >>> MACENetwork.of_species  # a table with a row for each species; the blocks have others in a layout of their own
    ('scale', 'reference', 'seen')
    """

    neighbours: Tensor
    numbers: Tensor

    def __init__(
        self,
        numbers: Sequence[int],
        channels: int = 64,
        degree: int = 0,
        l_max: int = 3,
        correlation: int = 3,
        n_layers: int = 2,
        cutoff: float = 5.0,
        n_radial: int = 8,
        radial_hidden: Sequence[int] = (64, 64, 64),
        readout: int = 16,
        cutoff_power: int = 5,
        residual: bool = True,
        distance_transform: str | None = None,
        reduced: bool = True,
    ) -> None:
        super().__init__(len(numbers))
        self._made_of = (
            numbers,
            channels,
            degree,
            l_max,
            correlation,
            n_layers,
            cutoff,
            n_radial,
            radial_hidden,
            readout,
            cutoff_power,
            residual,
            distance_transform,
            reduced,
        )
        self.n_layers, self._l_max, self._n_species = n_layers, l_max, len(numbers)
        with _plain_code() as (o3, modules):
            blocks = modules.ScaleShiftMACE(
                r_max=cutoff,
                num_bessel=n_radial,
                num_polynomial_cutoff=cutoff_power,
                max_ell=l_max,
                interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
                interaction_cls_first=modules.interaction_classes[
                    "RealAgnosticResidualInteractionBlock" if residual else "RealAgnosticInteractionBlock"
                ],
                num_interactions=n_layers,
                num_elements=len(numbers),
                hidden_irreps=o3.Irreps("+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(degree + 1))),
                MLP_irreps=o3.Irreps(f"{readout}x0e"),
                atomic_energies=torch.zeros(len(numbers)).numpy(),
                avg_num_neighbors=1.0,
                atomic_numbers=list(numbers),
                correlation=correlation,
                gate=torch.nn.functional.silu,
                radial_MLP=list(radial_hidden),
                atomic_inter_scale=1.0,
                atomic_inter_shift=0.0,
                distance_transform=distance_transform or "None",
                use_reduced_cg=reduced,
            )
        self.node_embedding, self.radial_embedding = blocks.node_embedding, blocks.radial_embedding
        self.interactions, self.products, self.readouts = blocks.interactions, blocks.products, blocks.readouts
        self.register_buffer("neighbours", torch.tensor(36.0, dtype=torch.float64))
        self.register_buffer("numbers", torch.tensor(list(numbers)), persistent=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A network made anew, with these values: e3nn compiles the code of what is copied otherwise."""
        with torch.random.fork_rng(devices=[]):
            made = type(self)(*self._made_of)
        memo[id(self)] = made
        for new, own in zip(made.modules(), self.modules(), strict=True):
            for name, parameter in own.named_parameters(recurse=False):
                values = parameter.detach().clone()
                new.register_parameter(name, torch.nn.Parameter(values, requires_grad=parameter.requires_grad))
            for name, constant in own.named_buffers(recurse=False):
                setattr(new, name, constant.clone())
        return made

    def start(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        """First states of atoms: scalars, by their species."""
        self._in(dtype)
        states: Tensor = self.node_embedding(self._species(kind, dtype))
        return states

    def geometry(self, graph: Graph, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Radial functions (n_pairs, n_radial), and spherical harmonics of the directions (n_pairs, (l_max + 1)²)."""
        self._in(dtype)
        r = graph.vec.square().sum(1, keepdim=True).sqrt().to(dtype)
        species = self._species(graph.kind, dtype)
        radial, _ = self.radial_embedding(r, species, torch.stack([graph.sender, graph.receiver]), self.numbers)
        return radial, torch.cat(harmonics(-graph.vec, self._l_max), 1).to(dtype)

    def layer(
        self, number: int, nodes: Tensor, pairs: Tensor | None, graph: Graph, geometry: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor | None]:
        """New states of the receivers; pairs have none."""
        n, species = graph.n_receivers, self._species(graph.kind, nodes.dtype)
        radial, angular = geometry
        message, own = self.interactions[number](
            node_attrs=species,
            node_feats=nodes,
            edge_attrs=angular,
            edge_feats=radial,
            edge_index=torch.stack([graph.sender, graph.receiver]),
        )
        message = message[:n] / self.neighbours.to(nodes.dtype)
        kept = None if own is None else own[:n]
        states: Tensor = self.products[number](node_feats=message, sc=kept, node_attrs=species[:n])
        return states, pairs

    def readout(self, nodes: Sequence[Tensor], kind: Tensor) -> Tensor:
        """Energy of each atom in units of ``scale``: the sum over layers."""
        head = torch.zeros(len(kind), dtype=torch.int64, device=kind.device)
        energies: Tensor = torch.stack(
            [readout(state, head)[:, 0] for readout, state in zip(self.readouts, nodes[1:], strict=True)]
        ).sum(0)
        return energies

    def _species(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.nn.functional.one_hot(kind, self._n_species).to(dtype)

    def _in(self, dtype: torch.dtype) -> None:
        """Bring the constants of the blocks to the precision of the parameters, whose own whoever computes has set."""
        for blocks in (self.node_embedding, self.radial_embedding, self.interactions, self.products, self.readouts):
            for module in blocks.modules():
                for name, constant in module.named_buffers(recurse=False):
                    if constant.is_floating_point() and constant.dtype != dtype:
                        setattr(module, name, constant.to(dtype))


@contextmanager
def _plain_code() -> Iterator[tuple[Any, Any]]:
    """Modules of e3nn and mace, whose code is not compiled: torch's compiler rounds the first calls otherwise than later ones."""
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():  # it tells everybody what else could be installed
            warnings.simplefilter("ignore")
            from mace import modules  # isort: skip  # it lets its e3nn be imported, which today's torch refuses otherwise

            import e3nn
            from e3nn import o3
    except ImportError as error:
        raise MissingExtraError(f"force field 'mace' needs: pip install 'idealflow[mace]' ({error})") from error
    before = e3nn.get_optimization_defaults()["jit_script_fx"]
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield o3, modules
    finally:
        e3nn.set_optimization_defaults(jit_script_fx=before)
