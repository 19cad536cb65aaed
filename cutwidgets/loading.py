"""Load a model from a file, or say what the file is and how to turn it into one that loads.

What a file is comes from its content, before Keras is imported, which takes seconds.
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
    "It holds operations and no layers of Keras, so there is nothing to cut; load the Keras model "
    "that it was made from."
)

_PYTORCH = "is a model of PyTorch, and cutwidgets reads models of Keras."

# By ending, unless the content says more.
_OTHERS = {
    ".tflite": f"is a model of TensorFlow Lite. {_NO_WAY_BACK}",
    ".onnx": f"is an ONNX model. {_NO_WAY_BACK}",
    ".pb": f"is a frozen graph of TensorFlow. {_NO_WAY_BACK}",
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".safetensors": "holds weights alone. Build the model in code, and give the weights to it.",
    ".json": "is JSON, perhaps of model.to_json(). Build the model with "
    "keras.models.model_from_json(text), and load its weights with model.load_weights(...).",
}

# Names of Keras 2 for its own classes; no class of the user's.
_KERAS_2_CLASSES = (
    *("Functional", "Sequential", "Model", "TFOpLambda", "SlicingOpLambda"),
    *("ClassMethod", "InstanceMethod", "InstanceProperty"),
)


@dataclass(frozen=True, slots=True)
class _ModelFile:
    """A file with a whole model of Keras: the version that wrote it, and its layers as JSON."""

    path: str
    version: str
    config: str

    @property
    def is_keras_2(self) -> bool:
        """Whether Keras 1 or 2 wrote it; the first of them left no version."""
        return _numbers(self.version)[:1] < (3,)


def load(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> "keras.Model":
    """Load a model from a `.keras` or `.h5` file, or say why that cannot be done.

    Files of Keras 2 are loaded where Keras 3 can read them; otherwise the error gives the lines
    that convert the file. The model is not compiled.

    Args:
        path: A `.keras`, `.h5` or `.hdf5` file with a whole model.
        custom_objects: Classes and functions of your own by name, if they are not registered with
            `@keras.saving.register_keras_serializable()`.
        safe_mode: Refuse a file that runs code of its own, such as a Lambda layer. Set it to False
            only if you trust where the file comes from.

    Raises:
        CutwidgetsError: If there is no such file, it holds no model that Keras can read, a class is
            missing, or it would run code of its own in safe mode.

    Example:
        >>> import cutwidgets as cw
        >>> cw.load("resnet.tflite")
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: There is no file 'resnet.tflite'...
    """
    file = _model_file(path)
    import keras

    try:
        return keras.saving.load_model(
            file.path,
            custom_objects=dict(custom_objects or {}),
            compile=False,
            safe_mode=safe_mode,
        )
    # Whatever Keras or a layer of the user's raises.
    except Exception as error:
        raise CutwidgetsError(_why(file, error, keras.__version__)) from error


def refuse_unreadable(path: str | os.PathLike[str]) -> None:
    """Refuse a file from which no model can be loaded, without importing Keras.

    Raises:
        CutwidgetsError: If `load` would refuse the file for what it is.
    """
    _model_file(path)


def conversion(load_old: str, new: str) -> str:
    """The lines that turn a model of Keras 2 into a file that `load` reads.

    Args:
        load_old: The Python expression that gives the old model.
        new: Where the lines put the new file; its name ends in `.h5`.
    """
    imported = "h5py, tf_keras  # pip install tf_keras" if "tf_keras" in load_old else "h5py"
    trust = "  # this runs code in the file: only if you trust it" * ("load_model" in load_old)
    return f"""
    import {imported}
    {load_old}.save({new!r}){trust}
    with h5py.File({new!r}, "r+") as file:  # DepthwiseConv2D of Keras 3 has no groups
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"groups": 1, ', "")
    model = cw.load({new!r})"""


def _model_file(path: str | os.PathLike[str]) -> _ModelFile:
    """What a file says of the model in it."""
    if not isinstance(path, str | os.PathLike):
        raise CutwidgetsError(f"Expected the path of a file. Received: {path!r:.200}.")
    path = os.fsdecode(path)
    if "://" in path:
        raise CutwidgetsError(
            f"{path!r} is an address. Download the file, and load it from your disk."
        )
    if not os.path.exists(path):
        raise CutwidgetsError(_missing(path))
    if os.path.isdir(path):
        raise CutwidgetsError(_folder(path))
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise CutwidgetsError(f"{path!r} is a device, pipe or socket. A model is read from a file.")
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
    """Read a file, and refuse it if its ending is not that of its content, as Keras goes by that.

    What is wrong with the content comes first: another name would not help.
    """
    file = read(path)
    if not path.endswith(_ENDINGS[kind]):
        ending = _ENDINGS[kind][0]
        raise CutwidgetsError(
            f"{path!r} holds a Keras model in the {kind} format, but its name does not end in "
            f"{ending}. Rename it to {Path(path).stem + ending!r}."
        )
    return file


def _missing(path: str) -> str:
    """Why there is nothing at a path, with the files that may be meant."""
    folder, name = os.path.split(path)
    if os.path.islink(path):
        return f"{path!r} is a link to {os.readlink(path)!r}, which does not exist."
    if folder and not os.path.isdir(folder):
        return f"There is no file {path!r}: there is no folder {folder!r}."
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = sorted(os.listdir(folder or "."))
    close = similar(name, names)
    meant = [os.path.join(folder, name) for name in close]
    return f"There is no file {path!r}.{f' Did you mean {alternatives(meant)}?' if meant else ''}"


def _folder(path: str) -> str:
    """What a folder is that was given in place of a file."""
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(path))
    if "saved_model.pb" not in names:
        models = [x for x in names if x.endswith((".keras", ".h5", ".hdf5"))][:5]
        inside = f" It holds {alternatives(models)}." if models else ""
        return f"There is no file {path!r}, but a folder of that name.{inside}"
    if "keras_metadata.pb" not in names:
        return f"{path!r} is a SavedModel that was exported. {_NO_WAY_BACK}"
    new = f"{os.path.basename(os.path.abspath(path))}.h5"
    return (
        f"{path!r} is a SavedModel of Keras 2, which Keras 3 does not load. These lines convert "
        f"it:\n{conversion(_loaded_by_keras_2(path), new)}"
    )


def _other(path: str, head: bytes) -> str:
    """What a file is that is neither HDF5 nor a zip file."""
    ending = Path(path).suffix.lower()
    if not head:
        return "is empty."
    if head.startswith(b"version https://git-lfs"):
        return "is only a pointer of Git LFS. Get the file itself with `git lfs pull`."
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "is a web page: the download did not give the file. Download it again."
    if head[4:8] == b"TFL3":
        return _OTHERS[".tflite"]
    if os.path.basename(path) == "saved_model.pb":
        folder = os.path.dirname(path) or "."
        return f"is part of a SavedModel. For what to do with it, give its folder, {folder!r}."
    if ending in _OTHERS:
        return _OTHERS[ending]
    if head.startswith(b"PK"):
        return "is a zip file that is damaged or cut short. Copy or download it again."
    known = ending in (".keras", ".h5", ".hdf5")
    kind = f"is no {ending} file, or a damaged one" if known else "is no file of a Keras model"
    return f"{kind}. A model is read from a .keras or .h5 file, as model.save(...) writes it."


def _hdf5(path: str) -> _ModelFile:
    """The model of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _text(file.attrs[name]) for name in file.attrs}
            names = list(file)
    except Exception as error:  # what damaged files make h5py raise is no closed list
        raise CutwidgetsError(
            f"Cannot load {path!r}: it is an HDF5 file that is damaged or cut short ({error})."
        ) from error
    if "model_config" in attributes:
        return _ModelFile(path, attributes.get("keras_version", ""), attributes["model_config"])
    if "layer_names" in attributes or {"layers", "_layer_checkpoint_dependencies"} & {*names}:
        raise CutwidgetsError(
            f"{path!r} holds weights, and no model. Build the model in code, then load them with "
            f"model.load_weights({path!r}); or save the whole model where it was trained, with "
            "model.save('model.keras')."
        )
    raise CutwidgetsError(f"{path!r} is an HDF5 file, but it holds no model of Keras.")


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
    except Exception as error:  # what damaged files make zipfile raise is no closed list
        raise CutwidgetsError(
            f"Cannot load {path!r}: it is a zip file that is damaged or cut short ({error})."
        ) from error
    if any(name.endswith("data.pkl") for name in names):
        raise CutwidgetsError(f"{path!r} {_PYTORCH}")
    if "config.json" not in read:
        held = f"but {alternatives(names[:3])}" if names else "as it is empty"
        raise CutwidgetsError(
            f"{path!r} is a zip file, but not one that Keras wrote: it has no 'config.json', "
            f"{held}. If the model is in it, unpack it first."
        )
    found = re.search(r'"keras_version":\s*"([^"]*)"', read.get("metadata.json", ""))
    # A file without metadata is none of Keras 2, which always wrote them.
    return _ModelFile(path, found[1] if found else "3", read["config.json"])


