"""Classifiers in files, whose code is not needed: programs of torch.export or TorchScript."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, fx

from fre_lightning.backbones.engines import images_per_thread
from fre_lightning.errors import BackboneError
from fre_lightning.ood.classifier import LOGITS, Classifier
from fre_lightning.ood.head import find_head_layer, read_head
from fre_lightning.ood.method import Head
from fre_lightning.ood.program_file import checksum, load_program
from fre_lightning.ood.windows import Pool, check_windows, read_windows, to_vectors

_TOLERANCE = 1e-3
"""Of an image's outputs in two batches, by their largest; other sums would be off by 1e-5."""


class ProgramClassifier(Classifier):
    """A program that maps normalised images `(N, 3, H, W)`, N free, to layers and logits.

    It gives a dictionary of tensors, `logits` among its keys; or a tuple of layers, called `0`, `1`
    and so on, and of logits, which are the last. Neither state dicts nor checkpoints have it.

    Args:
        file: Of `torch.export.save` or `torch.jit.save`. It is code, which is run.
        sha256: Its checksum; None: any.
        layers: Some of what the program gives.
        pool: As of `NetworkClassifier`.
        head: Names in its state dict of the weight, and the bias if there is one, of the linear
            layer that gives the logits; None: it is not known.
        image_size: One number or `[height, width]`.
        mean: Of red, green and blue in 0..1, which is subtracted from images.
        std: Which they are divided by then.
        n_classes: Left alone, for the program has its own.

    Raises:
        BackboneError: If the file cannot be loaded or is another one, does not take such images,
            or gives something else.
        ConfigError: If `pool` does not suit the layers.
    """

    runs_code: ClassVar[bool] = True
    pixel_std: Tensor

    def __init__(
        self,
        file: str,
        sha256: str | None,
        layers: str | int | Sequence[str | int],
        pool: Pool,
        head: str | Sequence[str] | None,
        image_size: int | Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        n_classes: int,  # noqa: ARG002 - all classifiers are built with it
    ) -> None:
        self.file = Path(file).expanduser()
        chosen = [layers] if isinstance(layers, str | int) else [*layers]
        self.windows = read_windows(pool, len(chosen))
        super().__init__(self.file.stem, [*chosen, LOGITS], 1, image_size)
        self.sha256 = checksum(self.file, sha256)
        self._program = (load_program(self.file),)  # in a tuple, as it is no part of the state
        self._head_names = [head] if isinstance(head, str) else [*(head or ())]
        self._head_layer: str | None = None
        self.graph: fx.GraphModule | None = None  # for an export
        for key, values in (("pixel_mean", mean), ("pixel_std", std)):
            self.register_buffer(key, 255 * torch.tensor(values).view(3, 1, 1), persistent=False)
        self.n_classes = self._try()
        self.eval()

    @property
    def weights_label(self) -> str:
        """The file's name."""
        return self.file.name

    @property
    def head(self) -> Head | None:
        """The head, if the caller has named it."""
        state = self._program[0].state_dict()
        return read_head(self.file, state, self._head_names) if self._head_names else None

    @property
    def head_layer(self) -> str | None:
        """The layer that was found to give the head's input."""
        return self._head_layer

    def to_store(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings and the checksum, without a class: loading one builds no program."""
        kept = {key: value for key, value in settings.items() if key != "_target_"}
        return kept | {"file": self.file.name, "sha256": self.sha256}

    @property
    def images_per_thread(self) -> int | None:
        """Images a CPU thread handles per call."""
        return images_per_thread("eager", self.image_size)

    def fingerprint(self, layer: str) -> dict[str, object]:
        """Everything that changes a layer's features; part of the cache key."""
        pixels = [self.pixel_mean.flatten().tolist(), self.pixel_std.flatten().tolist()]
        return super().fingerprint(layer) | {"program": self.sha256, "pixels": pixels}

    def outputs(self, images: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """What some layers give, of any shape, for `(N, 3, H, W)` uint8 images."""
        program = self._program[0] if self.graph is None else self.graph
        found = _named(program((images.float() - self.pixel_mean) / self.pixel_std))
        return [found[layer] for layer in layers]

    def prepare_export(self) -> None:
        """Become part of the graph.

        Raises:
            BackboneError: If the program is one of TorchScript, which torch.export does not record.
        """
        (program,) = self._program
        if isinstance(program, torch.jit.ScriptModule):
            msg = (
                f"{self.file} is TorchScript, which cannot be exported once more. Save the "
                "network by torch.export.save, and run fre_lightning.ood on that."
            )
            raise BackboneError(msg)
        self.graph = fx.GraphModule(program, program.graph)  # the same, but with a mode

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._program[0]._apply(fn)
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def _try(self) -> int:
        """The number of logits, if two images together and the first alone give the same.

        Raises:
            BackboneError: If they do not, or the program fails.
        """
        generator = torch.Generator().manual_seed(0)
        pair = torch.rand(2, 3, *self.image_size, generator=generator)
        try:
            found, alone = (_named(self._program[0](images)) for images in (pair, pair[:1]))
        except Exception as error:  # a program raises what it likes
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            height, width = self.image_size
            msg = (
                f"{self.file} does not take one and two images of {height}x{width} ({reason}). Set "
                "classifier.image_size; save the program for any number of images, by torch.export "
                "with dynamic_shapes."
            )
            raise BackboneError(msg) from error
        for layer in self.layers:
            if layer not in found:
                msg = (
                    f"{self.file} gives {', '.join(found) or 'no tensors'}, not {layer}. Choose "
                    "classifier.layers among these; the program must give a dictionary with "
                    "logits, or a tuple whose last is the logits."
                )
                raise BackboneError(msg)
            self._check(layer, found[layer], alone[layer])
        check_windows(self.name, dict(zip(self.layers, self.windows, strict=True)), found)
        if (head := self.head) is not None:
            pairs = zip(self.layers[:-1], self.windows[:-1], strict=True)
            vectors = {layer: to_vectors(found[layer], window) for layer, window in pairs}
            self._head_layer = find_head_layer(self.file, head, vectors, found[LOGITS], _TOLERANCE)
        return found[LOGITS].shape[1]

    def _check(self, layer: str, together: Tensor, alone: Tensor) -> None:
        if together.ndim < 2 or len(together) != 2 or (layer == LOGITS and together.ndim != 2):
            msg = (
                f"{self.file} gives {layer} of {tuple(together.shape)} for two images. The program "
                "must give (2, K) logits, and (2, C), (2, L, C) or (2, C, h, w) of layers."
            )
            raise BackboneError(msg)
        if not torch.allclose(together[:1], alone, 0, _TOLERANCE * float(together.abs().max())):
            msg = (
                f"{self.file} gives an image another {layer} beside another image. Save the "
                "program in evaluation mode: network.eval() before."
            )
            raise BackboneError(msg)


def _named(outputs: Any) -> dict[str, Tensor]:
    """The tensors that a program gives, by name."""
    if isinstance(outputs, tuple | list):
        *layers, logits = outputs
        outputs = {str(i): layer for i, layer in enumerate(layers)} | {LOGITS: logits}
    if not isinstance(outputs, Mapping):
        return {}
    return {str(k): tensor for k, tensor in outputs.items() if isinstance(tensor, Tensor)}
