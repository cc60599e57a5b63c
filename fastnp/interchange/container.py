"""A safetensors file: tensors by name, and notes, which are JSON."""

import contextlib
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadFileError
from .replacing import replace

KEY = "fastnp"  # under which the notes stand among the file's metadata
FORMAT = 1  # raised where older versions could not read what is written
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64), "F32": np.dtype(np.float32), "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64), "I32": np.dtype(np.int32), "I16": np.dtype(np.int16), "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64), "U32": np.dtype(np.uint32), "U16": np.dtype(np.uint16), "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}


def write(path: Any, tensors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
    """Replace the file at `path` by one of these tensors and notes. Raises OSError."""
    # Wider numbers first, so that each lies where its width says; and never as strides would have it.
    arrays = {name: _plain(array) for name, array in tensors.items()}
    names = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    text = json.dumps({"format": FORMAT, **notes}, allow_nan=False, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": {KEY: text}}
    start = 0
    for name in names:
        array = arrays[name]
        stop = start + array.nbytes
        header[name] = {"dtype": CODES[array.dtype], "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    replace(path, (len(head).to_bytes(8, "little") + head, *(arrays[name].reshape(-1).data for name in names)))


def _plain(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


class Container:
    """A file that is open: what its header says, of which each tensor is read when it is asked for."""

    def __init__(self, path: Any, file: Any):
        self.path, self._file = str(path), file
        found = file.metadata() or {}
        if KEY not in found:
            raise self.fault("is a safetensors file of other origin: it has no architecture of fastnp's in it")
        notes = _read_notes(found[KEY])
        if notes is None:
            raise self.fault("its notes on the architecture cannot be read")
        if notes.get("format") != FORMAT:
            version = notes.get("version")
            raise self.fault(
                f"is of the format {notes.get('format')!r}, of fastnp {version!r}; this one reads {FORMAT}"
            )
        self.notes = notes
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        self.shapes = {name: tuple(found.get_shape()) for name, found in slices.items()}
        self._codes = {name: found.get_dtype() for name, found in slices.items()}

    def fault(self, what: str) -> BadFileError:
        """The error that says what is wrong with this file."""
        return BadFileError(" ".join(f"{self.path}: {what}".split()))

    def dtype(self, name: str) -> np.dtype:
        """That of a tensor."""
        return DTYPES[self._codes[name]]

    def check(self, name: str, shape: tuple[int, ...] | None = None, dtype: np.dtype | None = None) -> None:
        """Raise BadFileError where there is no such tensor."""
        if name not in self.shapes:
            raise self.fault(f"the tensor {name!r} is missing")
        if self._codes[name] not in DTYPES:
            raise self.fault(f"the tensor {name!r} has numbers of the kind {self._codes[name]}, which NumPy lacks")
        if shape is not None and self.shapes[name] != shape:
            raise self.fault(f"the tensor {name!r} has the shape {self.shapes[name]}, where {shape} is expected")
        if dtype is not None and self.dtype(name) != dtype:
            raise self.fault(f"the tensor {name!r} is {self.dtype(name)}, where {dtype} is expected")

    def read(self, name: str) -> np.ndarray:
        """A tensor, in memory of its own."""
        self.check(name)
        array: np.ndarray = self._file.get_tensor(name)
        return array


@contextlib.contextmanager
def opened(path: Any) -> Iterator[Container]:
    """The file at `path`. Raises BadFileError for one that is no such file, OSError for one that cannot be opened."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(f'to read {path}, fastnp needs safetensors: pip install "fastnp[io]" ({error})') from error
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise BadFileError(
            f"{path}: is {'a folder' if stat.S_ISDIR(mode) else 'something else'}, where a file should be"
        )
    with Path(path).open("rb"):  # which says best why it may not be read
        pass
    try:
        whole = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise BadFileError(f"{path}: is no safetensors file, or not whole ({str(error)[:100]})") from error
    with whole as file:
        yield Container(path, file)


@contextlib.contextmanager
def told_of(container: Container) -> Iterator[None]:
    """What turns up only where the file's notes are used is its fault, too."""
    try:
        yield
    except BadFileError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise container.fault(f"its notes cannot be used: {error}") from error


def _read_notes(text: str) -> dict[str, Any] | None:
    try:
        notes = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return notes if isinstance(notes, dict) else None
