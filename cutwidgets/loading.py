"""Load a model from a file, or say what the file is and how to convert it.

The content of a file decides what it is. That is checked before Keras is imported, which takes
seconds.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, is_zipfile

from .errors import CutwidgetsError, alternatives, similar

if TYPE_CHECKING:
    import keras

_HDF5 = b"\x89HDF\r\n\x1a\n"

_ENDINGS = {"zip": (".keras",), "HDF5": (".h5", ".hdf5")}

_NO_WAY_BACK = (
    "It contains operations, not Keras layers, so there is nothing to cut. Load the Keras model "
    "that it was converted from."
)

_PYTORCH = "is a PyTorch model; a Keras model is needed."

# By file extension, unless the content says more.
_OTHERS = {
    ".tflite": f"is a TensorFlow Lite model. {_NO_WAY_BACK}",
    ".onnx": f"is an ONNX model. {_NO_WAY_BACK}",
    ".pb": f"is a frozen TensorFlow graph. {_NO_WAY_BACK}",
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".safetensors": "contains only weights. Build the model in code, and load the weights into it.",
    ".json": "is JSON, perhaps of model.to_json(). Build the model with "
    "keras.models.model_from_json(text), and load its weights with model.load_weights(...).",
}

# Keras 2's names for its own classes, none of which is the user's.
_KERAS_2_CLASSES = (
    *("Functional", "Sequential", "Model", "TFOpLambda", "SlicingOpLambda"),
    *("ClassMethod", "InstanceMethod", "InstanceProperty"),
)


@dataclass(frozen=True, slots=True)
class _ModelFile:
    """A file with a whole Keras model: the version that wrote it, and its layers as JSON."""

    path: str
    version: str
    config: str

    @property
    def is_keras_2(self) -> bool:
        """Whether Keras 1 or 2 wrote it; early versions stored no version."""
        return _numbers(self.version)[:1] < (3,)


def load(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> "keras.Model":
    """Load a model from a `.keras` or `.h5` file.

    Keras 2 files are loaded if Keras 3 can read them; otherwise the error contains the lines that
    convert the file. The model is not compiled.

    Args:
        path: A `.keras`, `.h5` or `.hdf5` file with a whole model.
        custom_objects: Your own classes and functions by name, if they are not registered with
            `@keras.saving.register_keras_serializable()`.
        safe_mode: Refuse a file that runs its own code, such as a Lambda layer. Set it to `False`
            only if you trust the source of the file.

    Raises:
        CutwidgetsError: If there is no such file, it contains no model that Keras can read, a class
            is missing, or it contains code of its own and `safe_mode` is on.

    Example:
        >>> import cutwidgets as cw
        >>> cw.load("resnet.tflite")
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: There is no file 'resnet.tflite'...
    """
    file = _model_file(path)  # before Keras is imported, which takes seconds
    import keras

    try:
        return keras.saving.load_model(
            file.path,
            custom_objects=dict(custom_objects or {}),
            compile=False,
            safe_mode=safe_mode,
        )
    except Exception as error:  # Keras or a layer of the user's may raise anything
        raise CutwidgetsError(_why(file, error, keras.__version__)) from error


def conversion(load_old: str, new: str) -> str:
    """The lines of code that convert a Keras 2 model into a file that `load` reads.

    Args:
        load_old: A Python expression for the old model.
        new: Path of the new file, which ends in `.h5`.
    """
    imported = "h5py, tf_keras  # pip install tf_keras" if "tf_keras" in load_old else "h5py"
    trust = "  # this runs code in the file: only if you trust it" * ("load_model" in load_old)
    return f"""
    import {imported}
    {load_old}.save({new!r}){trust}
    with h5py.File({new!r}, "r+") as file:  # Keras 3's DepthwiseConv2D has no groups
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"groups": 1, ', "")
    model = cw.load({new!r})"""


def _model_file(path: str | os.PathLike[str]) -> _ModelFile:
    """Read the version and the layers of a model file."""
    if not isinstance(path, str | os.PathLike):
        raise CutwidgetsError(f"Expected the path of a file. Received: {path!r:.200}.")
    path = os.fsdecode(path)
    if "://" in path:
        raise CutwidgetsError(f"{path!r} is a URL. Download the file, and load it from your disk.")
    if not os.path.exists(path):
        raise CutwidgetsError(_missing(path))
    if os.path.isdir(path):
        raise CutwidgetsError(_folder(path))
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise CutwidgetsError(f"{path!r} is a device, pipe or socket; a regular file is needed.")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CutwidgetsError(f"Cannot read {path!r}: {error.strerror}.") from error
    if head.startswith(_HDF5):
        return _named(path, "HDF5", _hdf5)
    if is_zipfile(path):
        return _named(path, "zip", _zip)
    raise CutwidgetsError(f"Cannot load {path!r}: it {_other(path, head)}")


def _named(path: str, kind: str, read: Callable[[str], _ModelFile]) -> _ModelFile:
    """Read a file, and refuse it if its extension does not match its content, as Keras needs that.

    Errors in the content come first, as renaming would not help then.
    """
    file = read(path)
    if not path.endswith(_ENDINGS[kind]):
        ending = _ENDINGS[kind][0]
        raise CutwidgetsError(
            f"{path!r} is a Keras model in the {kind} format, but its name does not end in "
            f"{ending}. Rename it to {Path(path).stem + ending!r}."
        )
    return file


def _missing(path: str) -> str:
    """The error for a path that does not exist, with files of similar names."""
    folder, name = os.path.split(path)
    if os.path.islink(path):
        return f"{path!r} is a link to {os.readlink(path)!r}, which does not exist."
    if folder and not os.path.isdir(folder):
        return f"There is no file {path!r}: there is no folder {folder!r}."
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = sorted(os.listdir(folder or "."))
    close = [os.path.join(folder, name) for name in similar(name, names)]
    return f"There is no file {path!r}.{f' Did you mean {alternatives(close)}?' if close else ''}"


def _folder(path: str) -> str:
    """The error for a folder in place of a file."""
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(path))
    if "saved_model.pb" not in names:
        models = [x for x in names if x.endswith((".keras", ".h5", ".hdf5"))][:5]
        inside = f" It contains {alternatives(models)}." if models else ""
        return f"{path!r} is a folder; a .keras file is needed.{inside}"
    if "keras_metadata.pb" not in names:
        return f"{path!r} is an exported SavedModel. {_NO_WAY_BACK}"
    new = f"{os.path.basename(os.path.abspath(path))}.h5"
    return (
        f"{path!r} is a Keras 2 SavedModel, which Keras 3 does not load. These lines convert "
        f"it:\n{conversion(_loaded_by_keras_2(path), new)}"
    )


def _other(path: str, head: bytes) -> str:
    """What a file that is neither HDF5 nor zip is, to complete the error message."""
    ending = Path(path).suffix.lower()
    if not head:
        return "is empty."
    if head.startswith(b"version https://git-lfs"):
        return "is only a Git LFS pointer. Get the file itself with `git lfs pull`."
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "is a web page: the download failed. Download the file again."
    if head[4:8] == b"TFL3":
        return _OTHERS[".tflite"]
    if os.path.basename(path) == "saved_model.pb":
        folder = os.path.dirname(path) or "."
        return f"is part of a SavedModel. Pass its folder, {folder!r}, to learn how to convert it."
    if ending in _OTHERS:
        return _OTHERS[ending]
    if head.startswith(b"PK"):
        return "is a zip file that is damaged or cut short. Copy or download it again."
    known = ending in (".keras", ".h5", ".hdf5")
    kind = f"is not a {ending} file, or damaged" if known else "is not a Keras model file"
    return f"{kind}. A .keras or .h5 file is needed, as model.save(...) writes it."


def _hdf5(path: str) -> _ModelFile:
    """The model of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _text(file.attrs[name]) for name in file.attrs}
            names = list(file)
    except Exception as error:  # damaged files make h5py raise almost anything
        raise CutwidgetsError(
            f"Cannot load {path!r}: it is an HDF5 file that is damaged or cut short ({error})."
        ) from error
    if "model_config" in attributes:
        return _ModelFile(path, attributes.get("keras_version", ""), attributes["model_config"])
    if "layer_names" in attributes or {"layers", "_layer_checkpoint_dependencies"} & {*names}:
        raise CutwidgetsError(
            f"{path!r} contains weights, but no model. Build the model in code, and load them with "
            f"model.load_weights({path!r}). Or save the whole model where it was trained, with "
            "model.save('model.keras')."
        )
    raise CutwidgetsError(f"{path!r} is an HDF5 file, but it contains no Keras model.")