def _why(file: _ModelFile, error: Exception, installed: str) -> str:
    """Why Keras did not load a file with a model, and what to do."""
    # Keras wraps the reason in a long text for each layer around it.
    reason = str(error).rpartition("Exception encountered: ")[2].strip() or repr(error)
    begin = f"Cannot load {file.path!r}"
    if "safe_mode=False" in reason:
        return (
            f"{begin}: it holds code of its own, such as a Lambda layer, which Keras's safe mode "
            "does not run. safe_mode=False allows it; do so only if you trust where the file "
            "comes from."
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
            f" {written}; if {name!r} is a part of Keras that Keras 3 no longer has, build the "
            "network again without it."
        )
        return (
            f"{begin}: Keras does not know {name!r}, which is in it. If that is a class or a "
            "function of your own, import the module that registers it with "
            "@keras.saving.register_keras_serializable(), or give it: "
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
    """What to do with a file of Keras 2 that Keras 3 does not load."""
    version = file.version or "1"
    told = f"it was written by Keras {version}, and Keras 3 cannot read all of it."
    old = _loaded_by_keras_2(file.path)
    if "OpLambda" in file.config:
        return (
            f"{told} Operations such as tf.nn.relu(x) or x + 1 have no layer that Keras 3 knows. "
            "Build the network again with layers of Keras 3, such as ReLU() and Add(), in the same "
            f"order; these lines take the weights along:\n"
            "\n    import tf_keras  # pip install tf_keras"
            f"\n    {old}.save_weights('old-weights.h5')"
            "\n    model.load_weights('old-weights.h5')  # the network that you built again"
        )
    return f"{told} These lines convert it:\n{conversion(old, f'{Path(file.path).stem}-3.h5')}"


def _loaded_by_keras_2(path: str) -> str:
    return f"tf_keras.models.load_model({path!r}, compile=False)"


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version, to compare it."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
