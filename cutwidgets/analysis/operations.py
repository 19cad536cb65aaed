"""What the layers and operations of Keras do, by the names of their classes.

These are lists of what is known. A class that is on no list, such as one of a future Keras, counts
as not known.
"""

from typing import Any

import keras
from keras import layers

from ..graph.roles import per_class


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Each element of the output depends on the elements at the same position alone, provided that all
# tensors have the same spatial shape.
ELEMENTWISE = _names(
    """
    Absolute Add Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh BatchNorm BitwiseAnd
    BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor Cast Cbrt
    Ceil Celu Clip Concatenate Conjugate ConvertToTensor Copy Cos Cosh Deg2rad Divide
    DivideNoNan Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 Expm1 Fabs Floor FloorDivide Fmax
    Fmin Fmod FullLike Gcd Gelu Greater GreaterEqual HardShrink HardSigmoid HardSilu HardTanh
    Heaviside Hypot I0 Imag Isclose Isfinite Isinf Isnan Isneginf Isposinf Isreal Lcm Ldexp
    LeakyRelu LeftShift Less LessEqual Log Log10 Log1p Log2 LogSigmoid Logaddexp Logaddexp2
    LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum Mod Multiply NanToNum
    Negative Nextafter NotEqual OnesLike Polar Power Rad2deg ReLU Real Reciprocal Relu Relu6
    RightShift Round Rsqrt SaturateCast Select Selu Sigmoid Sign Signbit Silu Sin Sinc Sinh
    SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus StopGradient
    Subtract Tan Tanh TanhShrink Threshold TrueDivide Trunc Where ZerosLike
    """
)

# They move, compare, add up or scale elements, and multiply no matrices.
_FREE_OPERATIONS = ELEMENTWISE | _names(
    """
    AdaptiveAveragePool AdaptiveMaxPool All AllClose Amax Amin Any Append Argmax Argmin
    Argpartition Argsort Array ArraySplit Average AveragePool BinaryCrossentropy Bincount
    BroadcastTo CategoricalCrossentropy CountNonzero CropImages Cross Cumprod Cumsum
    DepthToSpace Diag Diagflat Diagonal Diff Digitize Dsplit Dstack ExpandDims Flip Fliplr
    Flipud Geomspace GetItem Glu HSVToRGB Histogram Hsplit Hstack InTopK IsIn Kron LayerNorm
    Linspace LogSoftmax Logspace Logsumexp Max MaxPool Mean Median Meshgrid Min Moments Moveaxis
    MultiHot Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin
    Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Nonzero Normalize OneHot Outer
    PSNR Pad PadImages Percentile Prod Ptp Quantile RGBToHSV RMSNorm Ravel Rearrange Repeat
    Reshape Resize Roll Rot90 Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin
    SegmentProd SegmentSum Size Slice SliceUpdate Softmax Sort SpaceToDepth
    SparseCategoricalCrossentropy Sparsemax Split Squeeze Stack Std Sum Swapaxes Take
    TakeAlongAxis Tile TopK Trace Transpose Trapezoid Tril Triu Unique UnravelIndex Unstack
    Vander Var View ViewAsComplex ViewAsReal Vsplit Vstack
    """
)

# The same for layers in inference, where those that are random change nothing.
LOCAL_LAYERS = _names(
    """
    Activation ActivityRegularization Add AlphaDropout Average BatchNormalization Concatenate
    CustomScaleLayer Dropout ELU GaussianDropout GaussianNoise Identity LayerScale LeakyReLU
    Masking Maximum Minimum Multiply Normalization PReLU RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert
    RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomZoom ReLU Rescaling SpatialDropout1D SpatialDropout2D
    SpatialDropout3D StochasticDepth Subtract
    """
)

_FREE_LAYERS = LOCAL_LAYERS | _names(
    """
    AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AveragePooling1D
    AveragePooling2D AveragePooling3D CategoryEncoding CenterCrop Cropping1D Cropping2D
    Cropping3D Discretization Flatten GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization HashedCrossing Hashing IntegerLookup LayerNormalization MaxPooling1D
    MaxPooling2D MaxPooling3D Permute RMSNormalization RandomCrop RepeatVector Reshape Resizing
    Softmax StringLookup TextVectorization UnitNormalization UpSampling1D UpSampling2D
    UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)


def keras_class(operation: Any) -> str | None:
    """The name of the class of Keras that computes what an operation computes.

    `None` where a user's class has a `call` of its own. One that extends a layer of Keras and
    leaves its `call` alone computes what that layer does.

    Example:
        >>> import keras
        >>> class Same(keras.layers.Dense):
        ...     pass
        >>> keras_class(Same(2)), keras_class(keras.layers.ReLU())
        ('Dense', 'ReLU')
    """
    return _keras_class(type(operation))


@per_class
def _keras_class(kind: Any) -> str | None:
    writer = next(base for base in kind.__mro__ if "call" in vars(base))
    if not _is_of_keras(writer):
        return None
    return next(str(base.__name__) for base in kind.__mro__ if _is_of_keras(base))


def _is_of_keras(thing: Any) -> bool:
    return str(thing.__module__).partition(".")[0] == "keras"


def is_own(operation: Any) -> bool:
    """Whether what an operation does is written in Keras, and in no function or layer inside it."""
    if isinstance(operation, layers.Lambda | layers.Wrapper | keras.Model):
        return False
    name = keras_class(operation)
    return _is_of_keras(operation.activation) if name == "Activation" else name is not None


def is_free(operation: Any) -> bool:
    """Whether an operation is known to multiply element by element, if at all."""
    free = _FREE_LAYERS if isinstance(operation, keras.Layer) else _FREE_OPERATIONS
    return is_own(operation) and keras_class(operation) in free