def _zip(path: str) -> _ModelFile:
    """The model of a zip file."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
            read = {
                name: archive.read(name).decode()
                for name in ("config.json", "metadata.json")
                if name in names
            }
    except Exception as error:  # damaged files make zipfile raise almost anything
        raise CutwidgetsError(
            f"Cannot load {path!r}: it is a zip file that is damaged or cut short ({error})."
        ) from error
    if any(name.endswith("data.pkl") for name in names):
        raise CutwidgetsError(f"{path!r} {_PYTORCH}")
    if "config.json" not in read:
        inside = f"but {alternatives(names[:3])}" if names else "as it is empty"
        raise CutwidgetsError(
            f"{path!r} is a zip file, but Keras did not write it: it has no 'config.json', "
            f"{inside}. If it contains a model file, unpack it first."
        )
    version = re.search(r'"keras_version":\s*"([^"]*)"', read.get("metadata.json", ""))
    # Keras 2 always wrote metadata.
    return _ModelFile(path, version[1] if version else "3", read["config.json"])


def _why(file: _ModelFile, error: Exception, installed: str) -> str:
    """Why Keras did not load a model file, and what to do."""
    # Keras wraps the reason in a long text for each enclosing layer.
    reason = str(error).rpartition("Exception encountered: ")[2].strip() or repr(error)
    begin = f"Cannot load {file.path!r}"
    if "safe_mode=False" in reason:
        return (
            f"{begin}: it contains its own code, such as a Lambda layer, which Keras's safe mode "
            "does not run. Pass safe_mode=False only if you trust the source of the file."
        )
    written = f"It was written by Keras {file.version or 'before 2'}"
    newer = _numbers(file.version) > _numbers(installed)
    update = f"{written}, and Keras {installed} is installed: `pip install -U keras` may help."
    missing = re.search(
        r"(?:Could not locate|Could not deserialize|Unknown) \w+:? '([^']+)'", reason
    )
    if missing and not (file.is_keras_2 and missing[1] in _KERAS_2_CLASSES):
        name = missing[1].rpartition(">")[2]
        older = (
            f" {written}; if Keras 3 no longer has {name!r}, build the network again without it."
        )
        return (
            f"{begin}: it uses {name!r}, which Keras does not know. If that is your own class or "
            "function, import the module that registers it with "
            "@keras.saving.register_keras_serializable(), or pass "
            f"custom_objects={{{name!r}: {name}}}."
            f"{f' {update}' if newer else older if file.is_keras_2 else ''}"
        )
    if file.is_keras_2:
        return f"{begin}: {_keras_2(file)}"
    line = reason.splitlines()[0][:300]
    if newer:
        return f"{begin}: {line} {update}"
    return f"{begin}: {line} If the file is damaged, copy or download it again."


def _keras_2(file: _ModelFile) -> str:
    """What to do with a Keras 2 file that Keras 3 does not load."""
    version = file.version or "1"
    reason = f"it was written by Keras {version}, and Keras 3 cannot read all of it."
    old = _loaded_by_keras_2(file.path)
    if "OpLambda" in file.config:
        return (
            f"{reason} Operations such as tf.nn.relu(x) or x + 1 have no layer in Keras 3. "
            "Build the network again with Keras 3 layers, such as ReLU() and Add(), in the same "
            f"order; these lines transfer the weights:\n"
            "\n    import tf_keras  # pip install tf_keras"
            f"\n    {old}.save_weights('old-weights.h5')"
            "\n    model.load_weights('old-weights.h5')  # the network that you built again"
        )
    return f"{reason} These lines convert it:\n{conversion(old, f'{Path(file.path).stem}-3.h5')}"


def _loaded_by_keras_2(path: str) -> str:
    return f"tf_keras.models.load_model({path!r}, compile=False)"


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version, to compare it."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
